"""The private parts of CPython that this package uses, each with a public replacement."""

import atexit
import threading


def at_thread_exit(function):
    """Has a function called before the interpreter waits for its threads at its end.

    `concurrent.futures` uses the same private function. Without it, the call comes after that wait.
    """
    getattr(threading, "_register_atexit", atexit.register)(function)
