"""What a task finds around it: as in a child of the caller (L18).

Every function brings the surroundings as of its submit. A worker takes over what differs from those that it took over
last, so what tasks and initializers have changed stays until the caller changes the same. A worker that runs one task
at a time takes over those of each function; one that runs several at a time only goes forward.

They are a part of the function, a pickle of `(version, values)`. docs/internals/wire-protocol.md lists the values.
"""

import sys
from _thread import RLock, _local

from . import cpython, library, places, stamps
from .failure import FailureKind, TaskFailure, type_name

CONTEXT_MODULE = "_axion_task"  # `axion.current()` finds the running task in this module
_lock = RLock()
_only_forward = False  # whether this worker runs several tasks at a time
_part = None  # the id of those that were taken over last
_version = 0
_values = {}
_authkey = None
_changed = None  # says which module of this process is not the caller's, if one is not
_own_path = []  # `sys.path` at the start
_filters_set = None  # the filters of `warnings` that were taken over last
_main_failure = None  # the exception of the main module, if it was executed and failed
_threads = _local()  # `context`: the fields of the context of `decimal` that this thread has


def begin(only_forward):
    """Takes down what this process has at its start."""
    global _only_forward, _values
    _only_forward, _own_path[:] = only_forward, sys.path
    _values = {"path": None, "argv": sys.argv[:], "main": None, "depth": sys.getrecursionlimit(), "authkey": None, "files": {},
               "stamps": {}, "digits": getattr(sys, "get_int_max_str_digits", int)(), "decimal": None, "filters": None}
    library.after_import("joblib.parallel", _register_backend)
    stamps.install(cpython.path_finder, _note_found)
    sys.meta_path.insert(1, _Finder)  # behind that of `library`


def _register_backend(parallel):
    """Makes joblib find the backend "axion" by its name. Its module is imported when it is used."""
    def make(*args, **kwargs):
        from axion.joblib import AxionBackend

        return AxionBackend(*args, **kwargs)

    parallel.BACKENDS.setdefault("axion", make)


def enter(pickle, parts, part):
    """Takes over what has changed, before anything of the user's is imported for the function.

    `part` is the id of the surroundings among the `parts` that this process has.
    """
    global _part, _version, _values, _authkey
    if part != _part:
        with _lock:
            if part != _part:
                version, values = pickle.loads(parts[part])
                if version > _version or not _only_forward:
                    before, _values, _version = _values, values, version
                    # A task whose caller has ended has no secrets any more.
                    _authkey = parts.get(values["authkey"])
                    for name, take_over in _TAKE_OVER:
                        if values[name] != before[name]:
                            take_over(values, before)
            _part = part
    if _changed is not None:
        raise TaskFailure(FailureKind.MODULE_CHANGED, _changed)
    if _main_failure is not None:
        text = "the main module failed in the worker: %s: %s" % (type_name(type(_main_failure)), _main_failure)
        raise TaskFailure(FailureKind.INITIALIZER_FAILED, text) from _main_failure
    context = _values["decimal"]
    if context is not None and context != getattr(_threads, "context", None):
        library.after_import("decimal", _set_context)


# Modules that the caller loaded from another source than this process does.


def _set_stamps(values, _before):
    """Compares the modules that this process has loaded with the caller's. It cannot tell which of them a call uses."""
    global _changed
    _changed = None
    for name, there in values["stamps"].items():
        module = sys.modules.get(name)
        here = None if module is None else stamps.stamp_of(name, module)
        if here is not None and not _is_callers(there, here):
            _changed = _say_changed(name, there, "has", here)
            return


def _check_found(name, here):
    """Refuses to load a module from another source than the caller has loaded it from."""
    there = _values["stamps"].get(name)
    if there is not None and here is not None and not _is_callers(there, here):
        raise TaskFailure(FailureKind.MODULE_CHANGED, _say_changed(name, there, "finds", here))


def _note_found(spec, here):
    """Has the places in a module noted when it has been executed, if it may be loaded."""
    _check_found(spec.name, here)
    # A loader of its own: that of an archive loads other modules, too.
    if here is not None and not stamps.is_of_library(here[0]) and getattr(spec.loader, "name", None) == spec.name:
        library.after_execution(spec, places.settle)


def _is_callers(there, here):
    """Whether a module is the caller's, or may be another because this is another interpreter."""
    return stamps.is_same(there, here) or _belongs(there[0] + "/", _values["path"][1]) or (
        _is_another(_values["path"][1]) and not there[0].endswith(".py"))


def _say_changed(name, there, verb, here):
    return ("the module %s of this worker is not the caller's: the caller loaded %s (%s), the worker %s %s (%s); start the "
            "program again, or reload the module in the caller and start a new engine"
            % (name, there[0], _said(there), verb, here[0], _said(here)))


def _said(stamp):
    from time import localtime, strftime

    _, seconds, size, nanos = stamp
    fraction = "" if nanos is None else ".%03d" % (nanos // 1000000)
    return "%s%s, %d bytes" % (strftime("%Y-%m-%d %H:%M:%S", localtime(seconds)), fraction, size)


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
    prefix, base_prefix, _, folders = origin
    return _is_another(origin) and path.startswith(tuple([folder.rstrip("/") + "/" for folder in [prefix, base_prefix] + folders]))


def _is_another(origin):
    """Whether the caller's interpreter is not this one."""
    return tuple(origin[:3]) != (sys.prefix, sys.base_prefix, list(sys.version_info[:2]))


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
    if _authkey is not None:
        process.current_process().authkey = bytes(_authkey)


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
        there = _values["stamps"].get(name)
        if there is not None:
            _check_found(name, stamps.stamp_of_file(there[0]))  # whatever finder comes next
        place = _values["files"].get(name)
        if place is None:
            return None
        with library.StdlibFirst():
            from importlib.machinery import ModuleSpec
            from importlib.util import spec_from_file_location

        path, folders = place
        if path is not None:
            spec = spec_from_file_location(name, path, submodule_search_locations=folders)
            stamps.take(name, spec)
            library.after_execution(spec, places.settle)
            return spec
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = list(folders or ())
        return spec


_TAKE_OVER = (("path", _set_path), ("stamps", _set_stamps), ("argv", _set_argv), ("depth", _set_depth),
              ("digits", _set_digits), ("filters", _set_filters), ("authkey", _set_authkey), ("main", _run_main))
