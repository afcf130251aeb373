"""The private parts of CPython that this package uses, each with a public replacement."""

import atexit
import sys
import threading


def at_thread_exit(function):
    """Has a function called before the interpreter waits for its threads at its end.

    `concurrent.futures` uses the same private function. Without it, the call comes after that wait.
    """
    getattr(threading, "_register_atexit", atexit.register)(function)


def interpreter_flags():
    """The arguments that give another interpreter the flags of this one, as those of `multiprocessing`'s processes."""
    flags = sys.flags
    special = (flags.debug or flags.optimize or flags.no_site or flags.verbose or flags.bytes_warning or flags.quiet
               or flags.isolated or flags.ignore_environment or flags.no_user_site or flags.safe_path)
    if not (special or sys.warnoptions or sys._xoptions):
        # Spares the import, which takes milliseconds.
        return ["-B"] if flags.dont_write_bytecode else []
    import subprocess

    make = getattr(subprocess, "_args_from_interpreter_flags", None)
    if make is not None:
        arguments = make()
    else:
        arguments = (["-" + flags.optimize * "O"] if flags.optimize else []) + ["-W" + it for it in sys.warnoptions]
    # It knows only some of these options. An interpreter ignores those that it does not know.
    given = {option.partition("=")[0] for flag, option in zip(arguments, arguments[1:]) if flag == "-X"}
    for name, value in sys._xoptions.items():
        if name not in given:
            arguments += ["-X", name if value is True else "%s=%s" % (name, value)]
    return arguments
