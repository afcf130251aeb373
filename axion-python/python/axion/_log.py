"""A thread passes the engine's log on to the logger `axion`.

As with any library, nothing is shown unless the program sets up logging.
"""

import logging
import os
import threading

from . import _axion

_logger = logging.getLogger("axion")
_logger.addHandler(logging.NullHandler())
_lock = threading.Lock()
_thread = None
_marked = threading.Event()
_FLUSH_TIMEOUT = 1.0  # seconds, in case a handler is slow


def start(config):
    """Passes the log on from now, with the `log_level` of an engine that starts."""
    global _thread
    with _lock:
        if _thread is None:
            fd = _axion.open_log()
            if fd is None:
                return
            _thread = threading.Thread(target=_read, args=(fd,), name="axion-log", daemon=True)
            _thread.start()
    _axion.log_as(config)


def flush():
    """Waits until the handlers have got all lines so far."""
    if _thread is None or threading.current_thread() is _thread:
        return
    _marked.clear()
    if _axion.mark_log():
        _marked.wait(_FLUSH_TIMEOUT)


def _read(fd):
    rest = b""
    while True:
        rest += os.read(fd, 1 << 16)
        while len(rest) >= 3:
            end = 3 + int.from_bytes(rest[:2], "little")
            if len(rest) < end:
                break
            level, text, rest = rest[2], rest[3:end], rest[end:]
            if level == 0:
                _marked.set()
                continue
            try:
                _logger.log(10 * level, text.decode(errors="replace"))
            except Exception:
                pass  # raised by a handler of the program


def in_forked_child():
    global _thread, _lock, _marked
    _thread, _lock, _marked = None, threading.Lock(), threading.Event()
