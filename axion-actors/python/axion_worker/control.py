"""The thread that answers while tasks run.

It blocks on the control socket and holds nothing else. When the socket ends, the engine is gone:
the process ends at once, whatever its tasks are doing (L7).
"""

import _signal
import faulthandler
import os

from . import wire
from .failure import stacks

ENGINE_GONE = 95  # exit code
# Signals that are the runtime's own; `process/linux.rs` sends the first.
STACKS_SIGNAL = _signal.SIGRTMAX - 2
INTERRUPT_SIGNAL = _signal.SIGRTMAX - 3
# What a thread does to itself; to be blocked would be the end of the process without a word.
_OWN_FAULTS = {_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGABRT, _signal.SIGTRAP}


def start(channel, server):
    from _thread import allocate_lock, start_new_thread

    # In C, without the interpreter lock: it answers also while a C call holds that. And in the control
    # thread alone: in a thread with user code the signal would end a system call that waits, and a
    # task would go on as if its wait were over, just when its deadline has passed.
    _signal.pthread_sigmask(_signal.SIG_BLOCK, [STACKS_SIGNAL])
    faulthandler.register(STACKS_SIGNAL, file=channel.stacks, all_threads=True, chain=False)
    # Not before that thread takes the signal: the first task may hold the interpreter lock for good.
    ready = allocate_lock()
    ready.acquire()
    start_new_thread(_watch, (channel, server, ready))
    ready.acquire()


def _watch(channel, server, ready):
    try:
        # A signal to the process is user code's: here it would end no system call of the main thread,
        # and one that user code blocks, to wait for it, would still end the process.
        _signal.pthread_sigmask(_signal.SIG_SETMASK, _signal.valid_signals() - _OWN_FAULTS - {STACKS_SIGNAL})
        ready.release()
        for body in channel.control_frames(server):
            _answer(channel, server, *wire.decode(wire.CONTROL_DOWN, body))
    except BaseException as error:
        if not channel.closed:
            # Straight to the capture pipe: the data pipe may be full, or its lock held.
            os.write(2, ("axion worker: the control thread failed: %r\n" % error).encode())
    if not channel.closed:
        os._exit(ENGINE_GONE)


def _answer(channel, server, name, values):
    if name == "Cancel":
        channel.answer("Cancelled", values[0], server.cancel(values[0]))
    elif name == "Revoke":
        channel.answer("Revoked", server.revoke(values[0]))
    elif name == "DumpStacks":
        channel.answer("Stacks", values[0], stacks())
    elif name == "Ping":
        channel.answer("Pong", values[0])
    elif name == "Interrupt":
        server.interrupt(values[0])
    elif name == "Shutdown":
        server.stop()
