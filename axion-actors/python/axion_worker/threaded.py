"""Runs many tasks at a time: plain functions in threads, coroutines on one event loop.

The main thread only reads frames and hands tasks over. A task goes to a thread, one of the worker's
slots. If it turns out to be a coroutine, it leaves the thread at once and runs on the loop. The next
task of a script that is known to be a coroutine goes straight to the loop and needs no thread.
"""

import os
import threading
from time import monotonic_ns

from . import library, output, wire
from .context import Context, parse_run
from .coroutines import run_task
from .cpython import signal, thread_types
from .failure import SoftTimeout, end_worker
from .functions import Functions, Targets
from .inline import failed_frame
from .payloads import SHARE_FROM, Payloads, large_done
from .scripts import Script, Scripts
from .thread_pool import ThreadPool

deque, _, ContextVar, copy_context = thread_types()
_current = ContextVar("axion_task", default=None)

_MAX_LOOP_PARAMS = 64 << 10  # bytes of parameters that the loop reads itself: more would delay other coroutines
_MAX_REPORTED = 4096  # targets: beyond them, all are reported to the engine again (L9)


class Threaded:
    resend_ms = None  # an exception that was set in a thread stays until it is raised: see `Inline.resend_interrupt`

    def __init__(self, channel, slots):
        self.channel = channel
        self.slots = slots
        self._page = self._worker_id = None  # see `configure`
        self._targets = Targets(Scripts(one_at_a_time=False))
        self._functions = Functions(_current.get, Payloads(channel), only_forward=True)
        self._load_locks = {}  # by target: one that loads slowly delays only its own tasks
        self._reported = {}  # target -> whether the engine was told that it is a coroutine
        self._loop_lock = threading.Lock()
        self._last_read = 0  # the highest sequence number that was read
        self._overdue = set()  # tasks whose soft time limit passed before they started
        self._revoked = set()  # tasks beyond `_last_read`, still in the pipe
        self._lock = threading.Lock()
        self._waiting = {}  # seq -> its frame's fields and batch, until a thread takes it
        self._running = {}  # seq -> Context
        self._user_threads = {}  # seq -> the thread that is running user code for it
        self._task_threads = ThreadPool("axion", slots, self._run_waiting)
        # Load targets that may be coroutines while all task threads are busy.
        self._loader_threads = ThreadPool("axion-loader", slots, self._preload)
        self._preloads = {}  # target -> the tasks that a loader will check, in their order
        self._in_threads = {}  # target -> the number of its tasks that wait for a thread or are in one
        self._drained = threading.Condition(self._lock)
        self._loop = None
        # Not SIG_IGN, which subprocesses would inherit.
        signal.signal(signal.SIGINT, lambda _number, _frame: None)
        _, self._partial_lines = output.install(channel, _current.get)
        os.register_at_fork(after_in_child=self._reset_lock)

    def configure(self, worker_id, page, _restore):
        """Called in the main thread, before the other threads are there."""
        self._worker_id, self._page = worker_id, StatusPage(page)
        self._done_limit = min(self.channel.frame_limit, SHARE_FROM) - wire.DONE_OVERHEAD

    # Called in the control thread.

    def cancel(self, seq):
        """Asks a task to stop, if it is running."""
        with self._lock:
            task = self._running.get(seq)
        if task is not None:
            task.cancelled = True
            if task._interrupt is not None:
                task._interrupt()

    def revoke(self, seqs):
        """Takes back tasks that have not started. Returns those that it took back."""
        with self._lock:
            self._overdue.difference_update(seqs)
            unread = [seq for seq in seqs if seq > self._last_read and seq not in self._revoked]
            self._revoked.update(unread)
            return [seq for seq in seqs if self._withdraw(seq)] + unread

    def _withdraw(self, seq):
        """Takes a task from those that wait for a thread. False if it is not among them."""
        fields = self._waiting.pop(seq, None)
        if fields is not None:
            self._leave_threads(fields[3])
        return fields is not None

    def interrupt(self, seq):
        """Raises `SoftTimeout` in a running task's thread, or cancels its coroutine."""
        set_exception = thread_exception_setter()
        with self._lock:
            task = self._running.get(seq)
            if task is None:
                if seq > self._last_read or seq in self._waiting:
                    self._overdue.add(seq)
                return
            thread = self._user_threads.get(seq)
            task._is_overdue = True
            if thread is not None:
                set_exception(thread, SoftTimeout)
        if thread is None and task._interrupt is not None:
            task._interrupt()

    # Called in the main thread.

    def serve(self):
        """Hands tasks over until the engine closes the data pipe, then waits for them."""
        channel, targets = self.channel, self._targets
        for body, start, end in channel.frames:
            if body[start] == wire.RUN_TAG:
                seq, attempt, limit_ns, task, target, params = parse_run(body, start, end)
            else:
                fields = self._functions.receive(body, start, end)
                if fields is None:
                    continue
                seq, attempt, limit_ns, task, target, params = fields
            loaded = targets.loaded_coroutine(target, channel.batch)
            with self._lock:
                self._last_read = seq
                if seq in self._revoked:
                    self._revoked.discard(seq)
                    continue
                # Straight to the loop, unless earlier tasks of the target are still in threads.
                direct = (loaded is not None and target not in self._in_threads and self._loop is not None
                          and len(params) <= _MAX_LOOP_PARAMS)
                if direct:
                    context = self._context(seq, attempt, limit_ns, task, target)
                    self._mark_started(context)
                else:
                    self._waiting[seq] = attempt, limit_ns, task, target, params, channel.batch
                    self._enter_threads(target)
                    needs_loader = (not self._task_threads.has_room() and not targets.is_plain(target)
                                    and self._queue_preload(target, seq))
            if direct:
                self._loop.run_target(self, context, loaded, params)
                continue
            self._task_threads.put(seq)
            if needs_loader:
                self._loader_threads.put(target)
        with self._lock:
            while self._waiting or self._running:
                self._drained.wait()

    def _context(self, seq, attempt, limit_ns, task, target):
        context = Context(self.channel, self._worker_id, seq, attempt, task, limit_ns, monotonic_ns())
        context._codec = Script if type(target) is bytes else target
        return context

    def _mark_started(self, context):
        """From here on the task can be cancelled but not revoked."""
        seq = context._seq
        self._running[seq] = context
        context._is_overdue = seq in self._overdue
        self._overdue.discard(seq)
        self._page.enter(seq)

    def _enter_threads(self, target):
        self._in_threads[target] = self._in_threads.get(target, 0) + 1

    def _leave_threads(self, target):
        """One of the target's tasks has left its thread: it is on the loop, ended or revoked."""
        remaining = self._in_threads[target] - 1
        if remaining:
            self._in_threads[target] = remaining
        else:
            del self._in_threads[target]
            self._load_locks.pop(target, None)  # which no thread holds or waits for (L9)

    def _queue_preload(self, target, seq):
        """Has a loader check a task that waits for a thread. True if the target needs a loader started."""
        seqs = self._preloads.get(target)
        if seqs is not None:
            seqs.append(seq)
            return False
        self._preloads[target] = deque((seq,))
        self._enter_threads(target)
        return True

    def _reset_lock(self):
        """In a forked process, the thread that held the lock does not exist."""
        self._lock = threading.Lock()
        self._drained = threading.Condition(self._lock)

    # Called in the task threads.

    def _run_waiting(self, seq):
        with self._lock:
            fields = self._waiting.pop(seq, None)
            if fields is None:  # revoked, or a loader has moved it to the loop
                self._drained.notify_all()
                return
            attempt, limit_ns, task, target, params, batch = fields
            context = self._context(seq, attempt, limit_ns, task, target)
            self._mark_started(context)
        token = _current.set(context)
        try:
            try:
                loaded = self._load(target, batch)
                self._report(seq, target, loaded)
            except BaseException as error:
                self._finish(context, error, None)
            else:
                self._run(context, loaded, target, params)
        finally:
            _current.reset(token)
        with self._lock:
            self._leave_threads(target)

    def _load(self, target, batch, preload_seq=None):
        """The loaded target. For a task that a loader checks, `preload_seq`: None if it is known to be plain."""
        with self._load_locks.setdefault(target, threading.Lock()):
            if preload_seq is None:
                return self._targets.load(target, batch)
            if self._targets.is_plain(target):
                return None
            with self._lock:
                self._page.enter(preload_seq)  # if the script's own code kills the worker, it is charged (L5)
            try:
                return self._targets.load(target, batch)
            finally:
                with self._lock:
                    if preload_seq not in self._running:  # a thread may have taken it meanwhile
                        self._page.leave(preload_seq)

    def _run(self, context, loaded, target, params):
        """Runs a task to its end, or hands its coroutine to the loop."""
        error = value = loop = None
        try:
            params = loaded.loads(params)
            try:
                self._enter_user_code(context)
                if context._is_overdue:
                    raise SoftTimeout
                value = loaded.call(params, context)
            finally:
                self._leave_user_code(context)
            self._report(context._seq, target, loaded)  # of `module()` it is known only now
            if hasattr(type(value), "__await__"):
                loop = self._event_loop()
        except BaseException as caught:
            error = caught
        if loop is not None:
            loop.run_coroutine(self, value, context)
        else:
            self._finish(context, error, value)
        error = value = None

    def _report(self, seq, target, loaded):
        """Reports to the engine, before the result, whether the target is a coroutine, unless that was reported."""
        reported, key = self._reported, target if type(target) is bytes else target.id
        if loaded.is_async is None or reported.get(key) is loaded.is_async:
            return
        if len(reported) >= _MAX_REPORTED:
            reported.clear()
        reported[key] = loaded.is_async
        self.channel.emit("Loaded", seq, loaded.is_async)

    # Called in the loader threads.

    def _preload(self, target):
        """Loads a target and starts those of its waiting tasks that are coroutines: they need no thread."""
        seqs = self._preloads[target]
        while True:
            with self._lock:
                if not seqs:
                    del self._preloads[target]
                    self._leave_threads(target)
                    return
                seq = seqs.popleft()
                fields = self._waiting.get(seq)
                if fields is None:
                    continue
                attempt, limit_ns, task, _, params, batch = fields
                context = self._context(seq, attempt, limit_ns, task, target)
            token = _current.set(context)
            try:
                self._start_if_coroutine(context, target, params, batch)
            finally:
                _current.reset(token)

    def _start_if_coroutine(self, context, target, params, batch):
        loaded = error = None
        try:
            loaded = self._load(target, batch, context._seq)
            if loaded is None or not loaded.is_async:
                return  # it keeps its place in the queue
        except BaseException as caught:
            error = caught
        with self._lock:
            if not self._withdraw(context._seq):
                return  # revoked, or a thread has taken it meanwhile
            self._mark_started(context)
        if error is not None:
            self._finish(context, error, None)
        else:
            self._report(context._seq, target, loaded)
            self._run(context, loaded, target, params)

    def _enter_user_code(self, context):
        with self._lock:
            self._user_threads[context._seq] = threading.get_ident()

    def _leave_user_code(self, context):
        """From here on no exception can be set in this thread on behalf of this task."""
        with self._lock:
            thread = self._user_threads.pop(context._seq, None)
            if context._is_overdue and thread is not None:
                # An exception that was set too late to be raised must not hit the thread's next task.
                thread_exception_setter()(thread, None)

    def _event_loop(self):
        with self._loop_lock:
            if self._loop is None:
                self._loop = EventLoop()
            return self._loop

    def _finish(self, context, error, value):
        seq, started_ns = context._seq, context._started_ns
        try:
            if error is not None:
                raise error
            data = context._codec.dumps(value)
            size, nanos = len(data), monotonic_ns() - started_ns
            if size <= self._done_limit:
                frame = wire.DONE_HEAD.pack(size + wire.DONE_OVERHEAD, wire.DONE_TAG, seq, nanos, size) + data
            else:
                frame = large_done(self.channel, seq, nanos, data)
        except BaseException as caught:
            frame = failed_frame(self.channel, caught, seq, monotonic_ns() - started_ns, context._codec)
        if self._partial_lines:
            frame = output.take_partial_lines(self.channel, self._partial_lines, seq) + frame
        self.channel.send(frame)
        with self._lock:
            del self._running[seq]
            self._page.end(seq)
            self._drained.notify_all()


