"""Which things a worker finds by name, so that they need not be sent.

A name is good for what a fresh interpreter with the caller's `sys.path` would import, judged by `PathFinder` alone
(L18): a finder or a module that this program has put somewhere is not there in a worker. Modules that were loaded from
a file by other means are good as well: a worker executes the same file under the same name.
"""

import os
import sys
import time
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, PathFinder

NAME, FILE = "name", "file"  # what a worker imports by its name; what it executes from its file
_MAINS = ("__main__", "__mp_main__")  # the program, and the program in a process of `multiprocessing`
_SUFFIXES = tuple(SOURCE_SUFFIXES + BYTECODE_SUFFIXES + EXTENSION_SUFFIXES)
_WITHOUT_FILE = ("built-in", "frozen")
_32_BITS = 0xFFFFFFFF  # what a file of byte code has for a time or a size
_begun = time.time() - 0.01  # file systems take the time from a clock that ticks every 10 ms at worst

_path = []  # the `sys.path` for which `_modules` holds
_modules = {}  # name -> the module, its spec, and what `place_of_module` says


def goes_by_name(thing):
    """Whether a worker finds a function or class by its name."""
    return place_of(thing) is not None


def place_of(thing):
    """How a worker finds a function or class: `(NAME or FILE, module, qualname, stamp)`; None if it has to be sent.

    `stamp` is the file of the module with the modification time (whole seconds) and size that it had when this process
    loaded it: `(path, mtime, size)`, or None for a module without a file.
    """
    name = getattr(thing, "__module__", None)
    qualname = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if type(name) is not str or type(qualname) is not str:
        return None
    found = sys.modules.get(name)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is not thing or _is_registered_by_value(name):
        return None
    place = place_of_module(name)
    return None if place is None else (place[0], name, qualname, place[1])


def place_of_module(name):
    """How a worker gets a module of `sys.modules`: `(NAME or FILE, stamp)`; None if it cannot."""
    if sys.path != _path:
        _path[:] = sys.path
        _modules.clear()
    module = sys.modules.get(name)
    spec = spec_of(module)
    known = _modules.get(name)
    if known is None or known[0] is not module or known[1] is not spec:
        known = _modules[name] = module, spec, _judge(name, spec)
    return known[2]


def spec_of(module):
    """A module's `__spec__`, without loading a module that is lazy."""
    try:
        return object.__getattribute__(module, "__dict__").get("__spec__")
    except AttributeError:
        return None


def _is_registered_by_value(name):
    """Whether cloudpickle was told to pickle this module, or a package that it is in, by value."""
    cloudpickle = sys.modules.get("cloudpickle")
    registered = cloudpickle.list_registry_pickle_by_value() if cloudpickle is not None else ()
    return bool(registered) and any(name == each or name.startswith(each + ".") for each in registered)


def _judge(name, spec):
    if name in _MAINS:
        return None
    if spec is None or (spec.origin is None and spec.submodule_search_locations is None):
        return (NAME, None) if _is_made_by_its_package(name) else None
    if spec.origin in _WITHOUT_FILE:
        return NAME, None
    found = _find(name)
    if found is not None and _is_same(found, spec):
        return NAME, _stamp(found)
    if spec.origin is not None and spec.origin.endswith(_SUFFIXES) and os.path.isfile(spec.origin):
        return FILE, _stamp(spec)
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
    if place[0] is NAME and origin in (None, *_WITHOUT_FILE):
        return True
    is_extension = isinstance(getattr(spec_of(sys.modules[parent]), "loader", None), ExtensionFileLoader)
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
        return PathFinder.find_spec(name, folders)
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


def _stamp(spec):
    """The file of a module, and what its loader saw of it.

    The source may have changed since. Then the byte code that was written or used says what it was.
    """
    try:
        status = os.stat(spec.origin)
    except (OSError, TypeError):
        return None
    mtime, size = int(status.st_mtime) & _32_BITS, status.st_size & _32_BITS
    if status.st_ctime > _begun and not sys.dont_write_bytecode:
        mtime, size = _compiled(spec) or (mtime, size)
    return spec.origin, mtime, size


def _compiled(spec):
    """The modification time and size of the source from which a module's byte code was made."""
    if not spec.cached or spec.cached == spec.origin:
        return None
    try:
        with open(spec.cached, "rb") as file:
            header = file.read(16)  # magic number, flags, modification time, size
    except OSError:
        return None
    if len(header) < 16 or any(header[4:8]):  # the source is named by a hash
        return None
    return int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:], "little")
