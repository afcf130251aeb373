"""JSON, fast and strict, and where in a value it fails.

The C encoder and scanner of the `json` package are used directly where the interpreter has them:
no options to look at per call, and a worker is spared the import of `json` and `re` at its start.
"""

from .failure import Kind, TaskFailure, type_name
from .library import First

try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner
except ImportError:  # an interpreter without the C part
    make_encoder = None


def _refuse(value):
    raise _NoForm(type_name(type(value)))


class _NoForm(TypeError):
    """Says which type it was."""


def _refuse_constant(name):
    raise ValueError("%s is not JSON" % name)


if make_encoder is not None:

    class _Options:
        strict = True
        object_hook = object_pairs_hook = None
        parse_float, parse_int = float, int
        parse_constant = staticmethod(_refuse_constant)
        memo = {}

    _scan = make_scanner(_Options)

    def _new():
        return make_encoder({}, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, False)

    _encode = _new()

    def _dumps(value):
        global _encode
        try:
            return "".join(_encode(value, 0))
        except BaseException:
            # The encoder still marks the containers it was in, and marks of another thread's that
            # returned the same container look like a circle: once more, with marks of its own.
            _encode = _new()
            return "".join(_new()(value, 0))

    def _loads(text):
        text = text.strip(" \t\r\n")
        try:
            value, end = _scan(text, 0)
        except SystemError:
            # The scanner takes its exception from `json.decoder`, if that is loaded.
            with First():
                import json.decoder  # noqa: F401
            value, end = _scan(text, 0)
        if end != len(text):
            raise ValueError("extra data at character %d" % end)
        return value

else:
    import json

    _dumps = json.JSONEncoder(allow_nan=False, default=_refuse).encode
    _loads = json.JSONDecoder(parse_constant=_refuse_constant).decode


def loads(raw):
    """The parameters of a task from JSON in UTF-8."""
    try:
        return _loads(raw.decode())
    except RecursionError:
        raise TaskFailure(Kind.PARAMS_INVALID, "the parameters are nested too deeply for this interpreter")
    except StopIteration as error:
        raise TaskFailure(Kind.PARAMS_INVALID, "the parameters are not JSON: a value is missing at character %s" % error)
    except (ValueError, SystemError, ImportError) as error:
        raise TaskFailure(Kind.PARAMS_INVALID, "the parameters are not JSON: %s" % error)


def dumps(value):
    """A task's result as JSON in ASCII bytes. A value that has no JSON form says where it sits."""
    try:
        return _dumps(value).encode("ascii")
    except MemoryError:
        raise
    except RecursionError:
        raise TaskFailure(Kind.RESULT_NOT_SERIALIZABLE, _locate(value) or
                          "the result is nested too deeply to be written as JSON")
    except (TypeError, ValueError, OverflowError) as error:
        raise TaskFailure(Kind.RESULT_NOT_SERIALIZABLE, _locate(value) or
                          "the result cannot be written as JSON: %s" % error)


def view(value):
    """A value's JSON form, or None, and what the value is, in words: where it sits is not looked for."""
    what = "a %s" % type_name(type(value))
    try:
        return _dumps(value).encode("ascii"), what
    except MemoryError:
        raise
    except _NoForm as error:
        within = isinstance(value, (dict, list, tuple))
        return None, "%s with a %s in it" % (what, error) if within else what
    except (RecursionError, TypeError, ValueError, OverflowError) as error:
        return None, "%s without a JSON form (%s)" % (what, error)


def _locate(value):
    """Finds the first part of a value that has no JSON form; a sentence, or None if there is none."""
    # Depth first without recursion. `keys` is the way to the current part, through the containers
    # of `above`: a value that contains itself is told from one that is only used twice.
    keys, inner, above = [], [], {}
    part = value
    while True:
        wrong = _wrong(part, above)
        if wrong:
            return wrong[0] + _place(keys) + wrong[1]
        if isinstance(part, (dict, list, tuple)):
            above[id(part)] = part
            inner.append(iter(part.items() if isinstance(part, dict) else enumerate(part)))
            keys.append(None)
        while inner:
            following = next(inner[-1], None)
            if following is not None:
                keys[-1], part = following
                break
            inner.pop()
            keys.pop()
            above.popitem()
        else:
            return None


def _wrong(part, above):
    """What is wrong with this part alone: the words before and after its place; None if nothing is."""
    if isinstance(part, float):
        if part != part or part in (float("inf"), float("-inf")):
            return "", " is %r, which JSON has no form for" % float(part)
    elif isinstance(part, (dict, list, tuple)):
        if id(part) in above:
            return "", " contains itself"
        for key in part if isinstance(part, dict) else ():
            if not isinstance(key, (str, int, float, bool, type(None))):
                return "a key of ", " is of type %s: JSON has only text keys" % type_name(type(key))
            if key != key or key in (float("inf"), float("-inf")):
                return "a key of ", " is %r, which JSON has no form for" % key
    elif part is not None and not isinstance(part, (str, int)):
        return "", " is of type %s, which JSON has no form for" % type_name(type(part))
    return None


def _place(keys):
    """`result['a'][1]`, its middle left out where it is long."""
    if len(keys) > 40:
        keys = keys[:20] + [Ellipsis] + keys[-20:]
    where = "result" + "".join(" ... " if key is Ellipsis else "[%r]" % (key,) for key in keys)
    return where if len(where) <= 300 else where[:140] + " ... " + where[-140:]
