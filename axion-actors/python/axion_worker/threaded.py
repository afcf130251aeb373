"""Many tasks at a time: threads for plain functions, one event loop for coroutines.

The main thread only reads and hands over. A task goes to a thread, one of the worker's slots; if it
turns out to be a coroutine, it leaves the thread at once and lives in the loop. The next of a script
that is known to be one goes straight to the loop: it needs no thread, however many there are.
"""

import _signal
import os
import threading
from _collections import deque
from _contextvars import ContextVar, copy_context
from time import monotonic_ns

from . import library, output, wire
from .context import Context, parse_run
from .coroutines import awaited
from .crew import Crew
from .failure import Kind, SoftTimeout, TaskFailure
from .functions import Functions, Works
from .inline import failed, too_large
from .scripts import Script

_current = ContextVar("axion_task", default=None)

_QUICK = 64 << 10  # bytes of parameters that the loop can read without holding up other coroutines
_MOST_TOLD = 4096  # scripts; when there are more, the engine is told anew (L9)


class Threaded:
    pause = None  # an exception that was set in a thread stays until it is raised: see `Inline.insist`

    def __init__(self, channel, page, scripts, worker_id, slots):
        self._channel = channel
        self._works = Works(scripts)
        self._functions = Functions(_current.get)
        self._load_locks = {}  # by script: one that takes long to load holds up only its own tasks
        self._told = {}  # script -> whether the engine believes it to be a coroutine
        self._loop_lock = threading.Lock()
        self._seen = 0  # the highest sequence number that was read
        self._early = set()  # their soft time limits have passed before they began
        self._revoked = set()  # beyond it, still in the pipe
        self._worker_id = worker_id
        self._stopped = False
        self._lock = threading.Lock()
        self._waiting = {}  # seq -> its frame's fields and batch, until a thread takes it
        self._running = {}  # seq -> Context
        self._in_thread = {}  # seq -> the thread that runs user code for it at this moment
        self._tasks = Crew("axion", slots)
        # Loads scripts that may be coroutines while all those threads are busy.
        self._loaders = Crew("axion-loader", slots)
        self._ahead = {}  # script -> its tasks that a loader looks at, in their order
        self._on_their_way = {}  # script -> how many of its tasks wait for a thread or are in one
        self._drained = threading.Condition(self._lock)
        self._page = Page(page)
        self._loop = None
        # Not SIG_IGN, which subprocesses would inherit.
        _signal.signal(_signal.SIGINT, lambda _number, _frame: None)
        _, self._pending = output.install(channel, _current.get)
        os.register_at_fork(after_in_child=self._forked)

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
            return [seq for seq in seqs if self._withdraw(seq)] + ahead

    def _withdraw(self, seq):
        taken = self._waiting.pop(seq, None)
        if taken is not None:
            self._arrived(taken[3])
        return taken is not None

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
            self._stopped = True

    # In the main thread.

    def serve(self):
        """Hands tasks over until the engine closes the data pipe, then waits for them."""
        channel, works = self._channel, self._works
        for body, start, end in channel.frames:
            if body[start] == wire.RUN_TAG:
                seq, attempt, limit, task, script, params = parse_run(body, start, end)
            else:
                heard = self._functions.hear(body, start, end)
                if heard is None:
                    continue
                seq, attempt, limit, task, script, params = heard
            found = works.coroutine(script, channel.batch)
            with self._lock:
                self._seen = seq
                if self._stopped:
                    continue
                if seq in self._revoked:
                    self._revoked.discard(seq)
                    continue
                # Behind those before it, where there are any.
                direct = (found is not None and script not in self._on_their_way and self._loop is not None
                          and len(params) <= _QUICK)
                if direct:
                    context = self._context(seq, attempt, limit, task, script)
                    self._begin(context)
                else:
                    self._waiting[seq] = attempt, limit, task, script, params, channel.batch
                    self._set_out(script)
                    new = not self._tasks.has_room() and not works.is_plain(script) and self._look_ahead(script, seq)
            if direct:
                self._loop.start(self, context, found, params)
                continue
            self._tasks.put(seq, self)
            if new:
                self._loaders.put(script, self)
        with self._lock:
            while self._waiting or self._running:
                self._drained.wait()

    def _context(self, seq, attempt, limit, task, script):
        context = Context(self._channel, self._worker_id, seq, attempt, task, limit, monotonic_ns())
        context._work = Script if type(script) is bytes else script
        return context

    def _begin(self, context):
        """From here on a task has started, and can be cancelled but not revoked."""
        seq = context._seq
        self._running[seq] = context
        context._soft = seq in self._early
        self._early.discard(seq)
        self._page.enter(seq)

    def _set_out(self, script):
        self._on_their_way[script] = self._on_their_way.get(script, 0) + 1

    def _arrived(self, script):
        """One of a script's tasks is through its thread: in the loop, ended or revoked."""
        left = self._on_their_way[script] - 1
        if left:
            self._on_their_way[script] = left
        else:
            del self._on_their_way[script]
            self._load_locks.pop(script, None)  # which nobody has or waits for (L9)

    def _look_ahead(self, script, seq):
        """Has a loader look at a task that waits for a thread; true if none is at this script yet."""
        ahead = self._ahead.get(script)
        if ahead is not None:
            ahead.append(seq)
            return False
        self._ahead[script] = deque((seq,))
        self._set_out(script)
        return True

    def _forked(self):
        """In a process that user code forked: whoever held the lock is not there to release it."""
        self._lock = threading.Lock()

    # In the task threads.

    def do(self, crew, item):
        """What a thread of a crew does with one thing out of its queue."""
        if crew is self._tasks:
            self._take(item)
        else:
            self._load_ahead(item)

    def _take(self, seq):
        with self._lock:
            taken = self._waiting.pop(seq, None)
            if taken is None:  # revoked, or a loader saw that it needs no thread
                self._drained.notify_all()
                return
            attempt, limit, task, script, params, batch = taken
            context = self._context(seq, attempt, limit, task, script)
            self._begin(context)
        token = _current.set(context)
        try:
            try:
                found = self._load(script, batch)
                self._tell(seq, script, found)
            except BaseException as error:
                self._finish(context, error, None)
            else:
                self._run(context, found, script, params)
        finally:
            _current.reset(token)
        with self._lock:
            self._arrived(script)

    def _load(self, script, batch, ahead=None):
        """What is to be called; None for a task that a loader looks at, `ahead`, if it is known to be plain by now."""
        with self._load_locks.setdefault(script, threading.Lock()):
            if ahead is None:
                return self._works.get(script, batch)
            if self._works.is_plain(script):
                return None
            with self._lock:
                self._page.enter(ahead)  # the script's own code runs: it is to blame for what that does (L5)
            try:
                return self._works.get(script, batch)
            finally:
                with self._lock:
                    if ahead not in self._running:  # a thread may have it by now
                        self._page.leave(ahead)

    def _run(self, context, found, script, params):
        """Runs a task to its end, or hands the coroutine that it is to the loop."""
        error = value = None
        try:
            params = found.loads(params)
            try:
                self._enter_user_code(context)
                if context._soft:
                    raise SoftTimeout
                value = found.call(params, context)
            finally:
                self._leave_user_code(context)
            self._tell(context._seq, script, found)  # of `module()` it is known only now
        except BaseException as caught:
            error = caught
        if error is None and hasattr(value, "__await__"):
            self._event_loop().run(self, value, context)
        else:
            self._finish(context, error, value)
        error = value = None

    def _tell(self, seq, script, found):
        """Tells the engine whether a script is a coroutine, before its result, when that is new."""
        told, key = self._told, script if type(script) is bytes else script.id
        if found.is_async is None or told.get(key) is found.is_async:
            return
        if len(told) >= _MOST_TOLD:
            told.clear()
        told[key] = found.is_async
        self._channel.emit("Loaded", seq, found.is_async)

    # In the loaders.

    def _load_ahead(self, script):
        """Frees those of a script's tasks that are coroutines from waiting for a thread."""
        ahead = self._ahead[script]
        while True:
            with self._lock:
                if not ahead:
                    del self._ahead[script]
                    self._arrived(script)
                    return
                seq = ahead.popleft()
                waiting = self._waiting.get(seq)
                if waiting is None:
                    continue
                attempt, limit, task, _, params, batch = waiting
                context = self._context(seq, attempt, limit, task, script)
            token = _current.set(context)
            try:
                self._free(context, script, params, batch)
            finally:
                _current.reset(token)

    def _free(self, context, script, params, batch):
        found = error = None
        try:
            found = self._load(script, batch, context._seq)
            if found is None or not found.is_async:
                return  # it stays in its place in the queue
        except BaseException as caught:
            error = caught
        with self._lock:
            if not self._withdraw(context._seq):
                return  # revoked, or in a thread by now
            self._begin(context)
        if error is not None:
            self._finish(context, error, None)
        else:
            self._tell(context._seq, script, found)
            self._run(context, found, script, params)

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
            data = context._work.dumps(value)
            size = len(data)
            if size + wire.DONE_OVERHEAD > limit:
                raise TaskFailure(Kind.RESULT_TOO_LARGE, too_large(size, limit))
            frame = wire.DONE_HEAD.pack(
                size + wire.DONE_OVERHEAD, wire.DONE_TAG, seq, monotonic_ns() - begun, size) + data
        except BaseException as problem:
            frame = failed(self._channel, problem, seq, monotonic_ns() - begun, context._work)
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
        if self._free and seq not in self._used:
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
        self._ready = deque()  # what is to be done there
        self._called = False
        threading.Thread(target=self._main, name="axion-loop", daemon=True).start()

    def _main(self):
        self._asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
            except BaseException:
                # A SystemExit in what a task started, which asyncio lets through: no other task's business.
                pass

    def start(self, server, context, found, params):
        """Runs a task whose entry point is a coroutine function: the call itself does nothing yet."""
        def start():
            _current.set(context)
            try:
                if context._soft:
                    raise SoftTimeout
                value = found.call(found.loads(params), context)
            except BaseException as error:
                server._finish(context, error, None)
                return
            if hasattr(value, "__await__"):
                self._create(server, value, context)
            else:  # `module()` gave another object than before
                server._finish(context, None, value)

        self._soon(start)

    def run(self, server, coroutine, context):
        """Runs a coroutine that a thread has made."""
        def start():
            _current.set(context)
            self._create(server, coroutine, context)

        self._soon(start)

    def _soon(self, start):
        """Has the loop do something. What comes while it is busy wakes it once."""
        self._ready.append((copy_context(), start))
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._start_all)

    def _start_all(self):
        self._called = False  # what comes from here on is seen below or calls again
        while self._ready:
            context, start = self._ready.popleft()
            context.run(start)

    def _create(self, server, coroutine, context):
        def finish(task):
            try:
                error, value = task.result()
            except BaseException as cancelled:  # by another task, before its first step
                error, value = cancelled, None
            server._finish(context, error, value)

        try:
            task = self._loop.create_task(awaited(coroutine, context))
        except BaseException as error:  # a task factory that a task has set
            server._finish(context, error, None)
            return
        context._cancel = lambda: self._loop.call_soon_threadsafe(task.cancel)
        task.add_done_callback(finish)
