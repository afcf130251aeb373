"""The thread that answers the engine while tasks run.

It blocks on the control socket and holds no lock. The end of the socket means that the engine is
gone: the process then ends at once, whatever its tasks are doing (L7).
"""

import faulthandler
import os

from . import wire
from .cpython import signal

ENGINE_GONE = 95  # exit code
# Reserved for the runtime. The engine sends the first one (`process/os/linux/signals.rs`).
STACKS_SIGNAL = signal.SIGRTMAX - 2
INTERRUPT_SIGNAL = signal.SIGRTMAX - 3
# A thread raises these on itself. Blocking them would end the process without a message.
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP}


def start(channel, server):
    from _thread import allocate_lock, start_new_thread

    # `faulthandler` answers in C without the interpreter lock, so also while a C call holds that lock.
    # The control thread alone takes the signal: in a thread with user code it would interrupt a
    # blocking system call, and the task would go on as if the call had returned, just at its deadline.
    signal.pthread_sigmask(signal.SIG_BLOCK, [STACKS_SIGNAL])
    faulthandler.register(STACKS_SIGNAL, file=channel.stacks, all_threads=True, chain=False)
    # Wait until that thread takes the signal: the first task may hold the interpreter lock forever.
    ready = allocate_lock()
    ready.acquire()
    start_new_thread(_run, (channel, server, ready))
    ready.acquire()


def _run(channel, server, ready):
    try:
        # Signals to the process belong to user code. Taken here, one would not interrupt a system call
        # of the main thread, and one that user code blocks and waits for would end the process.
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - _FAULTS - {STACKS_SIGNAL})
        ready.release()
        for body in channel.control_frames(server):
            _answer(channel, server, *wire.decode(wire.CONTROL_DOWN, body))
    except BaseException as error:
        if not channel.is_forked_copy:
            # To the capture pipe: the data pipe may be full, or its lock held.
            os.write(2, ("axion worker: the control thread failed: %r\n" % error).encode())
    if not channel.is_forked_copy:
        os._exit(ENGINE_GONE)


def _answer(channel, server, name, values):
    if name == "Cancel":
        server.cancel(values[0])
    elif name == "Revoke":
        channel.answer("Revoked", server.revoke(values[0]))
    elif name == "DumpStacks":
        faulthandler.dump_traceback(channel.stacks)
    elif name == "Ping":
        channel.answer("Pong", values[0])
    elif name == "Interrupt":
        server.interrupt(values[0])
