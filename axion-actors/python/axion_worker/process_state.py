"""What a task can change of its process and what is put back after it.

Everything else that a task changes stays: docs/guides/scripts.md has the list.
"""

import os
import sys

from .cpython import environ_data, signal

MIN_NANOS = 100_000  # after a shorter task nothing is put back: to look would take a part of its time


class ProcessState:
    """Working folder, umask, environment, recursion limit and alarm of this process at one moment."""

    __slots__ = ("_folder", "_path", "_descriptor", "_umask", "_environ", "_variables", "_depth", "_has_alarm")

    def __init__(self):
        self._folder = _current_folder()
        # A descriptor, because the path may be gone when it is needed; the path, because a task may close the descriptor.
        self._path = self._descriptor = None
        try:
            self._path = os.getcwd()
            self._descriptor = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # the folder was removed, or there is no descriptor left
            pass
        self._umask = _current_umask()
        self._environ = os.environ
        self._variables = dict(environ_data(os.environ))
        self._depth = sys.getrecursionlimit()
        self._has_alarm = _has_alarm()

    def is_current(self):
        return (_current_folder() == self._folder and _current_umask() == self._umask
                and os.environ is self._environ and environ_data(self._environ) == self._variables
                and sys.getrecursionlimit() == self._depth and _has_alarm() == self._has_alarm)

    def take_depth(self):
        """Takes the recursion limit as it is now."""
        self._depth = sys.getrecursionlimit()

    def put_back(self):
        """Makes the process as it was. If that fails, the worker must run no other task."""
        if sys.getrecursionlimit() != self._depth:
            sys.setrecursionlimit(self._depth)
        if not self._has_alarm and _has_alarm():
            signal.setitimer(signal.ITIMER_REAL, 0)
        os.umask(self._umask)
        if _current_folder() != self._folder:
            self._enter_folder()
        os.environ = self._environ
        if environ_data(self._environ) != self._variables:
            _put_back_variables(environ_data(self._environ), self._variables)

    def _enter_folder(self):
        try:
            os.fchdir(self._descriptor)
        except (OSError, TypeError):
            pass
        if _current_folder() != self._folder:
            os.chdir(self._path)

    def __del__(self):
        try:
            os.close(self._descriptor)
        except (OSError, TypeError):
            pass


def _put_back_variables(data, variables):
    for name in [name for name in data if name not in variables]:
        del data[name]
        os.unsetenv(name)
    for name, value in variables.items():
        if data.get(name) != value:
            data[name] = value
            os.putenv(name, value)


def _has_alarm():
    return signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _current_folder():
    try:
        folder = os.stat(".")
    except OSError:  # this user may not look into it
        return None
    return folder.st_dev, folder.st_ino


def _current_umask():
    # There is no call that only reads it. Files that a thread makes in between are private.
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
