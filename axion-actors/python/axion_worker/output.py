"""Prints, attributed to their task.

`sys.stdout` and `sys.stderr` become streams that send whole lines as `Output` frames under the
sequence number of the task that printed them. Writes below Python (C code, subprocesses) go to fds
1 and 2, which are capture pipes from the first instant on.
"""

import io
import os
import sys

from .channel import output_frames

_LINE = 8 << 10
STDOUT, STDERR = 0, 1


class TaskStream(io.TextIOBase):
    """A text stream whose lines belong to the task that writes them."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    mode = "w"

    def __init__(self, channel, number, current, idle):
        self._channel = channel
        self._number = number
        self._current = current  # -> the running task's Context, or None
        self._idle = idle  # holds the unfinished lines of nobody's prints
        self.name = "<stdout>" if number == STDOUT else "<stderr>"
        self.buffer = _Bytes(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        task = self._current() or self._idle
        held = task._text
        if held is None:
            held = task._text = ["", ""]
        line = held[self._number] + text
        if "\n" in text or len(line) > _LINE:
            held[self._number] = ""
            self._channel.print(task._seq, self._number, line.encode("utf-8", "backslashreplace"))
        else:
            held[self._number] = line
        return len(text)

    def write_bytes(self, data):
        self.flush()
        task = self._current() or self._idle
        self._channel.print(task._seq, self._number, bytes(data))

    def flush(self):
        task = self._current() or self._idle
        held = task._text
        if held is not None and held[self._number]:
            rest, held[self._number] = held[self._number], ""
            self._channel.print(task._seq, self._number, rest.encode("utf-8", "backslashreplace"))

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
        self._stream.write_bytes(data)
        return len(data)

    def flush(self):
        self._stream.flush()

    def writable(self):
        return True

    def fileno(self):
        return self._stream.fileno()


class Nobody:
    """Stands in for a Context while no task runs: its prints are the worker's."""

    def __init__(self):
        self._seq = 0
        self._text = None


def unfinished(task):
    """Takes what a task printed last without a newline, as frames."""
    out = b""
    for number, text in enumerate(task._text or ()):
        if text:
            out += output_frames(task._seq, number, text.encode("utf-8", "backslashreplace"))
    task._text = None
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
    idle = Nobody()
    sys.stdout = TaskStream(channel, STDOUT, current, idle)
    sys.stderr = TaskStream(channel, STDERR, current, idle)
