"""Prints, attributed to their task.

`sys.stdout` and `sys.stderr` become streams that send whole lines as `Output` frames under the
sequence number of the task that printed them. Writes below Python (C code, subprocesses) go to fds
1 and 2, which are capture pipes from the first instant on.
"""

import io
import os
import sys
from _thread import get_ident

from .channel import output_frames

_LINE = 8 << 10
STDOUT, STDERR = 0, 1


class TaskStream(io.TextIOBase):
    """A text stream whose lines belong to the task that writes them."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    mode = "w"

    def __init__(self, channel, number, current, pending):
        self._channel = channel
        self._number = number
        self._current = current  # -> the running task's Context, or None
        self._pending = pending  # unfinished lines by task, stream and thread
        self.name = "<stdout>" if number == STDOUT else "<stderr>"
        self.buffer = _Bytes(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        mine = self._mine()
        line = self._pending.pop(mine, "") + text
        if "\n" in text or len(line) > _LINE:
            _send(self._channel, mine, line)
        elif line:
            self._pending[mine] = line
        return len(text)

    def write_bytes(self, data):
        data = bytes(memoryview(data))
        self.flush()
        self._channel.print(self._mine()[0], self._number, data)
        return len(data)

    def flush(self):
        mine = self._mine()
        line = self._pending.pop(mine, "")
        if line:
            _send(self._channel, mine, line)

    def _mine(self):
        """Whose line this is: threads that print at once, also those of one task, each get whole lines."""
        task = self._current()
        return 0 if task is None else task._seq, self._number, get_ident()

    def close(self):
        """Flushes; the next task prints here too."""
        self.flush()

    def fileno(self):
        return self._number + 1

    def isatty(self):
        return False

    def writable(self):
        return True

    def reconfigure(self, **_):
        """Accepted and without effect: the encoding is always UTF-8 and lines are sent at once."""


class _Bytes(io.RawIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, stream):
        self._stream = stream
        self.name = stream.name
        self.raw = self

    def write(self, data):
        return self._stream.write_bytes(data)

    def flush(self):
        self._stream.flush()

    close = flush  # a wrapper around it closes it when it is dropped

    def writable(self):
        return True

    def fileno(self):
        return self._stream.fileno()


def _send(channel, whose, text):
    channel.print(whose[0], whose[1], text.encode("utf-8", "backslashreplace"))


def unfinished(channel, pending, seq=None):
    """Takes what was printed last without a newline, of one task or of all, as frames."""
    out = b""
    for whose in [key for key in list(pending) if seq is None or key[0] == seq]:
        text = pending.pop(whose, "")
        if channel.closed:
            _send(channel, whose, text)
        else:
            out += output_frames(whose[0], whose[1], text.encode("utf-8", "backslashreplace"))
    return out


def captured(channel, seq, ready):
    """Takes what lies in the capture pipes, as frames of the task that has just ended."""
    out = b""
    for fd, number in ((channel.raw_out, STDOUT), (channel.raw_err, STDERR)):
        if any(found == fd for found, _ in ready):
            try:
                data = os.read(fd, 1 << 20)
            except BlockingIOError:  # the engine was faster
                continue
            out += output_frames(seq, number, data)
    return out


def install(channel, current):
    """Sets the streams of `sys`; returns them, and the unfinished lines that they hold."""
    pending = {}
    sys.stdout = sys.__stdout__ = TaskStream(channel, STDOUT, current, pending)
    sys.stderr = sys.__stderr__ = TaskStream(channel, STDERR, current, pending)
    return (sys.stdout, sys.stderr), pending


def restore(streams):
    """Undoes what a task did to the streams, so that the next one's prints are not lost in them."""
    for stream in (sys.stdout, sys.stderr):
        if stream not in streams:
            try:
                stream.flush()
            except BaseException:
                pass
    sys.stdout, sys.stderr = streams
