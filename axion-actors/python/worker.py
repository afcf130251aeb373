"""The script that the interpreter runs: checks the Python version, then enters the runtime package.

It must parse on every Python back to 2.7, so that an interpreter that is too old says so instead of
failing with a syntax error.

    python3 worker.py PACKAGE WORKER_ID SLOTS [VARIABLE...]

PACKAGE is the runtime's folder beside this file. The engine gives it a random name, so that the
runtime's modules neither shadow user modules nor are shadowed by them. A worker of one slot runs tasks in
its main thread, one of more slots in threads. VARIABLE is an environment variable for the interpreter
alone: tasks do not see it.
"""

import sys

TOO_OLD = 94  # exit code; the engine knows it as `EXIT_TOO_OLD`


def _hide(here, package):
    """Gives the runtime's code names that are no files': coverage would report on files that are gone by then."""
    external = sys.modules["_frozen_importlib_external"]

    class Loader(external.SourceFileLoader):
        def get_code(self, name):
            path = self.get_filename(name)
            return compile(self.get_data(path), path.replace(here, "<axion>"), "exec", dont_inherit=True)

    class Finder:
        @staticmethod
        def find_spec(name, path=None, _target=None):
            if name.partition(".")[0] != package:
                return None
            spec = external.PathFinder.find_spec(name, path or [here])
            if spec is not None:
                spec.loader = Loader(name, spec.origin)
            return spec

    sys.meta_path.insert(0, Finder)


def _start():
    import os

    here = os.path.dirname(__file__)
    if sys.path and sys.path[0] == here:
        del sys.path[0]
    if "coverage" in sys.modules:
        _hide(here, sys.argv[1])
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
