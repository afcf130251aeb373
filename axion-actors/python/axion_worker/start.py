"""Imports the runtime's modules into the interpreter, before any user code runs, and enters them.

They import from the standard library alone: a `json.py` in the current folder or on PYTHONPATH does not
shadow it. Their byte code is written beside their source, inside the private folder, once per engine,
whatever the user's settings for byte code are.
"""

import os
import sys

# Only workers with several slots import these.
_THREADED = ("thread_pool.py", "threaded.py")


def start(here, package, worker_id, slots, *variables):
    slots = int(slots)
    for variable in variables:
        os.environ.pop(variable, None)
    entry, server_class = _import(here, package, is_threaded=slots > 1)
    server, socket = entry.prepare(server_class, slots)
    entry.serve(server, socket, worker_id)


def _import(here, package, is_threaded):
    """The module `entry`, and the class of the server."""
    library = os.path.dirname(os.__file__)
    settings = sys.path[:], sys.dont_write_bytecode, sys.pycache_prefix
    sys.path[:] = [here] + [p for p in settings[0] if p == library or p.startswith(library + "/lib-dynload")
                            or (p.endswith(".zip") and p.startswith(sys.base_prefix))]
    # An import would put a short file in place if the disk is full, and every later worker would fail on it.
    sys.dont_write_bytecode, sys.pycache_prefix = True, None

    def load(name):
        return __import__(package + "." + name, fromlist=[name])

    try:
        _compile(here, package, load("cpython"), is_threaded)
        return load("entry"), load("threaded").Threaded if is_threaded else load("inline").Inline
    finally:
        sys.path[:], sys.dont_write_bytecode, sys.pycache_prefix = settings
        sys.path_importer_cache.pop(here, None)


def _compile(here, package, cpython, is_threaded):
    """Writes the byte code in a forked process: the memory that compiling takes would stay with the worker.

    One worker does it for all that start at the same time. If it fails, each import compiles.
    """
    folder = here + "/" + package + "/"
    sources = [source for source in sorted(os.listdir(folder)) if source.endswith(".py") and source not in _THREADED]
    if is_threaded:
        sources += _THREADED
    last = cpython.cache_from_source(folder + sources[-1])
    if os.path.exists(last):
        return
    try:
        if len(os.listdir("/proc/self/task")) > 1:  # a `sitecustomize` has started threads
            return
        lock = os.open(here + "/worker.py", os.O_RDWR)
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
        __import__("gc").disable()  # the collector writes to, and so copies, every page of the parent
        sys.dont_write_bytecode = False
        loader = _loader(cpython.source_loader)
        for source in sources:
            loader(package, folder + source).get_code(package)
    finally:
        os._exit(0)


def _loader(source_loader):
    class Loader(source_loader):
        def set_data(self, path, data, *, _mode=0o666):
            """Writes byte code whole, or fails. Python's own function takes a short write for a whole one."""
            part, rest = path + ".part", memoryview(data)
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _mode)
                try:
                    while rest:
                        rest = rest[os.write(file, rest):]
                finally:
                    os.close(file)
                os.replace(part, path)
            except OSError:
                try:
                    os.unlink(part)
                except OSError:
                    pass
                raise  # the last file is to tell that there are all

    return Loader
