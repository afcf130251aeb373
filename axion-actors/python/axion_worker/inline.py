"""One task at a time in the main thread, in the order of their sequence numbers.

The hot path of the runtime: between two no-op tasks stand one `write` and one look at the capture
pipes. While a task runs, slot 0 of the status page holds its sequence number, which the engine can
read after the process has died: what had not started is not charged (L5).
"""

import _signal
import sys
from _thread import allocate_lock, get_ident
from select import POLLIN, poll
from time import monotonic_ns

from . import library, output, wire
from .context import Context, parse_run
from .control import INTERRUPT_SIGNAL
from .coroutines import awaited, cancel_all
from .failure import Kind, SoftTimeout, TaskFailure, describe, leave
from .functions import Functions, Works
from .scripts import Script

# Milliseconds until a soft limit's signal is sent again, at first and, after doubling each time, at last.
_FIRST_PAUSE, _LAST_PAUSE = 4, 1024

# Spares the usual result the search for an attribute.
_PLAIN = frozenset((type(None), bool, int, float, str, list, tuple, dict))


class Inline:
    def __init__(self, channel, page, scripts, worker_id):
        self._channel = channel
        self._page = page
        self._works = Works(scripts)
        self._functions = Functions(lambda: self._running)
        self._worker_id = worker_id
        self._lock = allocate_lock()
        self._taken = 0  # the highest sequence number that has been started or dropped
        self._dropping = False  # some that come may not be started: look under the lock
        self._revoked = set()
        self._stopped = False
        self._running = None
        self._interruptible = False
        self._loop = None
        self._late = 0  # the task whose soft time limit has passed
        self.pause = None  # milliseconds until its signal is sent again
        self._main = get_ident()
        _signal.signal(_signal.SIGINT, self._on_interrupt)
        _signal.signal(INTERRUPT_SIGNAL, self._on_late)
        self._streams, self._pending = output.install(channel, lambda: self._running)

    # From the control thread.

    def cancel(self, seq):
        """Asks the running task to stop; False if it is not running."""
        task = self._running
        if task is None or task._seq != seq:
            return False
        task.cancelled = True
        if task._cancel is not None:
            task._cancel()
        return True

    def revoke(self, seqs):
        """Takes back tasks that have not started; returns those it really took."""
        with self._lock:
            # Before the look at what is taken, as the main thread takes before it looks here.
            self._dropping = True
            taken = self._taken
            gone = [seq for seq in seqs if seq > taken and seq not in self._revoked]
            self._revoked.update(gone)
            self._dropping = self._stopped or bool(self._revoked)
        return gone

    def interrupt(self, seq):
        """Raises `SoftTimeout` in the running task, or cancels its coroutine."""
        # Before the look at what runs, as a task looks here when it runs.
        self._late = seq
        task = self._running
        if task is None or task._seq != seq:
            return
        if task._cancel is not None:
            task._soft = True
            task._cancel()
        else:
            # A signal also ends a system call that waits, which an exception set from outside would not.
            self.pause = _FIRST_PAUSE
            _signal.pthread_kill(self._main, INTERRUPT_SIGNAL)

    def insist(self):
        """Sends the signal again while its handler has not run.

        One that came just before a system call did not end it, and the handler would wait for its end.
        """
        task = self._running
        if self.pause > _LAST_PAUSE or task is None or task._seq != self._late or task._cancel is not None:
            self.pause = None
            return
        self.pause *= 2
        _signal.pthread_kill(self._main, INTERRUPT_SIGNAL)

    def stop(self):
        """Starts nothing any more."""
        with self._lock:
            self._stopped = self._dropping = True

    # In the main thread.

    def _on_interrupt(self, _number, _frame):
        if self._interruptible:
            raise KeyboardInterrupt

    def _on_late(self, _number, _frame):
        task = self._running
        if self._interruptible and task is not None and task._seq == self._late and task._cancel is None:
            self._late = 0
            raise SoftTimeout

    def _is_dropped(self, seq):
        with self._lock:
            if not self._stopped:
                if seq not in self._revoked:
                    return False
                self._revoked.discard(seq)
                self._dropping = bool(self._revoked)
            return True

    def serve(self):
        """Runs tasks until the engine closes the data pipe."""
        channel, page, works, worker_id = self._channel, self._page, self._works, self._worker_id
        send, limit = channel.send, channel.frame_limit
        done, overhead = wire.DONE_HEAD.pack, wire.DONE_OVERHEAD
        raw = poll()
        raw.register(channel.raw_out, POLLIN)
        raw.register(channel.raw_err, POLLIN)
        look = raw.poll
        run, hear = wire.RUN_TAG, self._functions.hear
        # The entry point found last, for which script or function in which read, and how its values travel.
        call = last = batch = loads = dumps = None
        (stdout, stderr), pending = self._streams, self._pending
        for body, start, end in channel.frames:
            if body[start] == run:
                seq, attempt, time_limit, task, script, params = parse_run(body, start, end)
            else:
                heard = hear(body, start, end)
                if heard is None:
                    continue
                seq, attempt, time_limit, task, script, params = heard
                heard = None
            self._taken = seq
            if self._dropping and self._is_dropped(seq):
                continue
            begun = monotonic_ns()
            self._running = context = Context(channel, worker_id, seq, attempt, task, time_limit, begun)
            page[0] = seq
            try:
                if script != last or batch != channel.batch:
                    last = None
                    found = works.get(script, channel.batch)
                    call, loads, dumps = found.call, found.loads, found.dumps
                    last, batch = script, channel.batch
                params = loads(params)
                self._interruptible = True
                if seq == self._late:
                    self._late = 0
                    raise SoftTimeout
                value = call(params, context)
                if type(value) not in _PLAIN and hasattr(value, "__await__"):
                    value = self._await(value, context)
                self._interruptible = False
                data = dumps(value)
                size = len(data)
                if size + overhead > limit:
                    raise TaskFailure(Kind.RESULT_TOO_LARGE, too_large(size, limit))
                nanos = monotonic_ns() - begun
                frame = done(size + overhead, wire.DONE_TAG, seq, nanos, size) + data
            except BaseException as error:
                self._interruptible = False
                work = Script if type(script) is bytes else script
                frame = failed(channel, error, seq, monotonic_ns() - begun, work)
                error = value = None
            if sys.stdout is not stdout or sys.stderr is not stderr:
                output.restore(self._streams)
            if pending:
                frame = output.unfinished(channel, pending) + frame
            ready = look(0)
            if ready:
                frame = output.captured(channel, seq, ready) + frame
            send(frame)
            # Only now may the next task start (L2); the page follows the result.
            self._running = value = params = frame = data = None
            page[0] = 0

    def _await(self, coroutine, context):
        if self._loop is None or self._loop.is_closed():  # a task can close it
            asyncio = library.asyncio()
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        loop = self._loop
        task = loop.create_task(awaited(coroutine, context))
        context._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        if self._late == context._seq:  # its signal came in between
            self._late = 0
            context._soft = True
        try:
            loop.run_until_complete(task)
        except BaseException:
            # asyncio lets a SystemExit of what a task started through, which may come after its end.
            if not task.done():
                raise
        finally:
            cancel_all(loop)
        error, value = task.result()
        if error is not None:
            raise error
        return value


def failed(channel, error, seq, nanos, work):
    """A `Failed` frame; whatever an exception does while it is described, there is one."""
    if channel.closed:
        leave(error)
    try:
        return wire.encode(wire.UP, "Failed", seq, nanos, describe(error) + (work.raised(error),))
    except BaseException as inner:
        words = (Kind.EXCEPTION, type(error).__name__, "its description failed with %s" % type(inner).__name__, "", [], b"")
        return wire.encode(wire.UP, "Failed", seq, nanos, words)


def too_large(size, limit):
    return "the result is %d bytes, the frame limit is %d: write it to a file and return its path" % (size, limit)
