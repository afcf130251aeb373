"""The order in which a worker starts and ends."""

import os
import sys
from mmap import mmap
from types import ModuleType

from . import control, failure, wire
from .channel import Channel
from .inline import Inline
from .scripts import Scripts

_PAGE_SIZE = 8 + 8 * 512  # the engine's mark, then the slots


def run(worker_id, load):
    channel = Channel()
    _hide_runtime()
    server = _handshake(channel, worker_id, load)
    try:
        server.serve()
    except BaseException as error:
        if not channel.is_forked_copy:
            # Not by an exception: the interpreter would first wait for threads that tasks have left.
            text = failure.format_traceback(error, error.__traceback__)
            os.write(2, text.encode("utf-8", "backslashreplace"))
            os._exit(1)
    if channel.is_forked_copy:
        # User code forked this process, and the copy came back here.
        os._exit(0)


def _handshake(channel, worker_id, load):
    for body, start, end in channel.frames:
        break
    else:
        raise EOFError("the engine closed the data pipe before the handshake")
    name, values = wire.decode(wire.DOWN, body[start:end])
    if name != "Configure":
        raise wire.WireError("the engine began with %s" % name)
    protocol, worker, slots, _async_slots, frame_limit = values  # the engine alone counts async slots
    if protocol != wire.PROTOCOL or worker != worker_id:
        raise wire.WireError("the engine speaks protocol %s to worker %s, this is protocol %s and worker %s"
                             % (protocol, worker, wire.PROTOCOL, worker_id))
    channel.frame_limit = frame_limit
    page = memoryview(mmap(channel.page, _PAGE_SIZE)).cast("Q")[1:]
    if slots == 1:
        server = Inline(channel, page, Scripts(one_at_a_time=True), worker)
    else:
        server = load("threaded").Threaded(channel, page, Scripts(one_at_a_time=False), worker, slots)
    # Start the control thread first: the engine may ask a ready worker for its stacks.
    control.start(channel, server)
    channel.emit("Ready", wire.PROTOCOL, os.getpid(), "%d.%d.%d" % sys.version_info[:3],
                 os.fsencode(sys.executable or ""))
    return server


def _hide_runtime():
    """Gives user code what `python -c` would: its own `__main__`, the current folder, no arguments."""
    sys.argv[:] = [""]
    main = ModuleType("__main__")
    main.__builtins__ = __builtins__
    # Keep the module that started this process: its functions are still on the stack.
    failure._started_by = sys.modules.get("__main__")
    sys.modules["__main__"] = main
    if not getattr(sys.flags, "safe_path", False) and "" not in sys.path:
        sys.path.insert(0, "")
