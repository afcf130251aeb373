"""The program `axion`. It is part of the native module and runs in this process."""

import signal
import sys

from . import _axion


def main() -> int:
    """Runs the program with the arguments of this process; returns its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Python's own handler would act only after the program has ended.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _axion.program(["axion", *sys.argv[1:]], sys.executable or None)
