"""Futures, and the thread that resolves them."""

import concurrent.futures
import contextlib
import json
import pickle
import sys
import threading
import time
from collections import namedtuple
from itertools import count

from . import _axion
from ._code import unpack
from .errors import EngineError, RemoteTraceback, of_record

_making = threading.RLock()  # reentrant: a signal handler may use futures, too
_DONE = frozenset(("CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED"))


Progress = namedtuple("Progress", "fraction message")
Progress.__doc__ = """What a task has reported by `current().progress`: 0 to 1, and a text."""


class Future(concurrent.futures.Future):
    """The future result of a task: a `concurrent.futures.Future` in every respect, and awaitable.

    `task_id` names the task. `record` says how it ended, once it has: duration, output, attempt, worker.

    Most futures finish before anything waits for them, and there may be many thousands. So this class makes the
    condition, its lock and the two lists of the base class only when they are first needed.
    """

    # The state before the condition exists. The base class changes these only while it holds the condition.
    _state = "PENDING"
    _result = _exception = _own_condition = None
    _waiters = _done_callbacks = ()  # pyright: ignore[reportAssignmentType]
    task_id = record = None
    _awaited = None  # tells the engine that somebody waits, for a task that was submitted before
    _hold = None  # what keeps the definitions alive that the result may refer to
    _reach = None  # what the function of the task reaches: a step that has the result needs it, too
    _number: int | None = None  # its number in the engine's inbox, if a thread may wait for it directly

    def __init__(self, engine=None):
        self._engine = engine

    def __reduce__(self):
        raise TypeError("an axion future lives in one process: pass its result() to a function, or the future itself "
                        "to an axion.step")

    @property
    def _condition(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        if self._own_condition is None:
            with _making:
                condition = threading.Condition()  # before the check: a signal handler may make one meanwhile
                if self._own_condition is None:
                    self._waiters, self._done_callbacks = [], []
                    self._own_condition = condition
                    if self._number is not None and self._state == "PENDING" and not self._engine._forked:
                        # A direct waiter would not see what other threads set.
                        self._engine._inbox.completions.release(self._number)
        return self._own_condition

    def done(self):
        return self._state in _DONE

    def result(self, timeout=None):
        # `_result` is set before `_state`, and neither changes after that.
        if self._state == "FINISHED" and self._exception is None:
            return self._result
        if self._number is not None and self._is_untouched():
            timeout = self._engine._inbox.wait_for(self, timeout)
            if self._state == "FINISHED" and self._exception is None:
                return self._result
        result = super().result(timeout)
        if self._exception is not None:  # a falsy exception, which the base class does not raise
            raise self._exception
        return result

    def exception(self, timeout=None):
        if self._number is not None and self._is_untouched():
            timeout = self._engine._inbox.wait_for(self, timeout)
        if self._state == "FINISHED":
            return self._exception
        return super().exception(timeout)

    def _is_untouched(self):
        """Whether it is pending and no other thread has used its condition."""
        return self._own_condition is None and self._state == "PENDING"

    def _take(self, data, record):
        """Sets the result in the thread that waits for it. False if other threads have to be notified, too.

        An exception that is raised here may come from a signal handler, and is not the future's."""
        if self._is_untouched():
            result = unpack(data)
            with _making:
                if self._is_untouched():
                    self.record = record
                    self._hold = None
                    self._result, self._state = result, "FINISHED"
                    return True
        return False

    def _finish(self, result, exception):
        """As `set_result` or `set_exception`, without a lock while the condition does not exist."""
        self._hold = None
        if self._own_condition is None:
            # A thread that makes the condition after this finds the state set.
            with _making:
                if self._own_condition is None:
                    self._result, self._exception, self._state = result, exception, "FINISHED"
                    return
        if exception is None:
            self.set_result(result)
        else:
            self.set_exception(exception)

    def cancel(self):
        """Cancels the task if it has not been sent to a worker. Returns whether it is cancelled. See `kill`."""
        if self.done():
            return self.cancelled()
        if self.task_id is None or not self._engine._withdraw(self.task_id):
            with self._condition:
                if self._state == "PENDING":
                    self._state = "RUNNING"
            return self.cancelled()
        return super().cancel()

    def kill(self):
        """Ends the task even if it runs: asks it to stop and, after `cancel_grace`, kills it and no other task.

        Returns at once whether the task had not ended. The future is cancelled when it has."""
        if self.done() or self.task_id is None:
            return False
        return self._engine._native.cancel(self.task_id)

    @property
    def progress(self):
        """What the running task has reported last by `current().progress(fraction, message)`: a `Progress`; None if it
        has reported nothing, has not started, or has ended."""
        if self.done() or self.task_id is None or self._engine._forked:
            return None
        try:
            found = self._engine._native.progress(self.task_id)
        except RuntimeError:
            return None  # the engine has ended meanwhile
        return None if found is None else Progress(*found)

    def __await__(self):
        import asyncio

        return asyncio.wrap_future(self).__await__()

    # Called in the inbox's thread.

    def _resolve(self, data, record):
        if type(record) is _axion.Record:
            self.record = record
        if self._state == "FINISHED":
            return  # set by the thread that waited for it, or by the program
        try:
            try:
                if data is not None:
                    self._finish(unpack(data), None)
                    return
                if type(record) is _axion.Record and record.json is not None:  # plain data of a step
                    self._finish(json.loads(record.json), None)
                    return
                error = failure_reason(record)
            except concurrent.futures.InvalidStateError:
                raise
            except BaseException as problem:
                error = problem
            if isinstance(error, concurrent.futures.CancelledError) and record.outcome == "cancelled":
                with self._condition:
                    if self._state == "RUNNING":
                        self._state = "PENDING"  # only a pending future can be cancelled
                super().cancel()
                self.set_running_or_notify_cancel()
            else:
                self._finish(None, error)
        except concurrent.futures.InvalidStateError:
            pass  # resolved elsewhere, as after a fork


def failure_reason(record):
    """The exception for a record without a result: the task's own if it can be unpickled."""
    if record is None:
        return EngineError("the engine has stopped; the outcome of this task is unknown", "engine_stopped")
    if type(record) is str:
        return EngineError(record, "result_unknown")
    error = exception_of(record.raised, record.traceback)
    return of_record(record) if error is None else error  # it may be falsy


def exception_of(raised, traceback):
    """Unpickles an exception, with the remote traceback as its cause. None if that fails."""
    if raised is None:
        return None
    try:
        error = pickle.loads(raised)
        if type(error) is tuple:  # of a class that refuses to have its attributes set
            kind, args = error
            error = kind(*args)
    except Exception:
        return None
    if not isinstance(error, Exception):
        return None
    # Not by `error.__cause__ = …`, which a frozen dataclass refuses.
    BaseException.__setattr__(error, "__cause__", RemoteTraceback("\n\"\"\"\n%s\"\"\"" % (traceback or "")))
    return error


def show_output(record):
    """Prints the output of a task."""
    for text, stream in ((record.stdout, sys.stdout), (record.stderr, sys.stderr)):
        if text and stream is not None:
            try:
                _write(stream, text)
                stream.flush()
            except Exception:
                pass  # closed, or replaced by an object that fails


def _write(stream, text):
    """Writes text; what the stream's encoding does not have, as escapes."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def in_forked_child():
    """Another thread may have held the lock at the fork."""
    global _making
    _making = threading.RLock()


class Inbox:
    """The unfinished futures of one engine, and the thread that resolves them."""

    def __init__(self, shows_output=False):
        self.completions = _axion.Completions()
        self._shows_output = shows_output
        self.futures = {}
        self.numbers = count(1)
        self._closed = False
        # Nobody registers a future with a thread that has decided to end (L1).
        self._ending = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._read, name="axion-results", daemon=True)
        self._thread.start()

    def _read(self):
        wait, take = self.completions.wait, self.futures.pop
        while True:
            for number, data, record in wait():
                if self._shows_output and type(record) is _axion.Record and record.has_output:
                    show_output(record)
                future = take(number, None)
                if future is not None:
                    future._resolve(data, record)
                future = data = record = None
            if self._closed:
                with self._ending:
                    self._ended = not self.futures
                if self._ended:
                    return

    def register(self, future):
        """The number under which a future is resolved. After the end of the thread, there is none (L1)."""
        number = next(self.numbers)
        with self._ending:
            if self._ended:
                raise EngineError("the engine has been shut down: nothing more will be known of its tasks",
                                  "engine_stopped")
            self.futures[number] = future
        return number

    @contextlib.contextmanager
    def awaiting(self, future):
        """Registers a future under a number as long as the caller waits for it."""
        number = self.register(future)
        try:
            yield number
        finally:
            self.futures.pop(number, None)
            if self._closed:
                self.completions.notify()  # this may have been the last future that the thread waits for

    def wait_for(self, future, timeout):
        """Waits for the only unfinished future in place of the inbox's thread, until another thread uses the future.

        That saves one of two wake-ups. Returns the rest of the timeout."""
        number = future._number
        if len(self.futures) != 1 or self._closed or (timeout is not None and not timeout > 0):
            return timeout

        def deliver(data, record):
            # The inbox's thread handles failures, output and callbacks.
            if data is None or self._shows_output and record.has_output or not future._take(data, record):
                return False
            self.futures.pop(number, None)
            if self._closed:
                self.completions.notify()  # this may have been the last future that the thread waits for
            return True

        end = None if timeout is None else time.monotonic() + timeout
        self.completions.wait_for(number, future._is_untouched, deliver, timeout)
        return None if end is None else max(0.0, end - time.monotonic())

    def close(self):
        """Ends the thread when every future has been resolved."""
        self._closed = True
        self.completions.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(10)

    def forget_in_child(self):
        """Fails all futures in a forked process, which gets no completions."""
        self._ending = threading.Lock()  # the thread may have held it
        for future in list(self.futures.values()):
            if future._own_condition is not None:
                future._own_condition = threading.Condition()
            if not future.done():
                future.set_exception(EngineError("the task belongs to the parent process, before the fork", "forked"))
        self.futures.clear()
