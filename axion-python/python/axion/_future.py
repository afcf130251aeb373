"""Futures, and the thread that resolves them."""

import concurrent.futures
import json
import pickle
import sys
import threading
import time
from itertools import count

from . import _axion
from ._code import unpack
from .errors import EngineError, RemoteTraceback, of_record

_making = threading.RLock()  # a signal's handler may look at futures, too
_DONE = frozenset(("CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED"))


class Future(concurrent.futures.Future):
    """A task's result to come: a `concurrent.futures.Future` in every respect, and awaitable.

    `task_id` names the task; `record` is, once it has ended, how: duration, output, attempt, worker.

    Most futures end before anybody waits for them, and many thousands may be on their way. So what the base class
    makes for each is made when it is first needed: the condition, with its lock, and two lists.
    """

    # What it has while nobody has looked. The base class changes these only with the condition held.
    _state = "PENDING"
    _result = _exception = _own_condition = None
    _waiters = _done_callbacks = ()  # pyright: ignore[reportAssignmentType]
    task_id = record = None
    _number: int | None = None  # under which its engine's inbox has it, if it may be waited for without the inbox's thread

    def __init__(self, engine=None):
        self._engine = engine

    def __reduce__(self):
        raise TypeError("an axion future lives in one process: a function can be sent its result(), and an axion.step "
                        "takes it as an argument that stands for that")

    @property
    def _condition(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        if self._own_condition is None:
            with _making:
                condition = threading.Condition()  # first: a signal's handler that runs in it may have made one
                if self._own_condition is None:
                    self._waiters, self._done_callbacks = [], []
                    self._own_condition = condition
                    if self._number is not None and self._state == "PENDING" and not self._engine._forked:
                        # Who waits without it would not hear of what is set by others.
                        self._engine._inbox.completions.release(self._number)
        return self._own_condition

    def done(self):
        return self._state in _DONE

    def result(self, timeout=None):
        # It is set before the state; nothing changes any more.
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
        """Nothing is known of it, and nobody else has looked."""
        return self._own_condition is None and self._state == "PENDING"

    def _take(self, data, record):
        """Its result, in the thread that waits for it; False if somebody else is to hear of it, too.

        Whatever is raised may come from a signal's handler, and is not the future's."""
        if self._is_untouched():
            result = unpack(data)
            with _making:
                if self._is_untouched():
                    self.record = record
                    self._result, self._state = result, "FINISHED"
                    return True
        return False

    def _finish(self, result, exception):
        """As `set_result` or `set_exception`, and cheap if nobody has looked."""
        if self._own_condition is None:
            # Whoever makes the condition meanwhile finds the state set.
            with _making:
                if self._own_condition is None:
                    self._result, self._exception, self._state = result, exception, "FINISHED"
                    return
        if exception is None:
            self.set_result(result)
        else:
            self.set_exception(exception)

    def cancel(self):
        """Cancels the task if it has not been sent to a worker; True if it is cancelled. See `kill`."""
        if self.done():
            return self.cancelled()
        if self.task_id is None or not self._engine._withdraw(self.task_id):
            with self._condition:
                if self._state == "PENDING":
                    self._state = "RUNNING"
            return self.cancelled()
        return super().cancel()

    def kill(self):
        """Ends the task also if it runs: it is asked to stop and, after `cancel_grace`, killed, and nothing
        else with it. Returns at once, True if it had not ended; the future is cancelled when it has."""
        if self.done() or self.task_id is None:
            return False
        return self._engine._native.cancel(self.task_id)

    def __await__(self):
        import asyncio

        return asyncio.wrap_future(self).__await__()

    # From the thread below.

    def _resolve(self, data, record):
        if type(record) is _axion.Record:
            self.record = record
        if self._state == "FINISHED":
            return  # taken by who waited for it, or set by somebody
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
                        self._state = "PENDING"  # of which alone there is a way to CANCELLED
                super().cancel()
                self.set_running_or_notify_cancel()
            else:
                self._finish(None, error)
        except concurrent.futures.InvalidStateError:
            pass  # somebody has resolved it, as after a fork


def failure_reason(record):
    """The exception for a record without a result: the task's own, where it can be rebuilt."""
    if record is None:
        return EngineError("the engine has stopped; nothing more will be known of this task", "engine_stopped")
    if type(record) is str:
        return EngineError(record, "result_unknown")
    error = exception_of(record.raised, record.traceback)
    return of_record(record) if error is None else error  # it may be falsy


def exception_of(raised, traceback):
    """An exception out of its pickle, with the remote traceback as its cause; None if it cannot be rebuilt."""
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
    """Prints what a task has printed."""
    for text, stream in ((record.stdout, sys.stdout), (record.stderr, sys.stderr)):
        if text and stream is not None:
            try:
                _write(stream, text)
                stream.flush()
            except Exception:
                pass  # closed, or a replacement of the program's own that fails


def _write(stream, text):
    """Writes text; what the stream's encoding does not have, as escapes."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def in_forked_child():
    """Another thread may have held it."""
    global _making
    _making = threading.RLock()


class Inbox:
    """What the futures of one engine wait for."""

    def __init__(self, shows_output=False):
        self.completions = _axion.Completions()
        self._shows_output = shows_output
        self.futures = {}
        self.numbers = count(1)
        self._closed = False
        self._thread = threading.Thread(target=self._read, name="axion-results", daemon=True)
        self._thread.start()

    def _read(self):
        wait, take = self.completions.wait, self.futures.pop
        while True:
            for number, data, record in wait():
                if self._shows_output and type(record) is _axion.Record:
                    show_output(record)
                future = take(number, None)
                if future is not None:
                    future._resolve(data, record)
                future = data = record = None
            if self._closed and not self.futures:
                return

    def wait_for(self, future, timeout):
        """Waits for the only future on its way in place of the thread, as long as nobody else looks at it. That spares
        one of two wake-ups. Returns what is left of the time."""
        number = future._number
        if len(self.futures) != 1 or self._closed or (timeout is not None and not timeout > 0):
            return timeout

        def deliver(data, record):
            # What is printed or fails is left to the thread; so are callbacks, which others have set.
            if data is None or self._shows_output and (record.stdout or record.stderr) or not future._take(data, record):
                return False
            self.futures.pop(number, None)
            if self._closed:
                self.completions.notify()  # The thread may have seen the future as the last one that it waits for.
            return True

        end = None if timeout is None else time.monotonic() + timeout
        self.completions.wait_for(number, future._is_untouched, deliver, timeout)
        return None if end is None else max(0.0, end - time.monotonic())

    def close(self):
        """Lets the thread end, when every future that waits has been resolved."""
        self._closed = True
        self.completions.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(10)

    def forget_in_child(self):
        """In a forked process, nothing comes any more."""
        for future in list(self.futures.values()):
            if future._own_condition is not None:
                future._own_condition = threading.Condition()
            if not future.done():
                future.set_exception(EngineError("the task is of the process that this one was forked off", "forked"))
        self.futures.clear()
