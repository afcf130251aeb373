"""Measures one peer once and prints a line of JSON, last; `compare.py` runs it in a process of its own.

    python measure.py loky        # chooses the number of tasks for about a second of work
    python measure.py loky 5000   # five thousand tasks

Every process that an opener starts is ended by the opener, or is in the process group of this one, which
`compare.py` ends.
"""

import contextlib
import json
import logging
import multiprocessing
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

from noop import noop

WORKERS = 2
SECONDS = 1.2  # of work in a measurement of the throughput
TRIPS = 2000
TRIP_SECONDS = 3.0  # what the round trips may take together
WARM_UP = 200  # for each worker, as many as the engine's own bench uses
HERE = pathlib.Path(__file__).resolve().parent


# One opener per peer. It yields `submit(params)`, which returns a function that waits for the result, and
# `wait_all(waits)`, if the peer has a better way than to wait for one after the other. Each has the settings
# that are best for many small tasks handed in one by one. Maps in chunks are not compared: one message per
# thousands of calls is another kind of work.


def one_by_one(waits):
    for wait in waits:
        wait()


@contextlib.contextmanager
def open_multiprocessing(workers):
    # The defaults. How the workers are started makes no difference once they are warm, and
    # `maxtasksperchild` would only replace them in between.
    with multiprocessing.Pool(workers) as pool:
        yield lambda params: pool.apply_async(noop, (params,)).get, one_by_one


@contextlib.contextmanager
def open_executor(workers):
    # The defaults: apart from the number of workers it has no setting that bears on this.
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as pool:
        yield lambda params: pool.submit(noop, params).result, one_by_one


@contextlib.contextmanager
def open_loky(workers):
    # Plain pickle instead of cloudpickle: enough for a function of a module, and about 1.5 times the
    # tasks per second when tried. No idle timeout, so that no worker leaves in between.
    import loky

    loky.set_loky_pickler("pickle")
    pool = loky.get_reusable_executor(max_workers=workers, timeout=None)
    try:
        yield lambda params: pool.submit(noop, params).result, one_by_one
    finally:
        pool.shutdown(wait=True)


@contextlib.contextmanager
def open_pebble(workers):
    # The defaults, and tasks without a timeout, as for all the others here.
    import pebble

    with pebble.ProcessPool(max_workers=workers) as pool:
        yield lambda params: pool.schedule(noop, args=(params,)).result, one_by_one


@contextlib.contextmanager
def open_frisky(workers):
    # Workers in processes, over Unix sockets. `gather` waits for all results in one call; waiting for each
    # future took twice as long when tried.
    from frisky.cluster import LocalCluster

    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, silence_summary=True)
    client = cluster.get_client()
    try:
        yield (
            lambda params: client.submit(noop, params).result,
            lambda waits: client.gather([wait.__self__ for wait in waits]),
        )
    finally:
        client.close()
        cluster.close()


@contextlib.contextmanager
def open_flexiq(workers):
    # SQLite, its own store. Threads, which did more no-op tasks than its processes when tried, although they
    # share one interpreter. It polls on both sides: every millisecond instead of every 50, and 100 tasks at a
    # time. With its event-driven dispatch, threads did not get any task when tried.
    import flexiq

    with tempfile.TemporaryDirectory(prefix="axion-peers-") as folder:
        logging.disable(logging.WARNING)
        queue = flexiq.Queue(
            db_path=os.path.join(folder, "tasks.db"),
            workers=workers,
            default_retry=0,
            scheduler_poll_interval_ms=1,
            scheduler_batch_size=100,
        )
        task = queue.task()(noop)
        poll = {"timeout": 60, "poll_interval": 0.001, "max_poll_interval": 0.001}
        worker = threading.Thread(target=queue.run_worker, daemon=True)
        worker.start()
        try:
            yield lambda params: (lambda job=task.delay(params): job.result(**poll)), one_by_one
        finally:
            queue.shutdown()
            worker.join(10)


