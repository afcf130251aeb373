"""What a task finds around it: as in a child of the caller (L18).

Every function brings the surroundings as of its submit. A worker takes over what differs from those that it took over
last, so what tasks and initializers have changed stays until the caller changes the same. A worker that runs one task
at a time takes over those of each function; one that runs several at a time only goes forward.

They come as a pickle of `(version, values)`. docs/internals/wire-protocol.md lists the values.
"""

import sys
from _thread import RLock, _local

from . import cpython, library
from .failure import FailureKind, TaskFailure, type_name
from .stamps import stamp_of

CONTEXT_MODULE = "_axion_task"  # `axion.current()` finds the running task in this module
_lock = RLock()
_only_forward = False  # whether this worker runs several tasks at a time
_packed = None  # those that were taken over last
_version = 0
_values = {}
_own_path = []  # `sys.path` at the start
_filters_set = None  # the filters of `warnings` that were taken over last
_main_failure = None  # the exception of the main module, if it was executed and failed
_stamps = {}  # the name of a module -> its spec, and what its loader saw of its source
_threads = _local()  # `context`: the fields of the context of `decimal` that this thread has


def begin(only_forward):
    """Takes down what this process has at its start."""
    global _only_forward, _values
    _only_forward, _own_path[:] = only_forward, sys.path
    _values = {"path": None, "argv": sys.argv[:], "main": None, "depth": sys.getrecursionlimit(), "authkey": None, "files": {},
               "digits": getattr(sys, "get_int_max_str_digits", int)(), "decimal": None, "filters": None}
    library.after_import("joblib.parallel", _register_backend)


def _register_backend(parallel):
    """Makes joblib find the backend "axion" by its name. Its module is imported when it is used."""
    def make(*args, **kwargs):
        from axion.joblib import AxionBackend

        return AxionBackend(*args, **kwargs)

    parallel.BACKENDS.setdefault("axion", make)


def enter(pickle, packed):
    """Takes over what has changed, before anything of the user's is imported for the function."""
    global _packed, _version, _values
    if packed is not _packed:
        with _lock:
            if packed != _packed:
                version, values = pickle.loads(packed)
                if version > _version or not _only_forward:
                    before, _values, _version = _values, values, version
                    for name, take_over in _TAKE_OVER:
                        if values[name] != before[name]:
                            take_over(values, before)
            _packed = packed
    if _main_failure is not None:
        text = "the main module failed in the worker: %s: %s" % (type_name(type(_main_failure)), _main_failure)
        raise TaskFailure(FailureKind.INITIALIZER_FAILED, text) from _main_failure
    context = _values["decimal"]
    if context is not None and context != getattr(_threads, "context", None):
        library.after_import("decimal", _set_context)


def check(stamp):
    """Refuses a function whose module this process did not load from what the caller loaded it from."""
    if stamp is None:
        return
    name, path, mtime, size = stamp
    spec = getattr(sys.modules.get(name), "__spec__", None)
    known = _stamps.get(name)
    if known is None or known[0] is not spec:
        known = _stamps[name] = spec, stamp_of(spec)
    if known[1] is None or known[1] == (path, mtime, size) or _belongs(path + "/", _values["path"][1]):
        return
    here, mtime_here, size_here = known[1]
    raise TaskFailure(FailureKind.MODULE_CHANGED, (
        "the module %s of this worker is not the caller's: the caller loaded %s (%s, %d bytes), the worker %s (%s, %d "
        "bytes); start the program again, or reload the module in the caller and start a new engine"
        % (name, path, _time(mtime), size, here, _time(mtime_here), size_here)))


def _time(seconds):
    from time import localtime, strftime

    return strftime("%Y-%m-%d %H:%M:%S", localtime(seconds))


def _set_path(values, before):
    """What tasks have put in front of the entries, or behind them, stays there."""
    path = _path_here(values)
    old = _own_path if before["path"] is None else _path_here(before)
    first = next((index for index, entry in enumerate(sys.path) if entry in old), len(sys.path))
    in_front, behind = sys.path[:first], [entry for entry in sys.path[first:] if entry not in old]
    sys.path[:] = in_front + path + [entry for entry in behind if entry not in path]


def _path_here(values):
    """The caller's `sys.path`, in its order. If this is another interpreter, what belongs to the caller's is left out."""
    path, origin = values["path"]
    belongs = [_belongs(entry + "/", origin) for entry in path]
    if True not in belongs:
        return path
    kept = [entry for entry, is_left_out in zip(path, belongs) if not is_left_out and entry not in _own_path]
    in_front = [entry for entry in path[:belongs.index(True)] if entry in kept]
    return in_front + _own_path + kept[len(in_front):]


def _belongs(path, origin):
    """Whether a file or folder is a part of the caller's interpreter, which is not this one."""
    prefix, base_prefix, python, folders = origin
    if (prefix, base_prefix, python) == (sys.prefix, sys.base_prefix, list(sys.version_info[:2])):
        return False
    return path.startswith(tuple([folder.rstrip("/") + "/" for folder in [prefix, base_prefix] + folders]))


