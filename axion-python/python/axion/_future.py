"""Futures, and the thread that resolves them."""

import concurrent.futures
import pickle
import sys
import threading
from itertools import count

from . import _axion
from ._code import unpack
from .errors import EngineError, RemoteTraceback, of_record

_making = threading.Lock()
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

    def __init__(self, engine=None):
        self._engine = engine

    @property
    def _condition(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        condition = self._own_condition
        if condition is None:
            with _making:
                condition = self._own_condition
                if condition is None:
                    self._waiters, self._done_callbacks = [], []
                    condition = self._own_condition = threading.Condition()
        return condition

    def done(self):
        return self._state in _DONE

    def result(self, timeout=None):
        # It is set before the state; nothing changes any more.
        if self._state == "FINISHED" and self._exception is None:
            return self._result
        return super().result(timeout)

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
        try:
            try:
                if data is not None:
                    self._finish(unpack(data), None)
                    return
                error = why(record)
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


def why(record):
    """The exception for a record without a result: the task's own, where it can be rebuilt."""
    if record is None:
        return EngineError("the engine has stopped; nothing more will be known of this task", "engine_stopped")
    if type(record) is str:
        return EngineError(record, "result_unknown")
    told = of_record(record)
    raised = record.raised
    if raised is not None:
        try:
            error = pickle.loads(raised)
        except Exception:
            return told
        if isinstance(error, Exception):
            error.__cause__ = RemoteTraceback("\n\"\"\"\n%s\"\"\"" % (record.traceback or ""))
            return error
    return told


def show_output(record):
    """Prints what a task has printed."""
    for text, stream in ((record.stdout, sys.stdout), (record.stderr, sys.stderr)):
        if text and stream is not None:
            try:
                stream.write(text)
                stream.flush()
            except Exception:
                pass  # closed, or a replacement of the program's own that fails


def in_forked_child():
    """Another thread may have held it."""
    global _making
    _making = threading.Lock()


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

    def close(self):
        """Lets the thread end, when every future that waits has been resolved."""
        self._closed = True
        self.completions.ring()
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
