"""What the interpreter is given to run: checks its version, then enters the runtime package.

Owns nothing but the first milliseconds. It must parse on every Python back to 2.7, so that an
interpreter that is too old can say so instead of dying of a syntax error.

    python3 worker.py PACKAGE WORKER_ID

PACKAGE is the runtime's folder beside this file. The engine gives it a random name, so that the
runtime's modules can neither be shadowed by, nor shadow, a module of the user's.
"""

import sys

TOO_OLD = 94  # exit code; `process/real.rs` reads it
LATE = ("crew.py", "threaded.py")  # what only workers with several slots load


def _start():
    import os

    here = os.path.dirname(__file__)
    package = sys.argv[1]
    if sys.path and sys.path[0] == here:
        del sys.path[0]
    library = os.path.dirname(os.__file__)

    def load(name):
        """A module of the runtime, made ready before any user code runs.

        It imports from the standard library alone: a `json.py` in the current folder or on PYTHONPATH
        is the user's business. Its byte code goes beside its source, inside the private folder, and is
        made once per engine, whatever the user's settings for byte code are.
        """
        seen = sys.path[:]
        writes, prefix = sys.dont_write_bytecode, sys.pycache_prefix
        sys.path[:] = [here] + [p for p in seen if p == library or p.startswith(library + "/lib-dynload")
                                or (p.endswith(".zip") and p.startswith(sys.base_prefix))]
        sys.dont_write_bytecode, sys.pycache_prefix = False, None
        try:
            _compile(os, here, package, name)
            return __import__(package + "." + name, fromlist=[name])
        finally:
            sys.path[:] = seen
            sys.dont_write_bytecode, sys.pycache_prefix = writes, prefix
            sys.path_importer_cache.pop(here, None)

    load("entry").run(sys.argv[2], load)


def _compile(os, here, package, name):
    """Makes the byte code, in a process of its own: what compiling takes would stay with the worker.

    One worker does it for all that start at one time. If it cannot be done, each import compiles.
    """
    machinery = sys.modules["_frozen_importlib_external"]
    folder = here + "/" + package + "/"
    sources = [source for source in sorted(os.listdir(folder)) if source.endswith(".py") and source not in LATE]
    if name + ".py" in LATE or sys.argv[2].startswith("io-"):
        sources += LATE
    last = machinery.cache_from_source(folder + sources[-1])
    if os.path.exists(last):
        return
    try:
        if len(os.listdir("/proc/self/task")) > 1:  # the user's `sitecustomize` has started threads
            return
        lock = os.open(__file__, os.O_RDWR)
    except OSError:
        return
    try:
        os.lockf(lock, os.F_LOCK, 0)
        if os.path.exists(last):
            return
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
    except OSError:
        return
    finally:
        os.close(lock)
    try:
        __import__("gc").disable()  # it would copy what it looks at
        for source in sources:
            machinery.SourceFileLoader(package, folder + source).get_code(package)
    finally:
        os._exit(0)


if __name__ == "__main__":
    if sys.version_info < (3, 8):
        sys.stderr.write("Python %d.%d is too old: Axion needs Python 3.8 or newer\n" % sys.version_info[:2])
        sys.exit(TOO_OLD)
    _start()
