"""What a task gets as its second argument."""

from . import wire
from .failure import SoftTimeout, cut

_LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_MESSAGE = 64 << 10  # characters, so at most 256 KiB: the smallest frame limit is 1 MiB


class Context:
    """The running task's view of itself: who it is, and how to speak to the engine meanwhile."""

    __slots__ = ("worker_id", "attempt", "cancelled", "_seq", "_id", "_channel", "_cancel", "_limit", "_begun", "_soft", "_work")

    # What the soft time limit raises, to catch it by: a TimeoutError.
    SoftTimeout = SoftTimeout

    def __init__(self, channel, worker_id, seq, attempt, task, limit, begun):
        self.worker_id = worker_id
        self.attempt = attempt
        self.cancelled = False
        self._seq = seq
        self._id = task
        self._channel = channel
        self._cancel = None  # how to interrupt it beyond the flag: see `threaded.Loop`
        self._limit = limit
        self._begun = begun
        self._soft = False  # the soft time limit has passed
        self._work = None  # how a threaded worker reads and writes its values

    @property
    def task_id(self):
        """The task's id, a UUID as text."""
        digits = self._id.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    @property
    def deadline(self):
        """When the engine will kill this attempt, on the clock of `time.monotonic()`; None: never."""
        return (self._begun + self._limit) / 1e9 if self._limit else None

    def progress(self, fraction, message=""):
        """Reports how far the task is: `fraction` from 0.0 to 1.0, what is beyond counts as the end, and a word on it."""
        fraction = float(fraction)
        if fraction != fraction:
            raise ValueError("fraction is not a number")
        self._channel.emit("Progress", self._seq, min(max(fraction, 0.0), 1.0), cut(str(message), _MESSAGE))

    def log(self, message, level="info"):
        """Writes to the engine's log, attributed to this task. Levels: debug, info, warning, error."""
        if level not in _LEVELS:
            raise ValueError("unknown level %r: use one of %s" % (level, ", ".join(_LEVELS)))
        self._channel.emit("Log", self._seq, _LEVELS[level], cut(str(message), _MESSAGE))

    def __repr__(self):
        return "<Context task_id=%s worker_id=%s attempt=%d>" % (self.task_id, self.worker_id, self.attempt)


def parse_run(body, start, end):
    """The fields of a `Run` frame: seq, attempt, limit, task, script, params."""
    tag, seq, attempt, limit, task, size = _HEAD(body, start)
    if tag != _TAG:
        raise wire.WireError("expected Run, found tag %d" % tag)
    script = start + _SIZE
    params = script + size + 8
    if params > end:
        raise wire.WireError("a Run of %d bytes ends within its fields" % (end - start))
    path = body[script:params - 8]
    if type(path) is not bytes:  # of a large frame
        path = bytes(path)
    return seq, attempt, limit, task, path, body[params:end]


def parse_call(body, start, end):
    """The fields of a `Call` frame: seq, attempt, limit, task, function, arguments.

    Large arguments are a view of the buffer that they came in: they are never copied.
    """
    tag, seq, attempt, limit, task, function, size = _CALL(body, start)
    at = start + _CALL_SIZE
    if tag != wire.CALL_TAG or at + size != end:
        raise wire.WireError("a Call of %d bytes ends within its fields" % (end - start))
    arguments = body[at:end] if size < _LARGE else memoryview(body)[at:end]
    return seq, attempt, limit, task, function, arguments


_LARGE = 64 << 10
_CALL, _CALL_SIZE = wire.CALL_HEAD.unpack_from, wire.CALL_HEAD.size
_HEAD, _SIZE, _TAG = wire.RUN_HEAD.unpack_from, wire.RUN_HEAD.size, wire.RUN_TAG
