"""Many tasks at a time: threads for plain functions, one event loop for coroutines.

The main thread only reads and hands over; a thread is made when a task finds none idle, up to the
worker's slots. A coroutine leaves its thread at once and lives in the loop.
"""

import _signal
import threading
from _contextvars import ContextVar
from _queue import SimpleQueue
from time import monotonic_ns

from . import library, output, wire
from .context import Context, parse_run
from .coroutines import awaited
from .failure import Kind, SoftTimeout, TaskFailure
from .inline import failed, too_large
from .values import dumps, loads

_current = ContextVar("axion_task", default=None)


class Threaded:
    def __init__(self, channel, page, scripts, worker_id, slots):
        self._channel = channel
        self._scripts = scripts
        self._load_locks = {}  # by script: one that takes long to load holds up only its own tasks
        self._loop_lock = threading.Lock()
        self._seen = 0  # the highest sequence number that was read
        self._early = set()  # their soft time limits have passed before they began
        self._revoked = set()  # beyond it, still in the pipe
        self._worker_id = worker_id
        self._slots = slots
        self._lock = threading.Lock()
        self._waiting = {}  # seq -> its frame's fields and batch, until a thread takes it
        self._running = {}  # seq -> Context
        self._in_thread = {}  # seq -> the thread that runs user code for it at this moment
        self._queue = SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._drained = threading.Condition(self._lock)
        self._page = Page(page)
        self._loop = None
        # Not SIG_IGN, which subprocesses would inherit.
        _signal.signal(_signal.SIGINT, lambda _number, _frame: None)
        _, self._pending = output.install(channel, _current.get)

    # From the control thread.

    def cancel(self, seq):
        """Asks a running task to stop; False if it is not running."""
        with self._lock:
            task = self._running.get(seq)
        if task is None:
            return False
        task.cancelled = True
        if task._cancel is not None:
            task._cancel()
        return True

    def revoke(self, seqs):
        """Takes back tasks that have not started; returns those it really took."""
        with self._lock:
            self._early.difference_update(seqs)
            ahead = [seq for seq in seqs if seq > self._seen and seq not in self._revoked]
            self._revoked.update(ahead)
            return [seq for seq in seqs if self._waiting.pop(seq, None) is not None] + ahead

    def interrupt(self, seq):
        """Raises `SoftTimeout` in a running task's thread, or cancels its coroutine."""
        set_exception = thread_exception()
        with self._lock:
            task = self._running.get(seq)
            if task is None:
                if seq > self._seen or seq in self._waiting:
                    self._early.add(seq)
                return
            thread = self._in_thread.get(seq)
            task._soft = True
            if thread is not None:
                set_exception(thread, SoftTimeout)
        if thread is None and task._cancel is not None:
            task._cancel()

    def stop(self):
        """Starts nothing any more."""
        with self._lock:
            self._waiting.clear()
            self._slots = 0

    # In the main thread.

    def serve(self):
        """Hands tasks to threads until the engine closes the data pipe, then waits for them."""
        for body, start, end in self._channel.frames:
            seq, *fields = parse_run(body, start, end)
            with self._lock:
                self._seen = seq
                if not self._slots:
                    continue
                if seq in self._revoked:
                    self._revoked.discard(seq)
                    continue
                self._waiting[seq] = (fields, self._channel.batch)
                grow = len(self._waiting) > self._idle and self._threads < self._slots
                if grow:
                    self._threads += 1
            if grow:
                self._grow()
            self._queue.put(seq)
        with self._lock:
            while self._waiting or self._running:
                self._drained.wait()

    def _grow(self):
        try:
            threading.Thread(target=self._work, name="axion-%d" % self._threads, daemon=True).start()
        except RuntimeError:  # the system gives no more threads: those that are there do the work
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    raise

    # In the task threads.

    def _work(self):
        while True:
            with self._lock:
                self._idle += 1
            seq = self._queue.get()
            with self._lock:
                self._idle -= 1
                taken = self._waiting.pop(seq, None)
                if taken is None:
                    self._drained.notify_all()
                    continue
                (attempt, limit, task, script, params), batch = taken
                begun = monotonic_ns()
                context = Context(self._channel, self._worker_id, seq, attempt, task, limit, begun)
                self._running[seq] = context
                context._soft = seq in self._early
                self._early.discard(seq)
                self._page.enter(seq)
            self._run(context, script, params, batch)

    def _run(self, context, script, params, batch):
        token = _current.set(context)
        error = value = None
        try:
            with self._load_locks.setdefault(script, threading.Lock()):
                script = self._scripts.get(script, batch)
            params = loads(params)
            try:
                self._enter_user_code(context)
                if context._soft:
                    raise SoftTimeout
                value = script.call(params, context)
            finally:
                self._leave_user_code(context)
        except BaseException as caught:
            error = caught
        if error is None and hasattr(value, "__await__"):
            self._event_loop().run(self, value, context)
        else:
            self._finish(context, error, value)
        error = value = None
        _current.reset(token)

    def _enter_user_code(self, context):
        with self._lock:
            self._in_thread[context._seq] = threading.get_ident()

    def _leave_user_code(self, context):
        """From here on no exception can be set in this thread on behalf of this task."""
        with self._lock:
            thread = self._in_thread.pop(context._seq, None)
            if context._soft and thread is not None:
                # One that was set too late to be raised must not meet the thread's next task.
                thread_exception()(thread, None)

    def _event_loop(self):
        with self._loop_lock:
            if self._loop is None:
                self._loop = Loop()
            return self._loop

    def _finish(self, context, error, value):
        seq, begun, limit = context._seq, context._begun, self._channel.frame_limit
        try:
            if error is not None:
                raise error
            data = dumps(value)
            size = len(data)
            if size + wire.DONE_OVERHEAD > limit:
                raise TaskFailure(Kind.RESULT_TOO_LARGE, too_large(size, limit))
            frame = wire.DONE_HEAD.pack(
                size + wire.DONE_OVERHEAD, wire.DONE_TAG, seq, monotonic_ns() - begun, size) + data
        except BaseException as problem:
            frame = failed(self._channel, problem, seq, monotonic_ns() - begun)
        if self._pending:
            frame = output.unfinished(self._channel, self._pending, seq) + frame
        self._channel.send(frame)
        with self._lock:
            del self._running[seq]
            self._page.leave(seq)
            self._drained.notify_all()


