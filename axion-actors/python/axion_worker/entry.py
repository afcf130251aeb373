"""How a worker starts and ends: `prepare`, then `serve`.

`prepare` does everything that needs neither the engine's pipes nor the tasks: it imports the modules,
takes the control socket off fd 0, sets up the streams and signals, and leaves the terminal. It starts no thread and reads
nothing, so a prepared process may be forked, and each copy may serve an engine of its own.

`serve` gets the pipes, answers the handshake, and runs tasks until the engine closes the data pipe.
"""

import atexit
import os
import sys
from mmap import mmap
from types import ModuleType

from . import control, failure, session, surroundings, wire
from .channel import Channel, take_control_socket
from .cpython import end_without_collections

_PAGE_SIZE = 8 + 8 * (wire.PAGE_SLOTS + wire.PAGE_ENDED)  # the engine's mark comes first


def prepare(server_class, slots):
    """The server, not connected yet, and the descriptor of the control socket."""
    socket = take_control_socket()
    atexit.register(end_without_collections)  # the first one is called last
    _hide_runtime()
    surroundings.begin(only_forward=slots > 1)
    server = server_class(Channel(), slots)
    session.begin()
    return server, socket


def serve(server, socket, worker_id):
    """Runs the engine's tasks. Returns when the engine has closed the data pipe and all tasks have ended."""
    channel, end_worker = server.channel, failure.end_worker
    channel.connect(socket)
    _handshake(server, worker_id)
    try:
        server.serve()
    except BaseException as error:
        if not channel.is_forked_copy:
            end_worker(error)
    if channel.is_forked_copy:
        # User code forked this process, and the copy came back here.
        os._exit(0)


def _handshake(server, worker_id):
    channel = server.channel
    for body, start, end in channel.frames:
        break
    else:
        raise EOFError("the engine closed the data pipe before the handshake")
    name, values = wire.decode(wire.DOWN, body[start:end])
    if name != "Configure":
        raise wire.WireError("the engine began with %s" % name)
    protocol, worker, slots, _async_slots, frame_limit, payload_limit, restore = values  # the engine alone counts async slots
    if (protocol, worker, slots) != (wire.PROTOCOL, worker_id, server.slots):
        raise wire.WireError(
            "the engine speaks protocol %s to worker %s with %s slots, this is protocol %s, worker %s with %s slots"
            % (protocol, worker, slots, wire.PROTOCOL, worker_id, server.slots))
    channel.open(frame_limit, payload_limit)
    server.configure(worker, memoryview(mmap(channel.page, _PAGE_SIZE)).cast("Q")[1:], restore)
    # Start the control thread first: the engine may ask a ready worker for its stacks.
    control.start(channel, server)
    channel.emit("Ready", wire.PROTOCOL, os.getpid(), "%d.%d.%d" % sys.version_info[:3],
                 os.fsencode(sys.executable or ""))


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
