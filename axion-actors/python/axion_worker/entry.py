"""The order in which a worker comes to life and ends."""

import os
import sys
from mmap import mmap
from types import ModuleType

from . import control, failure, wire
from .channel import Channel
from .inline import Inline
from .scripts import Scripts

_PAGE = 8 + 8 * 512  # the engine's mark, then the slots


def run(worker_id, load):
    channel = Channel()
    _become_neutral()
    server = _handshake(channel, worker_id, load)
    try:
        server.serve()
    except BaseException as error:
        if not channel.closed:
            # Not by an exception: the interpreter would first wait for threads that tasks have left.
            os.write(2, failure.listing(error, error.__traceback__).encode("utf-8", "backslashreplace"))
            os._exit(1)
    if channel.closed:
        # A copy of this process that user code forked and that came back here.
        os._exit(0)


def _handshake(channel, worker_id, load):
    for body, start, end in channel.frames:
        break
    else:
        raise EOFError("the engine closed the data pipe before the handshake")
    name, values = wire.decode(wire.DOWN, body[start:end])
    if name != "Configure":
        raise wire.WireError("the engine began with %s" % name)
    protocol, worker, slots, _async_slots, frame_limit = values  # to the latter the engine alone keeps
    if protocol != wire.PROTOCOL or worker != worker_id:
        raise wire.WireError("the engine speaks protocol %s to worker %s, this is protocol %s and worker %s"
                             % (protocol, worker, wire.PROTOCOL, worker_id))
    channel.frame_limit = frame_limit
    page = memoryview(mmap(channel.page, _PAGE)).cast("Q")[1:]
    if slots == 1:
        server = Inline(channel, page, Scripts(one_at_a_time=True), worker)
    else:
        server = load("threaded").Threaded(channel, page, Scripts(one_at_a_time=False), worker, slots)
    # First the thread that answers: a worker that is ready can be asked for its stacks.
    control.start(channel, server)
    channel.emit("Ready", wire.PROTOCOL, os.getpid(), "%d.%d.%d" % sys.version_info[:3],
                 os.fsencode(sys.executable or ""))
    return server


def _become_neutral():
    """User code finds what `python -c` would give it: its own `__main__`, the current folder, no arguments."""
    sys.argv[:] = [""]
    main = ModuleType("__main__")
    main.__builtins__ = __builtins__
    # The module that started this process stays alive: its functions are still on the stack.
    failure._started_by = sys.modules.get("__main__")
    sys.modules["__main__"] = main
    if not getattr(sys.flags, "safe_path", False) and "" not in sys.path:
        sys.path.insert(0, "")
