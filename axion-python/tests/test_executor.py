"""`axion.Executor` as `concurrent.futures` documents executors (C4-1)."""

import asyncio
import collections
import concurrent.futures
import os
import queue
import subprocess
import sys
import threading
import time

import helpers
import pytest

import axion


def test_c4_1_a_pool_of_eight_maps_in_order():
    with axion.Executor(8) as executor:
        assert list(executor.map(lambda n: n + 1, range(8))) == list(range(1, 9))


def test_it_is_an_executor_and_its_futures_are_futures(executor):
    assert isinstance(executor, concurrent.futures.Executor)
    future = executor.submit(helpers.add, 1, b=2)
    assert isinstance(future, concurrent.futures.Future) and future.result(helpers.LONG) == 3
    assert future.exception() is None and future.done() and not future.cancelled()


def test_as_completed_wait_and_callbacks(executor):
    futures = [executor.submit(helpers.double, n) for n in range(20)]
    seen = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(seen.put)
    ended = concurrent.futures.as_completed(futures, helpers.LONG)
    assert {future.result() for future in ended} == set(range(0, 40, 2))
    done, not_done = concurrent.futures.wait(futures)
    assert (done, not_done) == (set(futures), set())
    assert {seen.get(timeout=helpers.LONG) for _ in futures} == set(futures) and seen.empty()


def test_map_with_chunks_gives_the_same(executor):
    for chunksize in (1, 3, 100):
        assert list(executor.map(helpers.add, range(10), range(10), chunksize=chunksize)) == list(range(0, 20, 2))
    assert list(executor.map(helpers.add, [], [])) == []
    with pytest.raises(ValueError):
        executor.map(helpers.double, [1], chunksize=0)


def test_map_submits_through_a_submit_that_is_overridden():
    seen = []

    class Counting(axion.Executor):
        def submit(self, fn, /, *args, **kwargs):
            future = super().submit(fn, *args, **kwargs)
            future.add_done_callback(seen.append)
            return future

    with Counting(2) as executor:
        assert list(executor.map(helpers.double, range(5))) == [0, 2, 4, 6, 8]
        assert list(executor.map(helpers.add, range(5), range(5), chunksize=2)) == [0, 2, 4, 6, 8]
    assert len(seen) == 5 + 3


def test_map_raises_the_exception_where_it_is(executor):
    results = executor.map(divmod, [1, 1, 1], [1, 0, 1])
    assert next(results) == (1, 0)
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_in_time_or_not(executor, gate):
    results = executor.map(helpers.at_gate, [gate.path], timeout=0.1)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)
    gate.open()
    assert list(executor.map(helpers.double, [1, 2], timeout=helpers.LONG)) == [2, 4]


def test_map_with_a_buffer_takes_no_more_than_it_says(executor):
    taken = []

    def numbers():
        for n in range(20):
            taken.append(n)
            yield n

    results = executor.map(helpers.double, numbers(), buffersize=4)
    assert len(taken) == 4
    assert next(results) == 0 and len(taken) == 5
    assert list(results) == list(range(2, 40, 2))
    for wrong, error in ((0, ValueError), ("4", TypeError)):
        with pytest.raises(error):
            executor.map(helpers.double, [1], buffersize=wrong)


def test_submit_after_shutdown_is_refused(executor):
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(helpers.double, 1)


def test_shutdown_finishes_what_was_submitted():
    executor = axion.Executor(1)
    futures = [executor.submit(helpers.double, n) for n in range(50)]
    executor.shutdown()
    assert [future.result(0) for future in futures] == list(range(0, 100, 2))


def test_shutdown_without_waiting_finishes_in_the_background(gate):
    executor = axion.Executor(1)
    future = executor.submit(helpers.at_gate, gate.path, "done")
    executor.shutdown(wait=False)
    assert not future.done()
    with pytest.raises(RuntimeError):
        executor.submit(helpers.double, 1)
    gate.open()
    assert future.result(helpers.LONG) == "done"


