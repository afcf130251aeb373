"""The second argument of a task."""

from . import wire
from .failure import SoftTimeout, truncate

_LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_MAX_MESSAGE = 64 << 10  # characters, so at most 256 KiB: the smallest frame limit is 1 MiB


class Context:
    """Identifies the running task, and sends its progress and log messages to the engine."""

    __slots__ = ("worker_id", "attempt", "cancelled", "_seq", "_id", "_channel", "_interrupt", "_limit_ns",
                 "_started_ns", "_is_overdue", "_codec")

    # Raised at the soft time limit; a TimeoutError. Here, so that a script can catch it by name.
    SoftTimeout = SoftTimeout

    def __init__(self, channel, worker_id, seq, attempt, task, limit_ns, started_ns):
        self.worker_id = worker_id
        self.attempt = attempt
        self.cancelled = False
        self._seq = seq
        self._id = task
        self._channel = channel
        self._interrupt = None  # of a coroutine: cancels it on its event loop
        self._limit_ns = limit_ns
        self._started_ns = started_ns
        self._is_overdue = False  # the soft time limit has passed
        self._codec = None  # of a threaded worker: reads the parameters and writes the result

    @property
    def task_id(self):
        """The task's id, a UUID as text."""
        digits = self._id.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    @property
    def deadline(self):
        """When the engine will kill this attempt, on the clock of `time.monotonic()`; None: never."""
        return (self._started_ns + self._limit_ns) / 1e9 if self._limit_ns else None

    def progress(self, fraction, message=""):
        """Reports the task's progress: `fraction` is clamped to 0.0 to 1.0, `message` is optional text."""
        fraction = float(fraction)
        if fraction != fraction:
            raise ValueError("fraction is not a number")
        self._channel.emit("Progress", self._seq, min(max(fraction, 0.0), 1.0), truncate(str(message), _MAX_MESSAGE))

    def log(self, message, level="info"):
        """Writes to the engine's log, attributed to this task. Levels: debug, info, warning, error."""
        if level not in _LEVELS:
            raise ValueError("unknown level %r: use one of %s" % (level, ", ".join(_LEVELS)))
        self._channel.emit("Log", self._seq, _LEVELS[level], truncate(str(message), _MAX_MESSAGE))

    def __repr__(self):
        return "<Context task_id=%s worker_id=%s attempt=%d>" % (self.task_id, self.worker_id, self.attempt)


def parse_run(body, start, end):
    """The fields of a `Run` frame: seq, attempt, limit, task, script, params."""
    try:
        tag, seq, attempt, limit_ns, task, size = _RUN(body, start)
    except wire.StructError:
        raise wire.WireError("a Run of %d bytes ends within its fields" % (end - start))
    if tag != _RUN_TAG:
        raise wire.WireError("expected Run, found tag %d" % tag)
    script = start + _RUN_SIZE
    params = script + size + 8
    if params > end:
        raise wire.WireError("a Run of %d bytes ends within its fields" % (end - start))
    path = body[script:params - 8]
    if type(path) is not bytes:  # a large frame is a bytearray
        path = bytes(path)
    return seq, attempt, limit_ns, task, path, body[params:end]


def parse_call(body, start, end):
    """The fields of a `Call` frame: seq, attempt, limit, task, function, arguments.

    Large arguments are a view of the frame's buffer and are never copied.
    """
    try:
        tag, seq, attempt, limit_ns, task, function, size = _CALL(body, start)
    except wire.StructError:
        raise wire.WireError("a Call of %d bytes ends within its fields" % (end - start))
    at = start + _CALL_SIZE
    if tag != wire.CALL_TAG or at + size != end:
        raise wire.WireError("a Call of %d bytes ends within its fields" % (end - start))
    arguments = body[at:end] if size < _MAX_COPIED else memoryview(body)[at:end]
    return seq, attempt, limit_ns, task, function, arguments


_MAX_COPIED = 64 << 10  # bytes of arguments that are copied out of the frame
_CALL, _CALL_SIZE = wire.CALL_HEAD.unpack_from, wire.CALL_HEAD.size
_RUN, _RUN_SIZE, _RUN_TAG = wire.RUN_HEAD.unpack_from, wire.RUN_HEAD.size, wire.RUN_TAG
