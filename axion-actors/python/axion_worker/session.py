"""What a worker leaves to its engine: the terminal, and the signals that end a program.

A service manager sends SIGTERM to every process of a service, and a terminal that closes sends SIGHUP. Only the engine
acts on them: it leaves the running tasks their grace. The engine starts a worker with these signals blocked, so that
none ends it before its handlers are there.
"""

import os
from _thread import get_ident

from .cpython import signal

_HELD = [signal.SIGTERM, signal.SIGHUP]
_BLOCKED = [signal.SIGINT] + _HELD  # `process/os/linux/signals.rs` has the same
_masks = {}  # thread -> its signal mask, while it forks


def begin():
    """Called once the server's own handlers are there."""
    _leave_terminal()
    # Not SIG_IGN, which subprocesses would inherit. What is ignored already, as by `nohup`, stays so.
    for number in _HELD:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _hold)
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_let_go)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)


def _hold(_number, _frame):
    pass


def _before_fork():
    # A copy that got a signal before it has the default actions would lose it.
    _masks[get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)


def _after_fork():
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop(get_ident()))


def _let_go():
    """A forked copy belongs to the task: `multiprocessing` ends its processes by SIGTERM."""
    for number in _HELD:
        if signal.getsignal(number) is _hold:
            signal.signal(number, signal.SIG_DFL)
    _after_fork()


def _leave_terminal():
    """A task that asks on the terminal gets an error. As a background process it would be stopped without a word."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # there is none
    try:
        from fcntl import ioctl
        from termios import TIOCNOTTY

        ioctl(terminal, TIOCNOTTY)
    except OSError:
        pass
    finally:
        os.close(terminal)
