"""The pipes to the engine: two one-way data pipes and a control socket.

This module owns the protocol's file descriptors and keeps them off fds 0 to 2, which user code has (L8).
It writes each frame whole, under one lock, as soon as the frame exists: the next task
cannot take a written result along (L2).
"""

import os
from _thread import RLock, get_ident
from os import write
from select import PIPE_BUF, POLLIN, poll

from . import wire
from .cpython import Struct, calcsize, socket, unpack

_LENGTH = Struct("<I").unpack_from
_READ_SIZE = 1 << 16
_CONTROL_LIMIT = 1 << 20  # fits a `Revoke` of 130,000 tasks

# The engine sends these with the first byte on the control socket, in this order.
_FDS = ("data_in", "data_out", "page", "raw_out", "raw_err", "stacks", "payloads", "kill_pipe")


def take_control_socket():
    """Moves the control socket off fd 0, and returns its new descriptor."""
    control = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return control


class Channel:
    """Reads and writes frames. One thread may read; any thread may write."""

    def __init__(self):
        self.frame_limit = 1 << 26
        self.payload_limit = 1 << 26
        self.batch = 0  # the number of reads so far: the frames of one read share a batch
        self.is_open = False
        self.is_forked_copy = False  # true in a process that user code forked from the worker
        self.frames = self._frames()
        # Reentrant: signal handlers and destructors may send while their own thread holds it.
        self._lock = RLock()
        self._in_progress = 0  # the thread that holds the lock in the middle of a large frame
        self._deferred = []  # frames that its signal handlers and destructors sent meanwhile
        os.register_at_fork(after_in_child=self._disconnect)

    def connect(self, control):
        """Receives the descriptors of the pipes on the control socket."""
        connection = socket.socket(fileno=control)
        size = calcsize("i") * len(_FDS)
        data, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(size))
        connection.detach()
        fds = ()
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = unpack("%di" % (len(raw) // calcsize("i")), raw)
        if not data or len(fds) != len(_FDS):
            raise EOFError("the engine closed the control socket before the handshake")
        for name, fd in zip(_FDS, fds):
            os.set_inheritable(fd, False)
            setattr(self, name, fd)
        self.control = control
        self.payload_socket = socket.socket(fileno=self.payloads)

    def open(self, frame_limit, payload_limit):
        """Ends the handshake: from here on the engine takes messages."""
        self.frame_limit, self.payload_limit = frame_limit, payload_limit
        self.is_open = True

    def _disconnect(self):
        """Replaces the pipes in a process that user code forked: it must not write as the worker or keep them open."""
        if not self.is_open:
            return
        null = os.open(os.devnull, os.O_RDWR)
        for fd in [getattr(self, name) for name in _FDS] + [self.control]:
            try:
                os.dup2(null, fd, False)
            except OSError:
                pass
        os.close(null)
        self.is_open, self.is_forked_copy = False, True

    def _frames(self):
        """Yields `(buffer, start, end)` for the body of each frame until the engine closes the pipe."""
        fd, read = self.data_in, os.read
        buffer = b""
        while True:
            chunk = read(fd, _READ_SIZE)
            if not chunk:
                return
            self.batch += 1
            buffer = buffer + chunk if buffer else chunk
            size, offset = len(buffer), 0
            while size - offset >= 4:
                start = offset + 4
                end = start + _LENGTH(buffer, offset)[0]
                if end > size:
                    if end - start > self.frame_limit:
                        raise wire.WireError("a frame of %d bytes is over the limit" % (end - start))
                    buffer, offset, end = self._read_rest(buffer[offset:], end - offset), 0, end - offset
                    size, start = len(buffer), 4
                    if size < end:
                        return
                yield buffer, start, end
                offset = end
            buffer = buffer[offset:]

    def _read_rest(self, head, size):
        """Reads the rest of one large frame into the buffer in which it is used; `head` at the end of the pipe."""
        frame = bytearray(size)
        filled = len(head)
        frame[:filled] = head
        with memoryview(frame) as view:
            while filled < size:
                count = os.readv(self.data_in, (view[filled:],))
                if not count:
                    return head
                filled += count
        return frame

    def send(self, frame):
        """Writes whole frames to the data pipe. A forked copy of the worker ends here instead."""
        if self.is_forked_copy:
            os._exit(0)
        if self._in_progress and self._in_progress == get_ident():
            self._deferred.append(frame)
            return
        with self._lock:
            if len(frame) <= PIPE_BUF:
                write(self.data_out, frame)  # all of it or, if a signal handler raises, nothing
            else:
                self._send_large(frame)

    def _send_large(self, frame):
        raised = None
        while frame:
            self._in_progress = get_ident()
            try:
                for part in frame.parts if type(frame) is Segments else (frame,):
                    if hasattr(part, "write_to"):
                        part.write_to(self)
                    else:
                        write_all(self.data_out, part)
            except BaseException as error:
                raised = error
            finally:
                self._in_progress = 0
            frame, self._deferred = b"".join(self._deferred), []
        if raised is not None:
            raise raised

    def emit(self, name, *values):
        """Writes a message that is not a result. A forked copy of the worker writes nothing."""
        if not self.is_forked_copy:
            self.send(wire.encode(wire.UP, name, *values))

    def write_output(self, seq, stream, data):
        """Writes what a task printed. In a forked copy, or before `open`, it goes to fd 1 or 2."""
        if not self.is_open:
            write_all(stream + 1, data)
        elif data:
            self.send(output_frames(seq, stream, data))

    def answer(self, name, *values):
        """Writes one frame to the control socket. Only the control thread calls this."""
        write_all(self.control, wire.encode(wire.CONTROL_UP, name, *values))

    def control_frames(self, server):
        """Yields the body of each control frame until the engine closes the socket.

        While `server.resend_ms` is not None, the server may resend its interrupt after as many milliseconds of
        silence.
        """
        buffer = b""
        poller = poll()
        poller.register(self.control, POLLIN)
        while True:
            while len(buffer) >= 4:
                end = 4 + _LENGTH(buffer, 0)[0]
                if end > _CONTROL_LIMIT:
                    raise wire.WireError("a control frame of %d bytes is over the limit" % (end - 4))
                if end > len(buffer):
                    break
                yield buffer[4:end]
                buffer = buffer[end:]
            while server.resend_ms is not None and not poller.poll(server.resend_ms):
                server.resend_interrupt()
            chunk = os.read(self.control, _READ_SIZE)
            if not chunk:
                return
            buffer += chunk


class Segments:
    """Bytes in several pieces, written one after the other: large pieces are never joined.

    A piece with a method `write_to(channel)` writes itself.
    """

    __slots__ = ("parts",)

    def __init__(self, parts):
        self.parts = parts

    def __len__(self):
        return sum(map(len, self.parts))

    def __radd__(self, head):
        return Segments([head] + self.parts)


def output_frames(seq, stream, data):
    """`Output` frames for some bytes, in pieces that fit any frame limit."""
    return b"".join(wire.encode(wire.UP, "Output", seq, stream, data[at:at + _READ_SIZE])
                    for at in range(0, len(data), _READ_SIZE))


def write_all(fd, data):
    """Writes everything, then raises what a signal handler raised meanwhile."""
    data, raised = memoryview(data), None
    # `extend` fills it in C: in Python code, a handler could raise between the end of a `write` and
    # the use of its value.
    counts = []
    while True:
        try:
            while sum(counts) < len(data):
                counts.extend(map(write, (fd,), (data[sum(counts):],)))
            break
        except BaseException as error:
            if isinstance(error, MemoryError) or getattr(error, "errno", None):  # the write itself failed
                raise
            raised = raised or error
    if raised is not None:
        raise raised