def thread_exception_setter():
    """`PyThreadState_SetAsyncExc` as a function of a thread and an exception class, or None to withdraw it."""
    global _set_exception
    if _set_exception is None:
        with library.StdlibFirst():
            import ctypes
        function = ctypes.pythonapi.PyThreadState_SetAsyncExc

        def _set_exception(thread, exception):
            function(ctypes.c_ulong(thread), exception and ctypes.py_object(exception))

    return _set_exception


_set_exception = None


class StatusPage:
    """Each slot of the page holds the sequence number of a running task, or 0 (L5). Behind the slots are those that ended."""

    def __init__(self, page):
        self._slots, self._ended = page[:wire.PAGE_SLOTS], page[wire.PAGE_SLOTS:]
        self._free_slots = list(range(wire.PAGE_SLOTS - 1, -1, -1))
        self._slot_by_seq = {}

    def enter(self, seq):
        if self._free_slots and seq not in self._slot_by_seq:
            slot = self._slot_by_seq[seq] = self._free_slots.pop()
            self._slots[slot] = seq

    def end(self, seq):
        """Its result is written. Where that does not reach the engine, the engine must know that the task had started."""
        self._ended[seq % wire.PAGE_ENDED] = seq
        self.leave(seq)

    def leave(self, seq):
        slot = self._slot_by_seq.pop(seq, None)
        if slot is not None:
            self._slots[slot] = 0
            self._free_slots.append(slot)


