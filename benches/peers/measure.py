"""Measures one peer once and prints one line of JSON; `compare.py` runs it in a process of its own.

    python measure.py loky        # choose the number of tasks for about a second of work
    python measure.py loky 5000   # five thousand tasks
"""

import contextlib
import json
import multiprocessing
import sys
import time

from noop import noop

WORKERS = 2
SECONDS = 1.2  # what a measurement of the throughput should take
TRIPS = 2000
WARM_UP = 200  # for each worker, as many as the engine's own bench uses


# One opener per peer: it yields `submit(params)`, which returns a function that waits for the result.
# Each has the setting that is best for many small tasks handed in one by one. Maps in chunks are not
# compared: one message per thousands of calls is another kind of work.


@contextlib.contextmanager
def open_multiprocessing(workers):
    # The defaults. How the workers are started makes no difference once they are warm, and
    # `maxtasksperchild` would only replace them in between.
    with multiprocessing.Pool(workers) as pool:
        yield lambda params: pool.apply_async(noop, (params,)).get


@contextlib.contextmanager
def open_executor(workers):
    # The defaults: apart from the number of workers it has no setting that bears on this.
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as pool:
        yield lambda params: pool.submit(noop, params).result


@contextlib.contextmanager
def open_loky(workers):
    # Plain pickle instead of cloudpickle: enough for a function of a module, and about 1.5 times the
    # tasks per second when tried. No idle timeout, so that no worker leaves in between.
    import loky

    loky.set_loky_pickler("pickle")
    pool = loky.get_reusable_executor(max_workers=workers, timeout=None)
    try:
        yield lambda params: pool.submit(noop, params).result
    finally:
        pool.shutdown(wait=True)


@contextlib.contextmanager
def open_pebble(workers):
    # The defaults, and tasks without a timeout, as for all the others here.
    import pebble

    with pebble.ProcessPool(max_workers=workers) as pool:
        yield lambda params: pool.schedule(noop, args=(params,)).result


PEERS = {
    "multiprocessing": open_multiprocessing,
    "executor": open_executor,
    "loky": open_loky,
    "pebble": open_pebble,
}


def rate(submit, count):
    """Tasks submitted one by one, all results awaited; tasks per second."""
    begun = time.perf_counter()
    waiters = [submit({}) for _ in range(count)]
    for wait in waiters:
        wait()
    return count / (time.perf_counter() - begun)


def trips(submit, count):
    """p50 and p99 in microseconds of one task at a time."""
    times = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        submit({})()
        times.append(time.perf_counter_ns() - begun)
    times.sort()
    return times[count // 2] / 1e3, times[count * 99 // 100] / 1e3


def measure(peer, tasks):
    with PEERS[peer](WORKERS) as submit:
        rate(submit, WARM_UP * WORKERS)
        if tasks is None:
            tasks = round(rate(submit, 2000) * SECONDS)
        per_second = rate(submit, tasks)
    # One worker, as in the engine's bench: one task at a time has no use for a second.
    with PEERS[peer](1) as submit:
        rate(submit, WARM_UP)
        p50, p99 = trips(submit, TRIPS)
    return {"tasks": tasks, "rate": per_second, "p50": p50, "p99": p99}


if __name__ == "__main__":
    asked = int(sys.argv[2]) if len(sys.argv) > 2 else None
    print(json.dumps(measure(sys.argv[1], asked)))