def thread_exception():
    """`PyThreadState_SetAsyncExc`, which takes a thread and an exception class, or None to take it back."""
    global _set_exception
    if _set_exception is None:
        with library.First():
            import ctypes
        function = ctypes.pythonapi.PyThreadState_SetAsyncExc

        def _set_exception(thread, exception):
            function(ctypes.c_ulong(thread), exception and ctypes.py_object(exception))

    return _set_exception


_set_exception = None


class Page:
    """The status page: each slot holds the sequence number of a running task, or 0 (L5)."""

    def __init__(self, slots):
        self._slots = slots
        self._free = list(range(len(slots) - 1, -1, -1))
        self._used = {}

    def enter(self, seq):
        if self._free:
            slot = self._used[seq] = self._free.pop()
            self._slots[slot] = seq

    def leave(self, seq):
        slot = self._used.pop(seq, None)
        if slot is not None:
            self._slots[slot] = 0
            self._free.append(slot)


class Loop:
    """The event loop that all coroutine tasks of this worker share, in a thread of its own."""

    def __init__(self):
        self._asyncio = library.asyncio()
        self._loop = self._asyncio.new_event_loop()
        threading.Thread(target=self._main, name="axion-loop", daemon=True).start()

    def _main(self):
        self._asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
            except BaseException:
                # A SystemExit in what a task started, which asyncio lets through: no other task's business.
                pass

    def run(self, server, coroutine, context):
        def start():
            _current.set(context)
            try:
                task = self._loop.create_task(awaited(coroutine, context))
            except BaseException as error:  # a task factory that a task has set
                server._finish(context, error, None)
                return
            context._cancel = lambda: self._loop.call_soon_threadsafe(task.cancel)
            task.add_done_callback(finish)

        def finish(task):
            try:
                error, value = task.result()
            except BaseException as cancelled:  # by another task, before its first step
                error, value = cancelled, None
            server._finish(context, error, value)

        self._loop.call_soon_threadsafe(start)
