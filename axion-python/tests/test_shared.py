"""Objects of `multiprocessing` as arguments and in `initargs` (found E1)."""

import ctypes
import multiprocessing
import os
import signal

import helpers
import pytest

import axion
from axion import _shared

CONTEXTS = ["fork", "spawn", "forkserver"]
_given = {}


def keep(**objects):
    _given.update(objects)


def count_up(times):
    for _ in range(times):
        with _given["lock"]:
            value = _given["counter"].value
            _given["counter"].value = value + 1


def twice(lock):
    with lock:
        with lock:
            return lock.acquire(False)


def hold_and_die(lock):
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def meet_at(event, answer):
    answer.set()
    return event.wait(helpers.LONG)


def wait_for(condition, answer):
    with condition:
        answer.set()
        return condition.wait(helpers.LONG)


@pytest.fixture(params=CONTEXTS)
def context(request):
    return multiprocessing.get_context(request.param)


def test_a_lock_and_shared_memory_in_initargs(context):
    lock, counter = context.Lock(), context.Value(ctypes.c_long, 0, lock=False)
    array = context.Array("i", [1, 2, 3])
    with axion.Executor(2, initializer=keep_all, initargs=(lock, counter)) as executor:
        list(executor.map(count_up, [200] * 4))
        assert executor.submit(sum_of, array).result() == 6
        executor.submit(set_first, array, 7).result()
    assert (counter.value, array[0]) == (800, 7)


def keep_all(lock, counter):
    keep(lock=lock, counter=counter)


def sum_of(array):
    with array.get_lock():
        return sum(array[:])


def set_first(array, value):
    array[0] = value


def test_an_rlock_belongs_to_a_thread(context, executor):
    lock = context.RLock()
    assert executor.submit(twice, lock).result() is True


def test_a_semaphore_counts_over_processes(context, executor):
    semaphore = context.BoundedSemaphore(2)
    assert [executor.submit(try_acquire, semaphore).result() for _ in range(3)] == [True, True, False]
    semaphore.release()
    assert executor.submit(try_acquire, semaphore).result()


def try_acquire(semaphore):
    return semaphore.acquire(False)


def test_a_queue_goes_both_ways(context, executor):
    there, back = context.Queue(3), context.SimpleQueue()
    task = executor.submit(pass_on, there, back, 20)
    for n in range(20):
        there.put(n)
    assert [back.get() for _ in range(20)] == list(range(20))
    assert task.result() == 20


def pass_on(there, back, times):
    for _ in range(times):
        back.put(there.get())
    return times


def test_an_event_and_a_condition_wake_a_task(context, executor):
    event, answer = context.Event(), context.Event()
    task = executor.submit(meet_at, event, answer)
    assert answer.wait(helpers.LONG)
    event.set()
    assert task.result() is True
    condition, answer = context.Condition(), context.Event()
    task = executor.submit(wait_for, condition, answer)
    assert answer.wait(helpers.LONG)
    with condition:
        condition.notify_all()
    assert task.result() is True


def test_a_pipe(executor):
    ours, theirs = multiprocessing.Pipe()
    task = executor.submit(echo, theirs)
    ours.send("hello")
    assert ours.recv() == "HELLO" and task.result() is None


def echo(connection):
    connection.send(connection.recv().upper())


def test_a_worker_that_dies_leaves_no_lock_behind(executor):
    lock = multiprocessing.Lock()
    with pytest.raises(axion.WorkerLost):
        executor.submit(hold_and_die, lock).result()
    assert lock.acquire(timeout=helpers.LONG)
    lock.release()


def test_a_lock_that_is_released_elsewhere_is_not_released_again(executor):
    lock, other = multiprocessing.Lock(), multiprocessing.Lock()
    pid = executor.submit(acquire_here, lock, other).result()
    executor.submit(release, lock).result()
    assert lock.acquire(False)
    os.kill(pid, signal.SIGKILL)
    assert other.acquire(timeout=helpers.LONG), "what the worker held is released"
    assert not lock.acquire(False), "this program holds it"


def test_a_lock_that_the_program_has_released_itself_is_left_alone(executor, capfd):
    lock, other = multiprocessing.Lock(), multiprocessing.Lock()
    pid = executor.submit(acquire_here, lock, other).result()
    lock.release()
    os.kill(pid, signal.SIGKILL)
    assert other.acquire(timeout=helpers.LONG), "what the worker held is released"
    assert lock.acquire(False) and not lock.acquire(False)
    assert "Exception in thread" not in capfd.readouterr().err


def test_a_lock_that_the_program_has_taken_over_stays_held_when_the_worker_dies(executor):
    lock, other = multiprocessing.Lock(), multiprocessing.Lock()
    pid = executor.submit(acquire_here, lock, other).result()
    lock.release()
    assert lock.acquire(False)
    os.kill(pid, signal.SIGKILL)
    assert other.acquire(timeout=helpers.LONG), "what the worker held is released"
    assert not lock.acquire(False), "this program holds it"


def test_the_note_of_who_holds_a_mutex_is_that_of_the_next_holder_after_a_release():
    server = object.__new__(_shared._Server)
    server._holders = {1: ("first", 1)}

    class Semaphore:
        def release(self):
            server._holders[1] = "second", 1  # another thread acquires it as soon as it is free

    server._release(Semaphore(), 1)
    assert server._holders == {1: ("second", 1)}

    class Refusing:
        def release(self):
            raise ValueError("semaphore or lock released too many times")

    with pytest.raises(ValueError, match="too many"):
        server._release(Refusing(), 1)
    assert server._holders == {1: ("second", 1)}


def acquire_here(*locks):
    for lock in locks:
        lock.acquire()
    return os.getpid()


def release(lock):
    lock.release()


def test_proxies_of_managers(executor):
    with multiprocessing.Manager() as manager:
        numbers = manager.list()
        executor.submit(numbers.append, 3).result()
        assert list(numbers) == [3]


def test_what_cannot_be_shared_is_refused_in_words(executor):
    with multiprocessing.Pool(1) as pool, pytest.raises(axion.SubmitError, match="pool objects cannot be passed"):
        executor.submit(helpers.double, pool)
