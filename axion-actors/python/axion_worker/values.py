"""JSON, fast and strict, and the place in a value that has no JSON form.

It uses the C encoder and scanner of the `json` package directly where the interpreter has them: there
are no options to check per call, and a worker need not import `json` and `re` at its start.
"""

from .cpython import json_encoder, json_scanner
from .failure import FailureKind, TaskFailure, type_name
from .library import StdlibFirst


def _refuse(value):
    raise _NoJsonForm(type_name(type(value)))


class _NoJsonForm(TypeError):
    """Its text is the name of the type."""


def _refuse_constant(name):
    raise ValueError("%s is not JSON" % name)


_encode = json_encoder(_refuse)
_scan = json_scanner(_refuse_constant)

if _encode is not None and _scan is not None:

    def _dumps(value):
        global _encode
        try:
            return "".join(_encode(value, 0))
        except BaseException:
            # The encoder keeps a mark on each container that it was in. The marks of another thread that
            # returned the same container look like a cycle: encode again with a new encoder.
            _encode = json_encoder(_refuse)
            return "".join(json_encoder(_refuse)(value, 0))

    def _loads(text):
        text = text.strip(" \t\r\n")
        try:
            value, end = _scan(text, 0)
        except SystemError:
            # The scanner raises an exception of `json.decoder`, and fails like this if that is not loaded.
            with StdlibFirst():
                import json.decoder  # noqa: F401
            value, end = _scan(text, 0)
        if end != len(text):
            raise ValueError("extra data at character %d" % end)
        return value

else:
    import json

    # Without the marks of the check for cycles: a refused value would be garbage in a cycle with them, and its
    # memory would be held until a collection. A cycle is a RecursionError instead.
    _dumps = json.JSONEncoder(allow_nan=False, check_circular=False, default=_refuse).encode
    _loads = json.JSONDecoder(parse_constant=_refuse_constant).decode


def loads(raw):
    """The parameters of a task, from JSON in UTF-8."""
    try:
        return _loads(raw.decode())
    except RecursionError:
        raise TaskFailure(FailureKind.PARAMS_INVALID, "the parameters are nested too deeply for this interpreter")
    except StopIteration as error:
        raise TaskFailure(FailureKind.PARAMS_INVALID, "the parameters are not JSON: a value is missing at character %s" % error)
    except (ValueError, SystemError, ImportError) as error:
        raise TaskFailure(FailureKind.PARAMS_INVALID, "the parameters are not JSON: %s" % error)


def dumps(value):
    """A task's result as JSON in ASCII. If a part has no JSON form, the failure names its place in the result."""
    try:
        text = _dumps(value)
        if _may_have_merged_keys(text):
            problem = _locate(value)
            if problem is not None:
                raise TaskFailure(FailureKind.RESULT_NOT_SERIALIZABLE, problem)
        return text.encode("ascii")
    except MemoryError:
        raise
    except RecursionError:
        raise TaskFailure(FailureKind.RESULT_NOT_SERIALIZABLE, _locate(value) or
                          "the result is nested too deeply to be written as JSON")
    except (TypeError, ValueError, OverflowError) as error:
        raise TaskFailure(FailureKind.RESULT_NOT_SERIALIZABLE, _locate(value) or
                          "the result cannot be written as JSON: %s" % error)


def json_or_description(value):
    """A value's JSON form, or None, and a text that describes the value."""
    what = "a %s" % type_name(type(value))
    try:
        text = _dumps(value)
        problem = _locate(value) if _may_have_merged_keys(text) else None
        return (text.encode("ascii"), what) if problem is None else (None, "%s without a JSON form (%s)" % (what, problem))
    except MemoryError:
        raise
    except _NoJsonForm as error:
        within = isinstance(value, (dict, list, tuple))
        return None, "%s with a %s in it" % (what, error) if within else what
    except (RecursionError, TypeError, ValueError, OverflowError) as error:
        return None, "%s without a JSON form (%s)" % (what, error)


# How keys other than texts end in JSON.
_OTHER_KEYS = tuple('%d": ' % digit for digit in range(10)) + ('true": ', 'false": ', 'null": ')
_TEXT = {str}


def _may_have_merged_keys(text):
    """Whether two keys of a dict may have become one in its JSON: only a key that is no text becomes another one.

    Most results are spared a look at each dict in Python, which takes longer than to encode them.
    """
    if "{" in text:
        for end in _OTHER_KEYS:
            if end in text:
                return True
    return False


def _locate(value):
    """A sentence on the first part of a value that has no JSON form; None if every part has one."""
    # Depth first without recursion. `keys` leads to the current part through the containers in
    # `ancestors`: a value that contains itself differs from one that is only used twice.
    keys, iterators, ancestors = [], [], {}
    part = value
    while True:
        problem = _problem(part, ancestors)
        if problem:
            return problem[0] + _path_text(keys) + problem[1]
        if isinstance(part, (dict, list, tuple)):
            ancestors[id(part)] = part
            iterators.append(iter(part.items() if isinstance(part, dict) else enumerate(part)))
            keys.append(None)
        while iterators:
            item = next(iterators[-1], None)
            if item is not None:
                keys[-1], part = item
                break
            iterators.pop()
            keys.pop()
            ancestors.popitem()
        else:
            return None


def _problem(part, ancestors):
    """What keeps this part from JSON, as the text before and after its path; None if nothing does."""
    if isinstance(part, float):
        if part != part or part in (float("inf"), float("-inf")):
            return "", " is %r, which JSON has no form for" % float(part)
    elif isinstance(part, (dict, list, tuple)):
        if id(part) in ancestors:
            return "", " contains itself"
        for key in part if isinstance(part, dict) else ():
            if not isinstance(key, (str, int, float, bool, type(None))):
                return "a key of ", " is of type %s: JSON has only text keys" % type_name(type(key))
            if key != key or key in (float("inf"), float("-inf")):
                return "a key of ", " is %r, which JSON has no form for" % key
        if isinstance(part, dict) and set(map(type, part)) - _TEXT:
            return _merged_keys(part)
    elif part is not None and not isinstance(part, (str, int)):
        return "", " is of type %s, which JSON has no form for" % type_name(type(part))
    return None


def _merged_keys(part):
    """Two keys of a dict that JSON writes alike, as `_problem`: 1 and "1"."""
    found = {}
    for key in part:
        text = key if isinstance(key, str) else _dumps({key: 0})[2:-5]
        if text in found:
            return "", " has the keys %r and %r, which are one key in JSON" % (found[text], key)
        found[text] = key
    return None


def _path_text(keys):
    """A path like `result['a'][1]`; the middle of a long one is left out."""
    if len(keys) > 40:
        keys = keys[:20] + [Ellipsis] + keys[-20:]
    text = "result" + "".join(" ... " if key is Ellipsis else "[%r]" % (key,) for key in keys)
    return text if len(text) <= 300 else text[:140] + " ... " + text[-140:]
