"""Runs one task at a time in the main thread, in the order of their sequence numbers.

This is the hot path of the runtime: between two no-op tasks it does one `write` and one `poll` of the
capture pipes. While a task runs, slot 0 of the status page holds its sequence number, and another place does after it
has ended. The engine can read them after the process has died: it charges no task that had not started (L5), and
reruns none that had as if it had not.
"""

import sys
from _thread import allocate_lock, get_ident
from select import POLLIN, poll
from time import monotonic_ns

from . import library, output, wire
from .context import Context, parse_run
from .control import INTERRUPT_SIGNAL
from .coroutines import cancel_remaining, run_task
from .cpython import signal
from .failure import FailureKind, SoftTimeout, exit_forked_copy, failure_fields
from .functions import Functions, Targets
from .payloads import SHARE_FROM, Payloads, large_done
from .process_state import MIN_NANOS
from .scripts import Script, Scripts

# The interval after which the signal of a soft limit is sent again, in milliseconds. It doubles each time.
_FIRST_RESEND_MS, _LAST_RESEND_MS = 4, 1024

# The usual results: they need no search for `__await__`.
_NOT_AWAITABLE = frozenset((type(None), bool, int, float, str, list, tuple, dict))


class Inline:
    def __init__(self, channel, slots=1):
        self.channel = channel
        self.slots = slots
        self._page = self._worker_id = self._main_thread = None  # see `configure`
        self._targets = Targets(Scripts(one_at_a_time=True))
        self._functions = Functions(lambda: self._running, Payloads(channel), only_forward=False)
        self._lock = allocate_lock()
        self._last_taken = 0  # the highest sequence number that has been started or dropped
        self._is_dropping = False  # some tasks may not be started: look under the lock
        self._revoked = set()
        self._running = None
        self._is_interruptible = False
        self._loop = None
        self._overdue_seq = 0  # the task whose soft time limit has passed
        self.resend_ms = None  # the interval after which its signal is sent again
        signal.signal(signal.SIGINT, self._on_sigint)
        signal.signal(INTERRUPT_SIGNAL, self._on_soft_limit)
        self._streams, self._partial_lines = output.install(channel, lambda: self._running)

    def configure(self, worker_id, page, restore):
        """Called in the main thread, before the control thread is there."""
        self._targets.restores_functions = restore
        self._worker_id, self._page, self._main_thread = worker_id, page, get_ident()

    # Called in the control thread.

    def cancel(self, seq):
        """Asks a task to stop, if it is the running one."""
        task = self._running
        if task is not None and task._seq == seq:
            task.cancelled = True
            if task._interrupt is not None:
                task._interrupt()

    def revoke(self, seqs):
        """Takes back tasks that have not started. Returns those that it took back."""
        with self._lock:
            # Before `_last_taken` is read: the main thread sets that before it reads this.
            self._is_dropping = True
            last_taken = self._last_taken
            revoked = [seq for seq in seqs if seq > last_taken and seq not in self._revoked]
            self._revoked.update(revoked)
            self._is_dropping = bool(self._revoked)
        return revoked

    def interrupt(self, seq):
        """Raises `SoftTimeout` in the running task, or cancels its coroutine."""
        # Before `_running` is read: a task that starts sets that before it reads this.
        self._overdue_seq = seq
        task = self._running
        if task is None or task._seq != seq:
            return
        if task._interrupt is not None:
            task._is_overdue = True
            task._interrupt()
        else:
            # A signal also interrupts a blocking system call. An exception that another thread sets does not.
            self.resend_ms = _FIRST_RESEND_MS
            signal.pthread_kill(self._main_thread, INTERRUPT_SIGNAL)

    def resend_interrupt(self):
        """Sends the signal again while its handler has not run.

        A signal just before a system call does not interrupt that call, and the handler would wait for its end.
        """
        task = self._running
        if (self.resend_ms > _LAST_RESEND_MS or task is None or task._seq != self._overdue_seq
                or task._interrupt is not None):
            self.resend_ms = None
            return
        self.resend_ms *= 2
        signal.pthread_kill(self._main_thread, INTERRUPT_SIGNAL)

    # Called in the main thread.

    def _on_sigint(self, _number, _frame):
        if self._is_interruptible:
            raise KeyboardInterrupt

    def _on_soft_limit(self, _number, _frame):
        task = self._running
        if self._is_interruptible and task is not None and task._seq == self._overdue_seq and task._interrupt is None:
            self._overdue_seq = 0
            raise SoftTimeout

    def _is_dropped(self, seq):
        with self._lock:
            if seq not in self._revoked:
                return False
            self._revoked.discard(seq)
            self._is_dropping = bool(self._revoked)
            return True

    def serve(self):
        """Runs tasks until the engine closes the data pipe."""
        channel, targets, worker_id = self.channel, self._targets, self._worker_id
        page, ended, places = self._page, self._page[wire.PAGE_SLOTS:], wire.PAGE_ENDED
        send, done, overhead = channel.send, wire.DONE_HEAD.pack, wire.DONE_OVERHEAD
        limit = min(channel.frame_limit, SHARE_FROM) - overhead
        poller = poll()
        poller.register(channel.raw_out, POLLIN)
        poller.register(channel.raw_err, POLLIN)
        captured_fds = poller.poll
        run, receive = wire.RUN_TAG, self._functions.receive
        # The entry point of the last task's target, the batch it was looked up in, and its codec.
        call = last = batch = loads = dumps = None
        (stdout, stderr), partial_lines = self._streams, self._partial_lines
        for body, start, end in channel.frames:
            if body[start] == run:
                seq, attempt, limit_ns, task, target, params = parse_run(body, start, end)
            else:
                fields = receive(body, start, end)
                if fields is None:
                    continue
                seq, attempt, limit_ns, task, target, params = fields
                fields = None
            self._last_taken = seq
            if self._is_dropping and self._is_dropped(seq):
                continue
            started_ns = monotonic_ns()
            self._running = context = Context(channel, worker_id, seq, attempt, task, limit_ns, started_ns)
            page[0] = seq
            try:
                if target != last or batch != channel.batch:
                    last = None
                    loaded = targets.load(target, channel.batch)
                    call, loads, dumps = loaded.call, loaded.loads, loaded.dumps
                    last, batch = target, channel.batch
                params = loads(params)
                self._is_interruptible = True
                if seq == self._overdue_seq:
                    self._overdue_seq = 0
                    raise SoftTimeout
                value = call(params, context)
                if type(value) not in _NOT_AWAITABLE and hasattr(type(value), "__await__"):
                    value = self._await(value, context)
                self._is_interruptible = False
                data = dumps(value)
                size = len(data)
                nanos = monotonic_ns() - started_ns
                if size <= limit:
                    frame = done(size + overhead, wire.DONE_TAG, seq, nanos, size) + data
                else:
                    frame = large_done(channel, seq, nanos, data)
            except BaseException as error:
                self._is_interruptible = False
                codec = Script if type(target) is bytes else target
                nanos = monotonic_ns() - started_ns
                frame = failed_frame(channel, error, seq, nanos, codec)
                error = value = None
            if sys.stdout is not stdout or sys.stderr is not stderr:
                output.restore(self._streams)
            if partial_lines:
                frame = output.take_partial_lines(channel, partial_lines) + frame
            ready = captured_fds(0)
            if ready:
                frame = output.read_captured(channel, seq, ready) + frame
            send(frame)
            # The next task may start only now (L2). The page is cleared after the result is written.
            self._running = value = params = frame = data = None
            ended[seq % places] = seq
            page[0] = 0
            if nanos >= MIN_NANOS:
                targets.put_back()

    def _await(self, coroutine, context):
        if self._loop is None or self._loop.is_closed():  # a task may close it
            asyncio = library.asyncio()
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        loop = self._loop
        task = loop.create_task(run_task(coroutine, context))
        context._interrupt = lambda: loop.call_soon_threadsafe(task.cancel)
        if self._overdue_seq == context._seq:  # the limit passed before `_interrupt` was set
            self._overdue_seq = 0
            context._is_overdue = True
        try:
            loop.run_until_complete(task)
        except BaseException:
            # asyncio passes on a SystemExit of something that the task started, also after the task's end.
            if not task.done():
                raise
        finally:
            cancel_remaining(loop)
        error, value = task.result()
        if error is not None:
            raise error
        return value


def failed_frame(channel, error, seq, nanos, codec):
    """A `Failed` frame. There is one whatever the exception does while it is described."""
    if channel.is_forked_copy:
        exit_forked_copy(error)
    try:
        return wire.encode(wire.UP, "Failed", seq, nanos, failure_fields(error) + (codec.dumps_exception(error),))
    except BaseException as inner:
        text = "its description failed with %s" % type(inner).__name__
        fields = FailureKind.EXCEPTION, type(error).__name__, text, "", [], b""
        return wire.encode(wire.UP, "Failed", seq, nanos, fields)
