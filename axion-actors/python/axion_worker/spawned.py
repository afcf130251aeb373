"""Makes the modules of scripts importable in the processes that their tasks spawn.

A task can start processes by the methods "spawn" and "forkserver" of `multiprocessing`, or by loky. Such a process
imports what it unpickles, and the module of a script is not importable by its name. So what the parent tells the child
about itself also brings a finder, which executes the script's file there.
"""

import sys

from . import library

_paths = {}  # the name of each loaded script's module -> the path of its file
_PICKLERS = ("cloudpickle.cloudpickle", "joblib.externals.cloudpickle.cloudpickle")

# Executed here and in each child, with `paths` and this text as `source`: a child tells its own children, too.
_SOURCE = '''
import sys
from importlib.machinery import ModuleSpec
from multiprocessing import spawn


class Loader:
    def create_module(self, spec):
        return None

    def exec_module(self, module):
        path = paths[module.__name__]
        main = sys.modules.get("__mp_main__")
        if getattr(main, "__file__", None) == path:
            # This process has executed the script as its main module.
            sys.modules[module.__name__] = main
            return
        module.__file__ = path
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        exec(code, module.__dict__)


class Finder:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, Loader(), origin=paths[name]) if name in paths else None


class Scripts:
    """A part of what a child unpickles first."""

    def __reduce__(self):
        return exec, (source, {"paths": dict(paths), "source": source})


def get_preparation_data(*args, **options):
    return dict(original(*args, **options), scripts=Scripts())


original, spawn.get_preparation_data = spawn.get_preparation_data, get_preparation_data
sys.meta_path.append(Finder())
'''


def start():
    """Extends `multiprocessing` and the picklers as soon as user code imports them."""
    library.after_import("multiprocessing.spawn", lambda _: exec(_SOURCE, {"paths": _paths, "source": _SOURCE}))
    # The server would preload the first script, and fork it into the children of its later versions.
    library.after_import("multiprocessing.forkserver", lambda forkserver: forkserver.set_forkserver_preload([]))
    for name in _PICKLERS:
        library.after_import(name, _pickle_by_value)


def _pickle_by_value(pickler):
    """Has loky and others send what a script defines by value, as they do with what `__main__` defines."""
    register = getattr(pickler, "register_pickle_by_value", None)  # since cloudpickle 2.0
    for name in list(_paths) if register else ():
        if name in sys.modules:
            register(sys.modules[name])


def add(module, path):
    """Makes the module of a script known. It is in `sys.modules`."""
    _paths[module.__name__] = path
    for name in _PICKLERS:
        if name in sys.modules:
            _pickle_by_value(sys.modules[name])


def remove(module):
    _paths.pop(module.__name__, None)