def test_shutdown_cancels_what_has_not_started(gate):
    executor = axion.Executor(1)
    futures = [executor.submit(helpers.at_gate, gate.path, n) for n in range(5)]
    gate.begun()
    executor.shutdown(wait=False, cancel_futures=True)
    gate.open()
    assert futures[0].result(helpers.LONG) == 0
    assert all(future.cancelled() for future in futures[1:])


def test_a_future_can_be_cancelled_until_it_runs(gate):
    with axion.Executor(1) as executor:
        running, waiting = [executor.submit(helpers.at_gate, gate.path) for _ in range(2)]
        gate.begun()
        assert not running.cancel()
        assert waiting.cancel() and waiting.cancelled() and waiting.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting.result()
        gate.open()
        assert running.result(helpers.LONG) is None
        assert concurrent.futures.wait([waiting], helpers.LONG).done == {waiting}


def test_the_initializer_runs_in_each_worker_before_its_tasks():
    with axion.Executor(2, initializer=helpers.prepare, initargs=(7,)) as executor:
        assert list(executor.map(lambda _: helpers.what_was_prepared(), range(10))) == [[7]] * 10


def test_an_initializer_that_fails_breaks_the_executor():
    with axion.Executor(1, initializer=helpers.fail_stubbornly) as executor:
        with pytest.raises(concurrent.futures.BrokenExecutor, match="this and that"):
            executor.submit(helpers.double, 1).result()
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(helpers.double, 1)


def test_an_executor_is_broken_before_anybody_hears_of_it(gate):
    def fail(path):
        helpers.at_gate(path)
        helpers.fail_stubbornly()

    class Waiter:
        def add_exception(self, future):
            with pytest.raises(concurrent.futures.BrokenExecutor, match="the executor is broken"):
                executor.submit(helpers.double, 1)
            heard.append(future)

    heard = []
    with axion.Executor(1, initializer=fail, initargs=(gate.path,)) as executor:
        future = executor.submit(helpers.double, 1)
        gate.begun()
        with future._condition:
            future._waiters.append(Waiter())
        gate.open()
        assert isinstance(future.exception(helpers.LONG), axion.InitializerFailed) and heard == [future]


@pytest.mark.parametrize("most", [1, 2])
def test_a_worker_runs_exactly_as_many_tasks_as_it_may(most):
    with axion.Executor(1, max_tasks_per_child=most) as executor:
        ran = collections.Counter(executor.map(helpers.worker_pid, range(20)))
    assert set(ran.values()) == {most}


def test_wrong_arguments_are_refused():
    for wrong, error in ((dict(max_workers=0), ValueError), (dict(initializer=7), TypeError),
                         (dict(max_tasks_per_child=0), ValueError), (dict(max_tasks_per_child="2"), TypeError),
                         (dict(kind="gpu"), ValueError)):
        with pytest.raises(error):
            axion.Executor(**wrong)


def test_a_killed_child_costs_one_task_only():
    with axion.Executor(2) as executor:
        futures = [executor.submit(helpers.double, n) for n in range(100)]
        bad = executor.submit(helpers.die)
        futures += [executor.submit(helpers.double, n) for n in range(100)]
        with pytest.raises(axion.WorkerLost):
            bad.result()
        assert sum(future.result() for future in futures) == 2 * sum(range(0, 200, 2))
        assert executor.submit(helpers.double, 1).result() == 2


def test_a_full_queue_is_waited_for():
    with axion.Executor(1, input_queue_size=4) as executor:
        assert [future.result() for future in [executor.submit(helpers.double, n) for n in range(500)]][-1] == 998


def test_it_runs_under_an_event_loop(executor):
    async def main():
        loop = asyncio.get_running_loop()
        one = await loop.run_in_executor(executor, helpers.double, 4)
        two = await asyncio.wrap_future(executor.submit(helpers.double, 5))
        return one, two, await executor.submit(helpers.double, 6)

    assert asyncio.run(main()) == (8, 10, 12)


