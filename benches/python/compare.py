"""The Python package beside its peers, in one run: `make bench-python`.

Each figure is the median of some rounds, taken in turns, so that whatever else the machine does hits all of them.
Everything has two workers.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from work import nothing, same  # noqa: E402

import axion  # noqa: E402

WORKERS = 2


def one_by_one(submit, count):
    begun = time.perf_counter()
    for future in [submit(nothing) for _ in range(count)]:
        future.result()
    return count / (time.perf_counter() - begun)


def round_trip(submit, count=500):
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        submit(nothing).result()
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e6


def imported(*modules):
    """Milliseconds that the import takes in a new interpreter."""
    source = "import time; begun = time.perf_counter(); import %s; print(time.perf_counter() - begun)"
    done = subprocess.run([sys.executable, "-c", source % ", ".join(modules)], check=True, capture_output=True)
    return float(done.stdout) * 1000


def seconds(call):
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def resident(pid):
    """Memory of a process and its descendants that is its own, in MiB."""
    total = 0
    for child in [pid] + _descendants(pid):
        try:
            with open("/proc/%d/smaps_rollup" % child) as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            pass
    return total / 1024


def _descendants(pid):
    found = []
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/children" % (pid, task)) as file:
            for child in map(int, file.read().split()):
                found += [child] + _descendants(child)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    figures = {}

    def note(what, who, value):
        figures.setdefault(what, {}).setdefault(who, []).append(value)

    mark = resident(os.getpid())
    keys = dict(cpu_bound_count=WORKERS, cpu_bound_max=WORKERS, io_bound_count=0, io_bound_max=0,
                input_queue_size=20_000, input_queue_bytes="512 MiB")
    engine = axion.Engine(**keys).start()
    engine.submit(nothing).result()
    note("idle memory, MiB", "axion", resident(os.getpid()) - mark)
    executor = axion.Executor(WORKERS, input_queue_bytes="512 MiB")
    standard = concurrent.futures.ProcessPoolExecutor(WORKERS)
    pool = multiprocessing.Pool(WORKERS)
    list(standard.map(nothing, range(10)))
    list(executor.map(nothing, range(10)))
    numpy = _numpy()
    for _ in range(rounds):
        note("import, ms", "axion", imported("axion"))
        note("import, ms", "concurrent.futures.process", imported("concurrent.futures.process"))
        note("submit one by one, /s", "axion engine", one_by_one(engine.submit, 20_000))
        note("submit one by one, /s", "axion executor", one_by_one(executor.submit, 20_000))
        note("submit one by one, /s", "ProcessPoolExecutor", one_by_one(standard.submit, 5_000))
        note("round trip p50, us", "axion engine", round_trip(engine.submit))
        note("round trip p50, us", "axion executor", round_trip(executor.submit))
        note("round trip p50, us", "ProcessPoolExecutor", round_trip(standard.submit))
        million = range(1_000_000)
        note("a million calls, s", "axion engine.map", seconds(lambda: sum(engine.map(same, million))))
        note("a million calls, s", "multiprocessing.Pool.map", seconds(lambda: sum(pool.map(same, million))))
        note("a million calls, s", "ProcessPoolExecutor.map(chunksize=1000)",
             seconds(lambda: sum(standard.map(same, million, chunksize=1000))))
        if numpy is not None:
            array = numpy.ones(100_000_000 // 8)
            note("100 MB there and back, s", "axion", seconds(lambda: engine.submit(same, array).result()))
            note("100 MB there and back, s", "ProcessPoolExecutor",
                 seconds(lambda: standard.submit(same, array).result()))
    engine.shutdown()
    executor.shutdown()
    standard.shutdown()
    pool.terminate()
    pool.join()
    _joblib(note, rounds)
    if numpy is not None:
        _large_global(note, numpy)
    print("Python %s, %d processors, %d rounds" % (sys.version.split()[0], os.cpu_count(), rounds))
    for what, by in figures.items():
        for who, values in by.items():
            print("%-28s %-42s %12.3f   (%.3f to %.3f)" % (what, who, statistics.median(values), min(values), max(values)))


def total(_):
    time.sleep(0.2)  # so that no worker runs all calls
    return int(numbers[::4096].sum())


def _large_global(note, numpy):
    """One large array of this program, which four workers read."""
    global numbers
    numbers = numpy.ones(500_000_000, numpy.uint8)
    with axion.Executor(4) as executor:
        list(executor.map(time.sleep, [0.2] * 8))
        mark = resident(os.getpid())
        took = seconds(lambda: list(executor.map(total, range(8))))
        grown = (resident(os.getpid()) - mark) / (numbers.nbytes / 2 ** 20)
    note("500 MB to 4 workers, s", "axion", took)
    note("its memory, times its size", "axion", grown)


def _numpy():
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _joblib(note, rounds):
    try:
        import joblib
        import axion.joblib
    except ImportError:
        return
    axion.joblib.register()
    for backend in ("axion", "loky"):
        mark = resident(os.getpid())
        with joblib.parallel_config(backend=backend, n_jobs=WORKERS):
            with joblib.Parallel() as parallel:
                parallel(joblib.delayed(same)(n) for n in range(10))
                if backend == "loky":
                    note("idle memory, MiB", "loky", resident(os.getpid()) - mark)
                for _ in range(rounds):
                    note("joblib, 10,000 calls, s", backend,
                         seconds(lambda: parallel(joblib.delayed(same)(n) for n in range(10_000))))


if __name__ == "__main__":
    main()
