"""The pipes to the engine: two one-way data pipes and a control socket.

Owns the protocol's file descriptors and moves them off fds 0 to 2 before any user code runs (L8).
A frame is written whole under one lock, as soon as it exists: a result that was written is safe
from whatever the next task does (L2).
"""

import os
from _struct import Struct, calcsize, unpack
from _thread import RLock
from os import write
from select import PIPE_BUF, POLLIN, poll

from . import wire

_LENGTH = Struct("<I").unpack_from
_READ = 1 << 16
_CONTROL_LIMIT = 1 << 20  # room for a `Revoke` of 130,000 tasks

# What the engine sends along with the first byte on fd 0, in this order.
_FDS = ("data_in", "data_out", "page", "raw_out", "raw_err", "stacks")


class Channel:
    """Frames in and out. One reader, any number of writers."""

    def __init__(self):
        from _socket import CMSG_SPACE, SCM_RIGHTS, SOL_SOCKET, socket

        hello = socket(fileno=0)
        size = calcsize("i") * len(_FDS)
        data, ancillary, _, _ = hello.recvmsg(1, CMSG_SPACE(size))
        fds = ()
        for level, kind, raw in ancillary:
            if level == SOL_SOCKET and kind == SCM_RIGHTS:
                fds = unpack("%di" % (len(raw) // calcsize("i")), raw)
        hello.detach()
        if not data or len(fds) != len(_FDS):
            raise EOFError("the engine closed the control socket before the handshake")
        for name, fd in zip(_FDS, fds):
            os.set_inheritable(fd, False)
            setattr(self, name, fd)
        self.control = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self.frame_limit = 1 << 26
        self.batch = 0  # counts the reads: all frames of one read share a batch
        self.closed = False  # true in a process that user code forked off the worker
        self.frames = self._frames()
        self._lock = RLock()  # taken again by signal handlers and destructors of the thread that has it
        self._amid = False  # who has the lock is in the middle of a large frame
        self._more = []  # frames that its signal handlers and destructors came up with meanwhile
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self):
        """A process that user code forked must not speak for the worker, nor hold its pipes open."""
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in [getattr(self, name) for name in _FDS] + [self.control]:
            try:
                os.dup2(nothing, fd, False)
            except OSError:
                pass
        os.close(nothing)
        self.closed = True

    def _frames(self):
        """Yields `(buffer, start, end)` for the body of each frame until the engine closes the pipe."""
        fd, read = self.data_in, os.read
        held = b""
        while True:
            more = read(fd, _READ)
            if not more:
                return
            self.batch += 1
            held = held + more if held else more
            have, at = len(held), 0
            while have - at >= 4:
                start = at + 4
                end = start + _LENGTH(held, at)[0]
                if end > have:
                    if end - start > self.frame_limit:
                        raise wire.WireError("a frame of %d bytes is over the limit" % (end - start))
                    held, at, end = self._rest(held[at:], end - at), 0, end - at
                    have, start = len(held), 4
                    if have < end:
                        return
                yield held, start, end
                at = end
            held = held[at:]

    def _rest(self, held, size):
        """Reads on until one large frame is whole, straight into the place where it is used."""
        whole = bytearray(size)
        have = len(held)
        whole[:have] = held
        with memoryview(whole) as room:
            while have < size:
                more = os.readv(self.data_in, (room[have:],))
                if not more:
                    return held
                have += more
        return whole

    def send(self, frame):
        """Writes whole frames to the data pipe. A forked copy of the worker ends here instead."""
        if self.closed:
            os._exit(0)
        if self._amid and self._lock._is_owned():
            self._more.append(frame)
            return
        with self._lock:
            if len(frame) <= PIPE_BUF:
                write(self.data_out, frame)  # all of it or, if a signal handler raises, nothing
            else:
                self._send_large(frame)

    def _send_large(self, frame):
        raised = None
        while frame:
            self._amid = True
            try:
                for part in frame.parts if type(frame) is Segments else (frame,):
                    _write_all(self.data_out, part)
            except BaseException as error:
                raised = error
            finally:
                self._amid = False
            frame, self._more = b"".join(self._more), []
        if raised is not None:
            raise raised

    def emit(self, name, *values):
        """Writes a message that is not a result; nothing in a forked copy of the worker."""
        if not self.closed:
            self.send(wire.encode(wire.UP, name, *values))

    def print(self, seq, number, data):
        """Writes what a task printed; a forked copy's prints go the way of any subprocess's."""
        if self.closed:
            _write_all(number + 1, data)
        elif data:
            self.send(output_frames(seq, number, data))

    def answer(self, name, *values):
        """Writes one frame on the control socket; only the control thread does."""
        _write_all(self.control, wire.encode(wire.CONTROL_UP, name, *values))

    def control_frames(self, server):
        """Yields the body of each control frame until the engine is gone.

        While `server.pause` is not None, the server may insist after as many milliseconds without one.
        """
        held = b""
        look = poll()
        look.register(self.control, POLLIN)
        while True:
            while len(held) >= 4:
                end = 4 + _LENGTH(held, 0)[0]
                if end > _CONTROL_LIMIT:
                    raise wire.WireError("a control frame of %d bytes is over the limit" % (end - 4))
                if end > len(held):
                    break
                yield held[4:end]
                held = held[end:]
            while server.pause is not None and not look.poll(server.pause):
                server.insist()
            more = os.read(self.control, _READ)
            if not more:
                return
            held += more


class Segments:
    """Bytes in several pieces that are written one after the other: large ones are never put together."""

    __slots__ = ("parts",)

    def __init__(self, parts):
        self.parts = parts

    def __len__(self):
        return sum(map(len, self.parts))

    def __radd__(self, head):
        return Segments([head] + self.parts)


def output_frames(seq, number, data):
    """`Output` frames for some bytes, in pieces that fit any frame limit."""
    return b"".join(wire.encode(wire.UP, "Output", seq, number, data[at:at + _READ])
                    for at in range(0, len(data), _READ))


def _write_all(fd, data):
    """Writes everything, whatever a signal handler raises meanwhile: that is raised when all is written."""
    data, raised = memoryview(data), None
    # Filled in C: between the end of a call in Python code and the use of its value a handler may raise.
    written = []
    while True:
        try:
            while sum(written) < len(data):
                written.extend(map(write, (fd,), (data[sum(written):],)))
            break
        except BaseException as error:
            if isinstance(error, MemoryError) or getattr(error, "errno", None):  # of the write itself
                raise
            raised = raised or error
    if raised is not None:
        raise raised
