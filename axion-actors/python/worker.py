"""What the interpreter is given to run: checks its version, then enters the runtime package.

Owns nothing but the first milliseconds. It must parse on every Python back to 2.7, so that an
interpreter that is too old can say so instead of dying of a syntax error.

    python3 worker.py PACKAGE WORKER_ID

PACKAGE is the runtime's folder beside this file. The engine gives it a random name, so that the
runtime's modules can neither be shadowed by, nor shadow, a module of the user's.
"""

import sys

TOO_OLD = 94  # exit code; `process/real.rs` reads it


def _start():
    here = __file__.rpartition("/")[0]
    package = sys.argv[1]
    if sys.path and sys.path[0] == here:
        del sys.path[0]
    seen = sys.path[:]
    # The runtime imports from the standard library alone: a `json.py` in the current folder or on
    # PYTHONPATH is the user's business. Its byte code goes beside its source, inside the private
    # folder, and is made once per engine, whatever the user's settings for byte code are.
    library = __import__("os").__file__.rpartition("/")[0]
    writes, prefix = sys.dont_write_bytecode, sys.pycache_prefix
    sys.path[:] = [here] + [p for p in seen if p == library or p.startswith(library + "/lib-dynload")
                            or (p.endswith(".zip") and p.startswith(sys.base_prefix))]
    sys.dont_write_bytecode, sys.pycache_prefix = False, None
    try:
        entry = __import__(package + ".entry", fromlist=["run"])
    finally:
        sys.path[:] = seen
        sys.dont_write_bytecode, sys.pycache_prefix = writes, prefix
        sys.path_importer_cache.pop(here, None)
    entry.run(sys.argv[2])


if __name__ == "__main__":
    if sys.version_info < (3, 8):
        sys.stderr.write("Python %d.%d is too old: Axion needs Python 3.8 or newer\n" % sys.version_info[:2])
        sys.exit(TOO_OLD)
    _start()
