"""Which things a worker finds by name, so that they need not be sent.

A name is good for what a fresh interpreter with the caller's `sys.path` would import, judged by `PathFinder` alone
(L18): a finder or a module that this program has put somewhere is not there in a worker. Modules that were loaded from
a file by other means are good as well: a worker executes the same file under the same name.
"""

import os
import sys
from importlib import machinery

from . import _stamps
from ._stamps import spec_of

NAME, FILE = "name", "file"  # what a worker imports by its name; what it executes from its file
_MAINS = ("__main__", "__mp_main__")  # the program, and the program in a process of `multiprocessing`
_SUFFIXES = tuple(machinery.all_suffixes())
_WITHOUT_FILE = ("built-in", "frozen")

_path = []  # the `sys.path` for which `_modules` holds
_surveyed_path, _surveyed = [], {}  # of `modules_from_files`
_from_files = {}  # name -> its path, and the folders of its submodules or None
_version = [0]
_survey_due = object()
_modules = {}  # name -> the module, its spec, and what `place_of_module` says


def goes_by_name(thing):
    """Whether a worker finds a function or class by its name."""
    return place_of(thing) is not None


def place_of(thing):
    """How a worker finds a function or class: `(NAME or FILE, module, qualname)`; None if it has to be sent."""
    name = getattr(thing, "__module__", None)
    qualname = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if type(name) is not str or type(qualname) is not str:
        return None
    found = sys.modules.get(name)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is not thing or is_registered_by_value(name):
        return None
    place = place_of_module(name)
    return None if place is None else (place, name, qualname)


def place_of_module(name):
    """How a worker gets a module of `sys.modules`: NAME or FILE; None if it cannot."""
    if sys.path != _path:
        _path[:] = sys.path
        _modules.clear()
    module = sys.modules.get(name)
    spec = spec_of(module)
    known = _modules.get(name)
    if known is None or known[0] is not module or known[1] is not spec:
        known = _modules[name] = module, spec, _judge(name, spec)
        _note_file(name, spec, known[2])
    return known[2]


def _note_file(name, spec, place):
    """Has `modules_from_files` tell of a module, if a worker executes it from its file."""
    if place is FILE and name not in _from_files:
        _from_files[name] = spec.origin, _listed(spec.submodule_search_locations)
        _version[0] += 1


def version():
    """Changes when `place_of` finds one more module that a worker executes from its file."""
    return _version[0]


def modules_from_files():
    """The modules that a worker executes from their files: `{name: (path, folders of its submodules or None)}`.

    Packages that such a module is in and that a worker cannot import are among them, without a path.
    """
    if sys.path != _surveyed_path:
        _surveyed_path[:] = sys.path
        _surveyed.clear()
        _from_files.clear()
    folders = set(sys.path)
    for name, module in list(sys.modules.items()):
        spec = spec_of(module)
        if _surveyed.get(name, _survey_due) is not spec:
            _surveyed[name] = spec
            was_found = _from_files.pop(name, None) is not None
            if was_found or not _is_below(folders, name, spec):
                _note_file(name, spec, place_of_module(name))
    found = dict(_from_files)
    for name in _from_files:
        while name := name.rpartition(".")[0]:
            if name not in found and (place_of_module(name) if name in sys.modules else _find(name)) is None:
                found[name] = None, _listed(getattr(sys.modules.get(name), "__path__", ()))
    return found


def _is_below(folders, name, spec):
    """Whether it is where an import along `folders` looks for it, or is in no file. A module of the same name may come
    before it: then what is sent by this name says so (`place_of`).
    """
    origin = getattr(spec, "origin", None)
    if origin is None or origin in _WITHOUT_FILE:
        return True
    parts = name.count(".") + 1
    folder = os.path.dirname(origin) if spec.submodule_search_locations else origin
    for _ in range(parts):
        folder = os.path.dirname(folder)
    return folder in folders


def _listed(folders):
    return None if folders is None else [folder for folder in folders if isinstance(folder, str)]


def is_registered_by_value(name):
    """Whether cloudpickle was told to pickle this module, or a package that it is in, by value."""
    cloudpickle = sys.modules.get("cloudpickle")
    registered = cloudpickle.list_registry_pickle_by_value() if cloudpickle is not None else ()
    return bool(registered) and any(name == each or name.startswith(each + ".") for each in registered)


def _judge(name, spec):
    if name in _MAINS:
        return None
    if spec is None or (spec.origin is None and spec.submodule_search_locations is None):
        return NAME if _is_made_by_its_package(name) else None
    if spec.origin in _WITHOUT_FILE:
        return NAME
    found = _find(name)
    if found is not None and _is_same(found, spec):
        return NAME
    if spec.origin is not None and spec.origin.endswith(_SUFFIXES) and os.path.isfile(spec.origin):
        return FILE
    return None


def _is_made_by_its_package(name):
    """Whether a module without a file is there once its parent is imported: an extension module or a library of this
    interpreter makes it, not the program.
    """
    parent = name.rpartition(".")[0]
    place = place_of_module(parent) if parent in sys.modules else None
    if place is None:
        return False
    origin = getattr(spec_of(sys.modules[parent]), "origin", None)
    if place is NAME and origin in (None, *_WITHOUT_FILE):
        return True
    is_extension = isinstance(getattr(spec_of(sys.modules[parent]), "loader", None), machinery.ExtensionFileLoader)
    return is_extension or origin.startswith((sys.prefix + os.sep, sys.base_prefix + os.sep))


def _find(name):
    """The spec that a fresh interpreter finds for a module; None if there is none."""
    parent = name.rpartition(".")[0]
    folders = None
    if parent:
        if parent in sys.modules and place_of_module(parent) is not None:
            folders = getattr(sys.modules[parent], "__path__", None)
        else:
            folders = getattr(_find(parent), "submodule_search_locations", None)
        if folders is None:
            return None
    try:
        return machinery.PathFinder.find_spec(name, folders)
    except (ImportError, OSError, ValueError):
        return None


def _is_same(found, spec):
    """Whether two specs are of the same file, or both of a package without one."""
    if found.origin is None or spec.origin is None:
        return found.origin is spec.origin
    try:
        return found.origin == spec.origin or os.path.samefile(found.origin, spec.origin)
    except OSError:
        return False


_stamps.install(machinery.PathFinder)
_stamps.stamps()  # of what is loaded already, before its files change
