"""JSON, fast and strict, and where in a value it fails.

The C encoder and scanner of the `json` package are used directly where the interpreter has them:
no options to look at per call, and a worker is spared the import of `json` and `re` at its start.
"""

from .failure import Kind, TaskFailure

try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner
except ImportError:  # an interpreter without the C part
    make_encoder = None


def _refuse(value):
    raise TypeError(type(value).__name__)


if make_encoder is not None:

    class _Options:
        strict = True
        object_hook = object_pairs_hook = None
        parse_float, parse_int = float, int
        memo = {}

        @staticmethod
        def parse_constant(name):
            raise ValueError("%s is not JSON" % name)

    _scan = make_scanner(_Options)
    def _new():
        return make_encoder({}, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, False)

    _encode = _new()

    def _dumps(value):
        global _encode
        try:
            return "".join(_encode(value, 0))
        except BaseException:
            _encode = _new()  # the old one still marks the containers it was in
            raise

    def _loads(text):
        text = text.strip(" \t\r\n")
        value, end = _scan(text, 0)
        if end != len(text):
            raise ValueError("extra data at character %d" % end)
        return value

else:
    import json

    _dumps = json.JSONEncoder(allow_nan=False).encode
    _loads = json.loads


def loads(raw):
    """The parameters of a task from JSON in UTF-8."""
    try:
        return _loads(raw.decode())
    except RecursionError:
        raise TaskFailure(Kind.PARAMS_INVALID, "the parameters are nested too deeply for this interpreter")
    except StopIteration as error:
        raise TaskFailure(Kind.PARAMS_INVALID, "the parameters are not JSON: a value is missing at character %s" % error)
    except ValueError as error:
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


_DEEPEST = 100000


def _locate(value):
    """Finds the first part of a value that has no JSON form; a sentence, or None if there is none."""
    # Depth first with a stack of its own; `above` holds the containers on the way to the current
    # part, so that a value that contains itself is told from one that is only used twice.
    stack, above = [("result", value, False)], set()
    while stack and len(stack) < _DEEPEST:
        where, part, leaving = stack.pop()
        if leaving:
            above.discard(id(part))
        elif isinstance(part, float):
            if part != part or part in (float("inf"), float("-inf")):
                return "%s is %r, which JSON has no form for" % (_short(where), float(part))
        elif part is None or isinstance(part, (str, int)):
            pass
        elif isinstance(part, (dict, list, tuple)):
            if id(part) in above:
                return "%s contains itself" % _short(where)
            above.add(id(part))
            stack.append((where, part, True))
            if isinstance(part, dict):
                for key in part:
                    if not isinstance(key, (str, int, float, bool, type(None))):
                        return "a key of %s is of type %s: JSON has only text keys" % (_short(where), _type(key))
                inner = [("%s[%r]" % (where, key), item, False) for key, item in part.items()]
            else:
                inner = [("%s[%d]" % (where, at), item, False) for at, item in enumerate(part)]
            stack.extend(reversed(inner))
        else:
            return "%s is of type %s, which JSON has no form for" % (_short(where), _type(part))
    return None


def _type(value):
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else "%s.%s" % (kind.__module__, kind.__qualname__)


def _short(where):
    return where if len(where) <= 300 else where[:140] + " ... " + where[-140:]
