"""Attributes prints to their task.

`sys.stdout` and `sys.stderr` become streams that send whole lines as `Output` frames, under the
sequence number of the task that printed them. Writes below Python (C code, subprocesses) go to fds 1
and 2, which are capture pipes from the start.
"""

import io
import os
import sys
from _thread import get_ident

from .channel import output_frames

_MAX_LINE = 8 << 10  # characters of a line that are held back until it ends
STDOUT, STDERR = 0, 1


class TaskStream(io.TextIOBase):
    """A text stream whose lines belong to the task that writes them."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    mode = "w"

    def __init__(self, channel, stream, current, partial_lines):
        self._channel = channel
        self._stream = stream
        self._current = current  # -> the running task's Context, or None
        self._partial_lines = partial_lines  # lines without their end, by task, stream and thread
        self.name = "<stdout>" if stream == STDOUT else "<stderr>"
        self.buffer = _ByteStream(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        writer = self._writer()
        line = self._partial_lines.pop(writer, "") + text
        if "\n" in text or len(line) > _MAX_LINE:
            _send(self._channel, writer, line)
        elif line:
            self._partial_lines[writer] = line
        return len(text)

    def write_bytes(self, data):
        data = bytes(memoryview(data))
        self.flush()
        self._channel.write_output(self._writer()[0], self._stream, data)
        return len(data)

    def flush(self):
        writer = self._writer()
        line = self._partial_lines.pop(writer, "")
        if line:
            _send(self._channel, writer, line)

    def _writer(self):
        """The key of a partial line: threads that print at once, also those of one task, each get whole lines."""
        task = self._current()
        return 0 if task is None else task._seq, self._stream, get_ident()

    def close(self):
        """Flushes. The stream stays open for the next task."""
        self.flush()

    def fileno(self):
        return self._stream + 1

    def isatty(self):
        return False

    def writable(self):
        return True

    def reconfigure(self, **_):
        """Accepts any setting and ignores it: the encoding is always UTF-8 and lines are sent at once."""


class _ByteStream(io.RawIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, text_stream):
        self._text_stream = text_stream
        self.name = text_stream.name
        self.raw = self

    def write(self, data):
        return self._text_stream.write_bytes(data)

    def flush(self):
        self._text_stream.flush()

    close = flush  # a wrapper closes it when the wrapper is collected

    def writable(self):
        return True

    def fileno(self):
        return self._text_stream.fileno()


def _send(channel, writer, text):
    channel.write_output(writer[0], writer[1], text.encode("utf-8", "backslashreplace"))


def take_partial_lines(channel, partial_lines, seq=None):
    """Removes the partial lines of one task, or of all, and returns them as frames."""
    frames = b""
    for writer in [key for key in list(partial_lines) if seq is None or key[0] == seq]:
        text = partial_lines.pop(writer, "")
        if channel.is_forked_copy:
            _send(channel, writer, text)
        else:
            frames += output_frames(writer[0], writer[1], text.encode("utf-8", "backslashreplace"))
    return frames


def read_captured(channel, seq, ready):
    """Reads the capture pipes and returns what they held as frames of the task that has just ended."""
    frames = b""
    for fd, stream in ((channel.raw_out, STDOUT), (channel.raw_err, STDERR)):
        if any(ready_fd == fd for ready_fd, _ in ready):
            # A task may have cleared the flag. If the engine read the pipe first, the read would wait for ever.
            os.set_blocking(fd, False)
            try:
                data = os.read(fd, 1 << 20)
            except BlockingIOError:  # the engine read it first
                continue
            frames += output_frames(seq, stream, data)
    return frames


def install(channel, current):
    """Replaces the streams of `sys`. Returns them, and the partial lines that they hold."""
    partial_lines = {}
    sys.stdout = sys.__stdout__ = TaskStream(channel, STDOUT, current, partial_lines)
    sys.stderr = sys.__stderr__ = TaskStream(channel, STDERR, current, partial_lines)
    return (sys.stdout, sys.stderr), partial_lines


def restore(streams):
    """Puts the streams back that a task replaced, so that they take the next task's prints."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not streams[0] and stream is not streams[1]:  # `in` would compare them by a task's `__eq__`
            try:
                stream.flush()
            except BaseException:
                pass
    sys.stdout, sys.stderr = streams