def _set_argv(values, _before):
    sys.argv[:] = values["argv"]


def _set_depth(values, _before):
    try:
        sys.setrecursionlimit(values["depth"])
    except (RecursionError, ValueError, OverflowError):
        pass  # this process is deeper already, or another interpreter has another range


def _set_digits(values, _before):
    try:
        sys.set_int_max_str_digits(values["digits"])
    except (AttributeError, ValueError):
        pass  # this interpreter has no such limit


def _set_authkey(_values_now, _before):
    library.after_import("multiprocessing.process", _give_authkey)


def _give_authkey(process):
    if _values["authkey"] is not None:
        process.current_process().authkey = _values["authkey"]


def _set_context(decimal):
    """Sets this thread's context, and what the contexts of new threads and coroutines are made of."""
    fields = _values["decimal"]
    if fields is None:
        return
    prec, rounding, emin, emax, capitals, clamp, traps = fields
    traps = [getattr(decimal, name) for name in traps]
    # New threads and coroutines begin with a copy of the default.
    for context in decimal.DefaultContext, decimal.Context():
        context.prec, context.rounding, context.capitals, context.clamp = prec, rounding, capitals, clamp
        context.Emin, context.Emax = emin, emax
        for signal in context.traps:
            context.traps[signal] = signal in traps
    decimal.setcontext(context)
    _threads.context = fields


def _set_filters(values, _before):
    """Puts the caller's filters in place of those that it had before. Filters that tasks have put in front stay."""
    global _filters_set
    current = cpython.warning_filters()
    now = [_plain_filter(each) for each in current]
    if now == values["filters"]:
        _filters_set = now
        return
    with library.StdlibFirst():
        import re
        import warnings
    count = len(now if _filters_set is None else _filters_set)
    in_front = current[:len(now) - count] if _filters_set in (None, now[len(now) - count:]) else []
    filters = [found for found in (_filter(each, re) for each in values["filters"]) if found is not None]
    _filters_set = [_plain_filter(each) for each in filters]
    warnings.resetwarnings()
    warnings.filters.extend(in_front + filters)


def _plain_filter(each):
    action, message, category, module, line = each
    return action, _plain_pattern(message), (category.__module__, category.__qualname__), _plain_pattern(module), line


def _plain_pattern(pattern):
    return pattern if pattern is None or isinstance(pattern, str) else (pattern.pattern, pattern.flags)


def _filter(plain, re):
    """The filter; None while the module of its category is not imported here."""
    action, message, (module, qualname), of_module, line = plain
    category = sys.modules.get(module)
    if category is None:
        library.after_import(module, lambda _module: _set_filters(_values, None))
        return None
    for part in qualname.split("."):
        category = getattr(category, part, None)
    if not isinstance(category, type):
        return None

    def pattern(given):
        return given if given is None or isinstance(given, str) else re.compile(*given)

    return action, pattern(message), category, pattern(of_module), line


def _run_main(values, _before):
    """Executes the caller's main module as `__mp_main__`, as the spawned processes of `multiprocessing` do. Like those,
    it starts no processes meanwhile: the module would start them again in each.
    """
    global _main_failure
    import runpy
    from types import ModuleType

    name, path = values["main"]
    module = ModuleType("__mp_main__")
    tasks = sys.modules[CONTEXT_MODULE]
    tasks.is_importing_main = True
    library.after_import("multiprocessing.process", _forbid_processes)
    try:
        if name is not None:
            content = runpy.run_module(name, run_name="__mp_main__", alter_sys=True)
        else:
            content = runpy.run_path(path, run_name="__mp_main__")
        module.__dict__.update(content)
        sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    except BaseException as error:
        _main_failure = error
    finally:
        del tasks.is_importing_main
        library.after_import("multiprocessing.process", _allow_processes)


def _forbid_processes(process):
    _give_authkey(process)
    process.current_process()._inheriting = True


def _allow_processes(process):
    _give_authkey(process)
    process.current_process().__dict__.pop("_inheriting", None)


# Modules that the caller loaded from files.


class _Finder:
    """Finds the modules that the caller did not find along `sys.path`, at the files where it found them."""

    @staticmethod
    def find_spec(name, _path=None, _target=None):
        place = _values["files"].get(name)
        if place is None:
            return None
        with library.StdlibFirst():
            from importlib.machinery import ModuleSpec
            from importlib.util import spec_from_file_location

        path, folders = place
        if path is not None:
            return spec_from_file_location(name, path, submodule_search_locations=folders)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = list(folders or ())
        return spec


def _set_files(_values_now, _before):
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(1, _Finder)  # behind that of `library`


_TAKE_OVER = (("path", _set_path), ("argv", _set_argv), ("depth", _set_depth),
              ("digits", _set_digits), ("filters", _set_filters), ("authkey", _set_authkey), ("files", _set_files),
              ("main", _run_main))