class EventLoop:
    """The event loop that all coroutine tasks of this worker share, in a thread of its own."""

    def __init__(self):
        self._asyncio = library.asyncio()
        self._loop = self._asyncio.new_event_loop()
        self._callbacks = deque()  # (contextvars context, function) to call on the loop
        self._is_wakeup_scheduled = False
        threading.Thread(target=self._main, name="axion-loop", daemon=True).start()

    def _main(self, end_worker=end_worker):
        self._asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
            except BaseException as error:
                # asyncio passes on a SystemExit of something that a task started: it must not end other tasks.
                if self._loop.is_closed():
                    end_worker(error)

    def run_target(self, server, context, loaded, params):
        """Runs a task whose entry point is a coroutine function: the call itself runs no user code yet."""
        def start():
            _current.set(context)
            try:
                if context._is_overdue:
                    raise SoftTimeout
                value = loaded.call(loaded.loads(params), context)
                is_awaitable = hasattr(type(value), "__await__")
            except BaseException as error:
                server._finish(context, error, None)
                return
            if is_awaitable:
                self._create_task(server, value, context)
            else:  # `module()` returned another object than before
                server._finish(context, None, value)

        self._schedule(start)

    def run_coroutine(self, server, coroutine, context):
        """Runs a coroutine that a thread has made."""
        def start():
            _current.set(context)
            self._create_task(server, coroutine, context)

        self._schedule(start)

    def _schedule(self, function):
        """Calls a function on the loop. Functions that arrive while the loop is busy share one wakeup."""
        self._callbacks.append((copy_context(), function))
        if not self._is_wakeup_scheduled:
            self._is_wakeup_scheduled = True
            self._loop.call_soon_threadsafe(self._call_scheduled)

    def _call_scheduled(self, end_worker=end_worker):
        try:
            # Cleared first: what arrives from here on is either called below or schedules another wakeup.
            self._is_wakeup_scheduled = False
            while self._callbacks:
                context, function = self._callbacks.popleft()
                context.run(function)
        except BaseException as error:
            # The functions let no exception of a task through. The loop would go on without their tasks (L1).
            end_worker(error)

    def _create_task(self, server, coroutine, context):
        def finish(task, end_worker=end_worker):
            try:
                error, value = task.result()
            except BaseException as cancelled:  # by another task, before its first step
                error, value = cancelled, None
            try:
                server._finish(context, error, value)
            except BaseException as error:
                end_worker(error)

        try:
            task = self._loop.create_task(run_task(coroutine, context))
            context._interrupt = lambda: self._loop.call_soon_threadsafe(task.cancel)
            task.add_done_callback(finish)
        except BaseException as error:  # by what a task factory does that a task has set
            server._finish(context, error, None)