def test_many_threads_share_it(executor):
    results = {}

    def use(n):
        results[n] = [executor.submit(helpers.double, m).result() for m in range(50)]

    threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: list(range(0, 100, 2)) for n in range(8)}


def test_it_cannot_be_sent_to_a_task(executor):
    with pytest.raises(axion.SubmitError, match="lives in one process"):
        executor.submit(helpers.double, executor)


def test_the_interpreter_ends_cleanly_without_a_shutdown(tmp_path):
    source = """
import axion, os, helpers
executor = axion.Executor(2)
futures = [executor.submit(helpers.slow_ten, n) for n in range(10)]
futures[-1].add_done_callback(lambda future: print("last", future.result()))
"""
    helper = tmp_path / "helpers.py"
    helper.write_text("import time\ndef slow_ten(n):\n    time.sleep(0.02)\n    return 10 * n\n")
    (tmp_path / "main.py").write_text(source)
    done = subprocess.run([sys.executable, "-W", "error", tmp_path / "main.py"], capture_output=True, text=True,
                          timeout=helpers.LONG)
    assert (done.stdout, done.stderr, done.returncode) == ("last 90\n", "", 0)
    assert os.path.exists(helper)


def test_what_tasks_print_is_shown_unless_not_wanted(capfd):
    def say(word, bad=False):
        print("out", word)
        print("err", word, file=sys.stderr)
        os.system("echo below " + word)
        if bad:
            raise ValueError(word)

    with axion.Executor(1) as executor:
        executor.submit(say, "one").result()
        seen = capfd.readouterr()
        assert (sorted(seen.out.split("\n")), seen.err) == (["", "below one", "out one"], "err one\n")
        failed = executor.submit(say, "two", bad=True)
        assert failed.exception() is not None
        seen = capfd.readouterr()
        assert "out two" in seen.out and seen.err == "err two\n" and "out two" in failed.record.stdout
    with axion.Executor(1, show_output=False) as executor:
        future = executor.submit(say, "three")
        future.result()
        assert "out three" in future.record.stdout
    seen = capfd.readouterr()
    assert (seen.out, seen.err) == ("", "")


def test_a_value_of_map_is_its_readers_alone(executor):
    import weakref

    for value in executor.map(helpers.Counter, range(6), chunksize=3):
        seen = weakref.ref(value)
        del value
        assert seen() is None


@pytest.mark.parametrize("ends", ["", "executor.shutdown(wait=False)"])
def test_the_end_of_the_interpreter_waits_for_what_was_submitted(tmp_path, ends):
    program = tmp_path / "main.py"
    program.write_text("""
import atexit, axion, time
def last():
    try:
        executor.submit(id, None)
    except RuntimeError as error:
        print(error)
atexit.register(last)
def say():
    time.sleep(0.2)
    print("said")
executor = axion.Executor(2)
executor.submit(say)
%s
""" % ends)
    done = subprocess.run([sys.executable, "-W", "error", program], capture_output=True, text=True,
                          timeout=helpers.LONG)
    assert (done.stdout, done.stderr) == ("said\ncannot schedule new futures after shutdown\n", "")


def test_a_future_that_ends_while_many_look_at_it(executor):
    """Its condition is made by whoever looks first, while it may just be ending."""
    told, waited = [], []

    def wait(future):
        waited.append(future.result(helpers.LONG))

    for n in range(300):
        future = executor.submit(helpers.double, n)
        threads = [threading.Thread(target=wait, args=(future,)),
                   threading.Thread(target=future.add_done_callback, args=(told.append,))]
        for thread in threads:
            thread.start()
        assert concurrent.futures.wait([future], helpers.LONG).done == {future}
        for thread in threads:
            thread.join()
        assert future.done() and future.exception() is None and future.result() == 2 * n
    executor.shutdown()
    assert (waited, len(told)) == (list(range(0, 600, 2)), 300)