@contextlib.contextmanager
def open_mayu(workers):
    # Processes, since this interpreter has the GIL. Redis keeps nothing on disk.
    with redis() as url:
        os.environ["MAYU_BROKER"] = url
        os.environ["PYTHONPATH"] = str(HERE)
        sys.modules.pop("mayu_app", None)  # it has the address of the Redis before
        from mayu_app import noop as task

        program = os.path.join(os.path.dirname(sys.executable), "mayu")
        command = [program, "worker", "mayu_app:app", "--mode", "process", "--processes", str(workers)]
        with child(command + ["--prefetch-multiplier", "32", "--log-level", "ERROR"]):
            yield lambda params: (lambda job=task.delay(params): job.result(timeout=60)), one_by_one


@contextlib.contextmanager
def open_axion(workers):
    # From Python, as the others. The queue holds what is handed in, as theirs do.
    import axion

    keys = {"cpu_bound_count": workers, "cpu_bound_max": workers, "io_bound_count": 0, "io_bound_max": 0}
    with axion.Engine(input_queue_size=1_000_000, **keys) as engine:
        yield lambda params: engine.submit(noop, params).result, one_by_one


@contextlib.contextmanager
def redis():
    """A Redis of its own, at a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with child(command, stdout=subprocess.DEVNULL):
        wait_for_port(port)
        yield "redis://127.0.0.1:%d/0" % port


def wait_for_port(port):
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def child(command, **options):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


PEERS = {
    "multiprocessing": open_multiprocessing,
    "executor": open_executor,
    "loky": open_loky,
    "pebble": open_pebble,
    "frisky": open_frisky,
    "flexiq": open_flexiq,
    "mayu": open_mayu,
    "axion-python": open_axion,
}


def rate(peer, count):
    """Tasks submitted one by one, all results awaited; tasks per second."""
    submit, wait_all = peer
    begun = time.perf_counter()
    wait_all([submit({}) for _ in range(count)])
    return count / (time.perf_counter() - begun)


def trips(peer, count):
    """p50 and p99 in microseconds of one task at a time."""
    submit, _ = peer
    times = []
    end = time.monotonic() + TRIP_SECONDS
    while len(times) < count and (time.monotonic() < end or len(times) < 100):
        begun = time.perf_counter_ns()
        submit({})()
        times.append(time.perf_counter_ns() - begun)
    times.sort()
    return times[len(times) // 2] / 1e3, times[len(times) * 99 // 100] / 1e3


def measure(name, tasks):
    begun = time.perf_counter()
    with PEERS[name](WORKERS) as peer:
        peer[0]({})()
        start = time.perf_counter() - begun
        rate(peer, WARM_UP * WORKERS)
        if tasks is None:
            # Two steps: few tasks of a fast peer say little, many of a slow one take long.
            tasks = max(200, round(rate(peer, 500) * SECONDS / 4))
            tasks = max(200, round(rate(peer, tasks) * SECONDS))
        per_second = rate(peer, tasks)
    # One worker, as in the engine's bench: one task at a time has no use for a second.
    with PEERS[name](1) as peer:
        rate(peer, WARM_UP)
        p50, p99 = trips(peer, TRIPS)
    return {"tasks": tasks, "rate": per_second, "p50": p50, "p99": p99, "start": start * 1e3}


def measure_tarsk(tasks):
    # The memory broker runs a batch whole: the fastest way it has, and no round trip. The start of its
    # children is measured with a batch of two tasks, and taken off.
    from tarsk._supervisor import Supervisor

    os.environ["PYTHONPATH"] = str(HERE)

    def seconds(count):
        begun = time.perf_counter()
        done = Supervisor("tarsk_app:app", children=WORKERS, slots=100).run([("tarsk_app.noop", ({},), {})] * count)
        taken = time.perf_counter() - begun
        assert all(outcome == "ack" for outcome, _ in done.values()), next(iter(done.values()))
        return taken

    start = seconds(WORKERS)
    if tasks is None:
        tasks = max(1000, round(2000 / max(seconds(2000) - start, 0.05) * SECONDS))
    per_second = tasks / max(seconds(tasks) - start, 1e-6)
    return {"tasks": tasks, "rate": per_second, "p50": None, "p99": None, "start": start * 1e3}


if __name__ == "__main__":
    asked = int(sys.argv[2]) if len(sys.argv) > 2 else None
    print(json.dumps(measure_tarsk(asked) if sys.argv[1] == "tarsk" else measure(sys.argv[1], asked)))
