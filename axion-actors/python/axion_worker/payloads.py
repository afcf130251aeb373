"""Large payloads, which travel apart from their messages: in shared memory, or in pieces.

Shared memory is a sealed memfd whose descriptor travels on the payload socket. Nobody can write to it, shrink it or
grow it any more. Where there is no descriptor for it, the payload travels in `Piece` frames before its message.
"""

import os
from mmap import ACCESS_COPY, ACCESS_READ, mmap

from . import library, wire
from .channel import Segments, write_all
from .cpython import Struct, calcsize, socket, unpack
from .failure import FailureKind, TaskFailure

SHARE_FROM = 1 << 20  # bytes: smaller payloads travel in the frame of their message
_PIECE = 512 << 10
_F_ADD_SEALS, _ALL_SEALS = 1033, 1 | 2 | 4 | 8
_DESCRIPTOR, _NUMBER = Struct("i").pack, Struct("<Q").pack


class Payloads:
    """The large payloads that the engine sends. Only the thread that reads the data pipe calls this."""

    def __init__(self, channel):
        self._channel = channel
        self._pieces = []

    def add(self, piece):
        self._pieces.append(piece)

    def take(self, size, is_shared):
        """The payload of a large message, which its owner may write to: that changes no other process's copy."""
        if is_shared:
            fd = self._descriptor(size)
            try:
                return memoryview(mmap(fd, size, access=ACCESS_COPY))
            finally:
                os.close(fd)
        pieces, self._pieces = self._pieces, []
        payload = bytearray().join(pieces)
        if len(payload) != size:
            raise wire.WireError("a payload of %d bytes has pieces of %d" % (size, len(payload)))
        return memoryview(payload)

    def take_part(self, size, is_shared):
        """The payload of a `LargeDefine`, which may be used several times."""
        return SharedPart(self._descriptor(size), size) if is_shared else self.take(size, False)

    def _descriptor(self, size):
        _, ancillary, _, _ = self._channel.payload_socket.recvmsg(1, socket.CMSG_SPACE(calcsize("i")))
        fds = [fd for level, kind, raw in ancillary if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
               for fd in unpack("%di" % (len(raw) // calcsize("i")), raw)]
        if len(fds) != 1:
            raise wire.WireError("the process can have no descriptor more for a payload of %d bytes" % size)
        return fds[0]


class SharedPart(mmap):
    """A part of functions in shared memory, to be read."""

    def __new__(cls, fd, size):
        part = super().__new__(cls, fd, size, access=ACCESS_READ)
        part._fd = fd
        return part

    def writable_copy(self):
        """A copy of its bytes. The system copies a page at the first write to it."""
        return memoryview(mmap(self._fd, len(self), access=ACCESS_COPY))

    def __del__(self):
        os.close(self._fd)


def large_done(channel, seq, nanos, data):
    """The frames of a result that does not fit into a usual one.

    Raises:
        TaskFailure: it is larger than any payload may be.
    """
    size = len(data)
    if size > channel.payload_limit:
        text = "the result is %d bytes, the limit is %d: write it to a file and return its path, or raise `payload_limit`"
        raise TaskFailure(FailureKind.RESULT_TOO_LARGE, text % (size, channel.payload_limit))
    parts = data.parts if type(data) is Segments else [data]
    fd = _shared_memory(parts) if size >= SHARE_FROM else None
    if fd is None:
        return Segments(_frames(channel, seq, nanos, parts, size))
    return Segments([SharedResult(fd, seq, nanos, size)])


def _shared_memory(parts):
    """The descriptor of sealed memory with these bytes; None if there can be none."""
    with library.StdlibFirst():
        from fcntl import fcntl
    fd = None
    try:
        fd = os.memfd_create("axion-payload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        for part in parts:
            write_all(fd, part)
        fcntl(fd, _F_ADD_SEALS, _ALL_SEALS)
        return fd
    except BaseException as error:
        if fd is not None:
            os.close(fd)
        if isinstance(error, OSError):  # no descriptor, no memory, or a sandbox without the call
            return None
        raise


def _frames(channel, seq, nanos, parts, size):
    if size + wire.DONE_OVERHEAD <= channel.frame_limit:
        return [wire.DONE_HEAD.pack(size + wire.DONE_OVERHEAD, wire.DONE_TAG, seq, nanos, size)] + list(parts)
    frames = []
    for part in parts:
        view = memoryview(part)
        for at in range(0, len(view), _PIECE):
            piece = view[at:at + _PIECE]
            frames += (wire.PIECE_HEAD.pack(len(piece) + wire.PIECE_OVERHEAD, wire.PIECE_TAG, len(piece)), piece)
    frames.append(wire.encode(wire.UP, "LargeDone", seq, nanos, (size, False)))
    return frames


class SharedResult:
    """A part of `Segments`: a result in shared memory. It owns the memory's descriptor."""

    __slots__ = ("_fd", "_seq", "_nanos", "_size")

    def __init__(self, fd, seq, nanos, size):
        self._fd = fd
        self._seq, self._nanos, self._size = seq, nanos, size

    def __len__(self):
        return self._size

    def __del__(self):
        os.close(self._fd)

    def write_to(self, channel):
        """Sends the descriptor, then the message, then raises what a signal handler raised meanwhile."""
        message = (_NUMBER(self._seq),), ((socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR(self._fd)),)
        raised, sent = None, []
        while not sent:
            try:
                # In C, as in `write_all`: a handler cannot raise between the call and the note of its success.
                sent.extend(map(channel.payload_socket.sendmsg, *[(part,) for part in message]))
            except OSError:  # too many descriptors are on their way
                memory = mmap(self._fd, self._size, access=ACCESS_COPY)
                frames = _frames(channel, self._seq, self._nanos, [memory], self._size)
                break
            except BaseException as error:
                raised = raised or error
        else:
            frames = [wire.encode(wire.UP, "LargeDone", self._seq, self._nanos, (self._size, True))]
        for frame in frames:
            write_all(channel.data_out, frame)
        if raised is not None:
            raise raised
