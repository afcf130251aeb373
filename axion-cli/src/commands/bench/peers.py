"""The baselines of `axion bench`, in Python, and Axion driven from Python.

It is a script of Axion, whose `main` runs this file as a program: a fresh interpreter without anything of a worker's,
which ends with its task all the same.
"""

import concurrent.futures
import json
import os
import subprocess
import sys
import time


def main(params, context):
    command = [sys.executable, os.path.abspath(__file__), json.dumps(params)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip() or "exit code %d" % done.returncode)
    return json.loads(done.stdout)


# What a task does.


def nothing(_=None):
    return None


def compute(loops):
    total = 0
    for number in range(loops):
        total += number * number
    return total


def wait(seconds):
    time.sleep(seconds)


WORK = {"nothing": nothing, "compute": compute, "wait": wait}


# What is measured. `seconds` is the time that it should take.


def about():
    """The machine, as Python sees it."""
    try:
        import axion

        # Another project has this name, too.
        package = hasattr(axion, "Engine") and hasattr(axion, "Executor")
    except ImportError:
        package = False
    return {
        "python": sys.executable,
        "python_version": "%d.%d.%d" % sys.version_info[:3],
        "machine_processors": os.cpu_count() or 1,
        "load": os.getloadavg()[0],
        "package": package,
        "loops": loops_of(0.01),
    }


def loops_of(seconds):
    """The loops of `compute` that take so long here."""
    loops = 1000
    while True:
        begun = time.perf_counter()
        compute(loops)
        took = time.perf_counter() - begun
        if took > seconds / 2:
            return max(1, round(loops * seconds / took))
        loops *= 2


def rate(pool, function, argument, seconds, count):
    """Tasks per second: a batch to learn the rate, then one for the rest of the time."""
    begun = time.perf_counter()
    took = batch(pool, function, argument, count)
    left = seconds - (time.perf_counter() - begun)
    count = max(count, min(round(count / took * left), 500_000))
    return count / batch(pool, function, argument, count)


def batch(pool, function, argument, count):
    """The seconds until all tasks have ended, submitted one by one."""
    begun = time.perf_counter()
    for future in [pool.submit(function, argument) for _ in range(count)]:
        future.result()
    return time.perf_counter() - begun


def at_once(pool, count, seconds):
    """The seconds of a batch that is handed over in one call; the median of as many as fit."""
    tasks = range(count)
    # What the documentation of `ProcessPoolExecutor.map` asks for. Axion finds the size itself.
    more = {"chunksize": max(1, count // 40)} if isinstance(pool, concurrent.futures.Executor) else {}
    took, end = [], time.perf_counter() + seconds
    while not took or time.perf_counter() < end:
        begun = time.perf_counter()
        for _ in pool.map(nothing, tasks, **more):
            pass
        took.append(time.perf_counter() - begun)
    return sorted(took)[len(took) // 2]


def trips(pool, seconds):
    """The microseconds of single tasks: the median and the 99th percentile."""
    took, end = [], time.perf_counter() + seconds
    while len(took) < 100 or time.perf_counter() < end:
        begun = time.perf_counter_ns()
        pool.submit(nothing).result()
        took.append((time.perf_counter_ns() - begun) / 1e3)
    took.sort()
    return [took[len(took) // 2], took[len(took) * 99 // 100]]


class Loop:
    """Calls functions at once, as a pool would."""

    def __init__(self, _):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, argument):
        future = concurrent.futures.Future()
        future.set_result(function(argument))
        return future


def package(workers):
    import axion

    return axion.Engine(cpu_bound_count=workers, cpu_bound_max=workers, io_bound_count=0, io_bound_max=0,
                        input_queue_size=1_000_000, input_queue_bytes="1 GiB")


SYSTEMS = {
    "package": package,
    "processes": concurrent.futures.ProcessPoolExecutor,
    "threads": concurrent.futures.ThreadPoolExecutor,
    "loop": Loop,
}


def measure(system, workers, what, seconds, work="nothing", argument=None, count=0):
    with SYSTEMS[system](workers) as pool:
        # All workers have started, and have seen the function.
        batch(pool, WORK[work], argument, 1 if system == "loop" else workers * (2 if argument else 50))
        if what == "rate":
            return [rate(pool, WORK[work], argument, seconds, count)]
        if what == "trips":
            return trips(pool, seconds)
        return [at_once(pool, count, seconds)]


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(measure(**asked) if asked else about()))
