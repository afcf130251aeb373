"""What keeps an engine from starting where it would hang, or where its workers would be this program again."""

import os
import sys
import threading

from .errors import EngineError

_NO_WORKER = 95  # the exit code of a process that was started as a worker; the engine knows it as `EXIT_NO_WORKER`
_PACKAGE = "_axion_worker_"  # with the mark of the engine: the runtime of a worker
_TASKS = "_axion_task"  # the module by which a worker is known


def leave_if_started_as_a_worker():
    """Ends a process that an engine started as a worker, but whose program is this one and no interpreter.

    It would start an engine, which would start this program again. Children of workers also have the engine's mark in
    their environment, but they do not have a worker's arguments, unless they were forked off one.
    """
    mark = os.environ.get("AXION_WORKER", "").partition(":")[0]
    package = _PACKAGE + mark
    if not mark or package in sys.modules:
        return
    try:
        with open("/proc/self/cmdline", "rb") as file:
            arguments = file.read().split(b"\0")
    except OSError:
        arguments = [os.fsencode(argument) for argument in sys.argv]
    if package.encode() in arguments:
        text = "%s is no Python interpreter: it was started as a worker and ran its own program; %s\n"
        os.write(2, (text % (sys.executable or sys.argv[0], _ADVICE)).encode("utf-8", "backslashreplace"))
        os._exit(_NO_WORKER)


_ADVICE = "name the workers' interpreter by the setting `python`, as in `Engine(python=\"/usr/bin/python3\")`"


def check_start(names_python):
    """Whether an engine may start here. `names_python`: whether its configuration names the interpreter.

    Raises:
        EngineError: its threads would hang, or its interpreter is a program of another kind. Code: start_failed.
        RuntimeError: `multiprocessing` is importing the main module, or a worker with `main="run"` is.
    """
    _check_threads()
    if not names_python and sys.executable:
        _check_interpreter()
    _check_not_importing_main()


def _check_threads():
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    is_patched = gevent is not None and (gevent.is_module_patched("threading") or gevent.is_module_patched("_thread"))
    name = "gevent" if is_patched else None
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        name = "eventlet"
    if name is not None:
        how = "monkey.patch_all(thread=False)" if name == "gevent" else "monkey_patch(thread=False)"
        raise EngineError("%s has replaced the threads of this program, and an engine needs real ones: call `%s.%s`, or "
                          "run the engine in a process of its own" % (name, name, how), "start_failed")


def _check_interpreter():
    if getattr(sys, "frozen", False):
        raise EngineError("this program is frozen, so there is no interpreter for the workers: " + _ADVICE,
                          "start_failed")
    if "py" not in os.path.basename(sys.executable).lower():
        raise EngineError("%s does not look like a Python interpreter: %s" % (sys.executable, _ADVICE), "start_failed")


def _check_not_importing_main():
    """As `multiprocessing` does when it would start a process: the program lacks the guard of its main module."""
    if threading.get_ident() in getattr(sys.modules.get(_TASKS), "importing", ()):
        raise RuntimeError("a worker imports this module for a function, and the module starts an engine, whose workers "
                           "would import it again: start the engine under `if __name__ == \"__main__\":`, or in a function")
    if getattr(sys.modules.get(_TASKS), "is_importing_main", False):
        import multiprocessing.spawn  # the worker marks the process as soon as this is imported
    spawn = sys.modules.get("multiprocessing.spawn")
    if spawn is not None:
        getattr(spawn, "_check_not_importing_main", lambda: None)()
