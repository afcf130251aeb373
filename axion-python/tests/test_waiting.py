"""A thread that waits for the only pending future is woken by the engine itself, whatever happens meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, TimeoutError, wait

import pytest
from helpers import LONG, Pickled, add, at_gate, fail_with, same, unpickled_in

import axion


@pytest.fixture
def alone():
    """An engine whose only future is the test's."""
    with axion.Engine(cpu_bound_count=1, cpu_bound_max=1, io_bound_count=1, io_bound_max=1, cancel_grace=0.2) as engine:
        # When it has once been stood in for, the inbox's thread sleeps.
        while engine.submit(same, Pickled()).result(LONG) != threading.current_thread().name:
            pass
        yield engine


@pytest.fixture
def waiting(alone, gate):
    """A future that this thread waits for without the inbox's thread, and a call that is made while it does."""
    result = []

    def while_it_waits(act):
        future = alone.submit(at_gate, gate.path, Pickled())
        gate.begun()
        stood = threading.Event()
        untouched = future._is_untouched

        def is_untouched():
            stood.set()
            return untouched()

        # It is asked once before, and once when this thread has the other's place.
        calls = iter((untouched, is_untouched))
        future._is_untouched = lambda: next(calls, untouched)()

        def run():
            if stood.wait(LONG):
                result.append(act(future))

        thread = threading.Thread(target=run)
        thread.start()
        return future, thread, result

    return while_it_waits


def opening(gate):
    def act(future):
        gate.open()

    return act


def test_a_result_is_taken_by_the_thread_that_waits_for_it(waiting, gate):
    future, thread, _ = waiting(opening(gate))
    assert future.result(LONG) == threading.current_thread().name
    assert future.record.outcome == "succeeded" and future.done()
    thread.join()


def test_who_asks_for_the_exception_takes_the_result_too(waiting, gate):
    future, thread, _ = waiting(opening(gate))
    assert future.exception(LONG) is None and future.result() == threading.current_thread().name
    thread.join()


def test_a_failure_and_what_others_look_at_are_delivered_by_the_inboxs_thread(alone, waiting, gate):
    names, called = [], threading.Event()

    def look(future):
        def callback(_):
            names.append(threading.current_thread().name)
            called.set()

        future.add_done_callback(callback)
        gate.open()

    future, thread, _ = waiting(look)
    assert future.result(LONG) == "axion-results"
    assert called.wait(LONG) and names == ["axion-results"]
    thread.join()
    with pytest.raises(ValueError, match="no"):
        alone.submit(fail_with, ValueError("no")).result(LONG)
    assert isinstance(alone.submit(fail_with, ValueError("no")).exception(LONG), ValueError)
    with pytest.raises(TimeoutError):
        alone.submit(at_gate, gate.path).exception(0.01)
    gate.open()
    with pytest.raises(axion.RemoteError):
        alone.submit(os._exit, 3).result(LONG)
    assert alone.submit(add, 1, 2).result(LONG) == 3


def test_what_others_set_is_heard_of_at_once(waiting, gate):
    future, thread, _ = waiting(lambda future: future.set_result("set"))
    assert future.result(LONG) == "set"
    thread.join()
    gate.open()


def test_two_wait_for_one(waiting, gate):
    def act(future):
        second = threading.Thread(target=lambda: found.append(future.result(LONG)))
        second.start()
        gate.open()
        second.join(LONG)

    found = []
    future, thread, _ = waiting(act)
    result = future.result(LONG)
    thread.join(LONG)
    assert found == [result]


def test_l1_what_the_inboxs_thread_delivers_just_before_is_not_waited_for(alone, gate):
    future, inbox, asked = alone.submit(at_gate, gate.path, "early"), alone._inbox, []
    completions = inbox.completions

    class Late:
        release, notify = completions.release, completions.notify

        @staticmethod
        def wait_for(number, awaited, deliver, limit):
            def ask():
                asked.append(awaited())
                return asked[-1]

            gate.open()
            while not asked:
                # Until the thread has delivered it and sleeps again.
                if future.done():
                    completions.wait_for(number, ask, deliver, limit)

    inbox.completions = Late
    begun = time.monotonic()
    try:
        assert future.result(LONG) == "early"
    finally:
        inbox.completions = completions
    assert time.monotonic() - begun < LONG and asked == [False]


def test_others_that_come_meanwhile_are_delivered_at_once(alone, waiting, gate):
    async def quick(n):
        return n

    def act(future):
        futures = [alone.options(kind="io").submit(quick, n) for n in range(5)]
        found = [other.result(LONG) for other in futures]
        gate.open()
        return found

    future, thread, results = waiting(act)
    assert future.result(LONG) is not None
    thread.join(LONG)
    assert results == [list(range(5))]


def test_killed_while_a_thread_waits(waiting):
    future, thread, results = waiting(lambda future: future.kill())
    with pytest.raises(CancelledError):
        future.result(LONG)
    thread.join(LONG)
    assert results == [True]


