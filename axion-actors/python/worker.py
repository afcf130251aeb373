"""The script that the interpreter runs: checks the Python version, then enters the runtime package.

It must parse on every Python back to 2.7, so that an interpreter that is too old says so instead of
failing with a syntax error.

    python3 worker.py PACKAGE WORKER_ID SLOTS [VARIABLE]

PACKAGE is the runtime's folder beside this file. The engine gives it a random name, so that the
runtime's modules neither shadow user modules nor are shadowed by them. A worker of one slot runs tasks in
its main thread, one of more slots in threads. VARIABLE is an environment variable for the interpreter
alone: tasks do not see it.
"""

import sys

TOO_OLD = 94  # exit code; the engine knows it as `EXIT_TOO_OLD`


def _start():
    import os

    here = os.path.dirname(__file__)
    if sys.path and sys.path[0] == here:
        del sys.path[0]
    settings = sys.path[:], sys.dont_write_bytecode, sys.pycache_prefix
    sys.path[:], sys.dont_write_bytecode, sys.pycache_prefix = [here], False, None
    try:
        # Keep this file short: each worker compiles it anew.
        start = __import__(sys.argv[1] + ".start", fromlist=["start"])
    finally:
        sys.path[:], sys.dont_write_bytecode, sys.pycache_prefix = settings
    start.start(here, *sys.argv[1:])


if __name__ == "__main__":
    if sys.version_info < (3, 8):
        sys.stderr.write("Python %d.%d is too old: Axion needs Python 3.8 or newer\n" % sys.version_info[:2])
        sys.exit(TOO_OLD)
    _start()