def test_the_engine_ends_while_a_thread_waits(alone, waiting):
    future, thread, _ = waiting(lambda future: alone.shutdown(wait=False))
    with pytest.raises((CancelledError, axion.AxionError)):
        future.result(LONG)
    thread.join(LONG)


def test_the_time_is_over_and_the_result_comes_later(alone, gate):
    future = alone.submit(at_gate, gate.path, "late")
    for timeout in (0, 0.001, 0.05, -1):
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            future.result(timeout)
        assert timeout <= time.monotonic() - begun
    gate.open()
    assert future.result(LONG) == "late"
    assert wait([future], LONG, FIRST_COMPLETED).done == {future}


def test_ctrl_c_ends_the_wait_and_loses_nothing(waiting, gate, ctrl_c):
    future, thread, _ = waiting(lambda future: ctrl_c())
    with pytest.raises(KeyboardInterrupt):
        future.result()
    thread.join()
    assert not future.done()
    gate.open()
    assert future.result(LONG)


def test_a_signal_while_the_result_is_taken_loses_nothing(waiting, gate, monkeypatch):
    def interrupted(data, raised=[]):
        if not raised:
            raised.append(True)
            signal.raise_signal(signal.SIGINT)
        return unpack(data)

    from axion import _future

    unpack = _future.unpack
    monkeypatch.setattr(_future, "unpack", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        future, thread, _ = waiting(opening(gate))
        with pytest.raises(KeyboardInterrupt):
            future.result()
        assert future.result(LONG) in ("axion-results", "MainThread")
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_a_thread_waits(waiting, gate):
    def fork(future):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if isinstance(future.exception(5), axion.EngineError) else 1)
        gate.open()
        return os.waitpid(pid, 0)[1]

    future, thread, results = waiting(fork)
    assert future.result(LONG)
    thread.join(LONG)
    assert results == [0]


MANY = """
import axion, faulthandler, random, signal, sys, threading
from concurrent.futures import CancelledError, TimeoutError, as_completed
from itertools import count
faulthandler.dump_traceback_later(280, exit=True)

def double(n):
    return 2 * n

def use(engine, seed, rounds, heard):
    rng = random.Random(seed)
    for n in range(rounds):
        future, how = engine.submit(double, n), rng.randrange(8)
        try:
            if how == 0:
                future.cancel()
            elif how == 1:
                future.add_done_callback(lambda it: heard.append(threading.current_thread().name))
            elif how == 2:
                try:
                    future.result(rng.random() / 1000)
                except TimeoutError:
                    pass
            elif how == 3:
                list(as_completed([future, engine.submit(double, n)]))
            elif how == 4:
                for _ in range(rng.randrange(2000)): pass
            assert future.result() == 2 * n
        except CancelledError:
            assert how == 0

def main(threads):
    sys.setswitchinterval(1e-6)
    # Only here: raised in the middle of `Condition.__enter__`, it would leave that locked for ever.
    armed = []
    def interrupt(*_):
        if armed:
            armed.clear()
            raise KeyboardInterrupt
    signal.signal(signal.SIGUSR1, interrupt)
    with axion.Engine(cpu_bound_count=2, cpu_bound_max=2, io_bound_count=1, io_bound_max=1) as engine:
        heard, interrupted, ends = [], 0, threading.Event()
        use(engine, 0, 500, heard)
        others = [threading.Thread(target=use, args=(engine, seed, 300, heard)) for seed in range(threads)]
        for it in others: it.start()
        use(engine, 99, 300, heard)
        for it in others: it.join()
        main = threading.main_thread().ident
        def signals():
            rng = random.Random(7)
            while not ends.wait(rng.random() / 500):
                signal.pthread_kill(main, signal.SIGUSR1)
        thread = threading.Thread(target=signals)
        thread.start()
        for n in count():
            if n >= 1000 and interrupted >= 20:
                break
            future = engine.submit(double, n)
            try:
                armed.append(True)
                engine._inbox.wait_for(future, None)
                armed.clear()
            except KeyboardInterrupt:
                interrupted += 1
            assert future.result(30) == 2 * n
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        ends.set()
        thread.join()
    assert set(heard) <= {"axion-results", "MainThread"} | {it.name for it in others}
    assert not engine._inbox._thread.is_alive(), "the shutdown has given it up"

if __name__ == "__main__":
    main(int(sys.argv[1]))
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("threads", [0, 1, 4])
def test_l1_threads_that_wait_cancel_and_are_interrupted_all_get_their_results(tmp_path, threads):
    path = tmp_path / "many.py"
    path.write_text(MANY)
    done = subprocess.run([sys.executable, path, str(threads)], capture_output=True, text=True, timeout=290)
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_result_that_has_come_is_not_waited_for(alone, monkeypatch):
    future = alone.submit(add, 1, 2)
    wait([future], LONG)
    monkeypatch.setattr(type(alone._inbox), "wait_for", None)
    assert future.result() == 3
    assert unpickled_in() == threading.current_thread().name
