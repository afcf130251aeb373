"""What engine and worker have to see alike in functions: their values as bytes (docs/internals/wire-protocol.md, "Functions",
is the format), and whether a call gives a coroutine.

The Python package has this very file as `axion._packing`. It imports nothing of either side: how a value is pickled,
and how JSON is read, is handed in.
"""

from io import BytesIO

PROTOCOL = 5
# What the code of a function says: one call with arguments, or one for each of a list of argument tuples, or of single
# arguments; or the call of a step, whose arguments may have holes and whose result says what it is.
CALL, EACH, EACH_OF_ONE, STEP = 0, 1, 2, 3
ELEMENT = -1  # the hole for the element that an instance of a mapped step is for
SCALARS = frozenset((type(None), bool, int, float, str, bytes))

_OUT_OF_BAND = 64 << 10  # bytes from which a buffer travels beside the pickle
_PICKLE = 0x80  # the first byte of every pickle
_BUFFERS, _DESCRIBED, _LIST, _FILLED = 1, 2, 3, 4
_CO_COROUTINE = 0x80
_EXACT = frozenset((type(None), bool, int, float, str))
_CONTAINERS = frozenset((list, dict))


def code_of(function):
    """The code that a call runs, if it is Python's: of a function, method, partial or an object with `__call__`."""
    while type(function).__name__ == "partial" and hasattr(function, "func"):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(getattr(type(function), "__call__", None), "__code__", None)
    return code


def is_async(function):
    """Whether a call gives a coroutine."""
    code = code_of(function)
    return code is not None and bool(code.co_flags & _CO_COROUTINE)


def pack(value, dumps):
    """A value, as bytes or, with large buffers in it, as a list of buffers. `dumps(value, keep)` pickles it."""
    buffers = []

    def keep(buffer):
        view = buffer.raw()
        if len(view) < _OUT_OF_BAND:
            return True
        buffers.append(view)
        return False

    data = dumps(value, keep)
    if not buffers:
        return data
    return [_head(_BUFFERS, [data] + buffers) + data] + buffers


def describe(packed, json, words):
    """A packed value with its JSON form; or, if it has none (None), words that say what it is."""
    text = words.encode("utf-8", "backslashreplace") if json is None else json
    head = bytes((_DESCRIBED, json is not None)) + len(text).to_bytes(8, "little") + text
    return [head + packed[0]] + packed[1:] if type(packed) is list else head + packed


def unpack(raw, loads, read):
    """The value. Its large buffers stay where they are, in `raw`. `read` makes a value of JSON in bytes."""
    first = raw[0]
    if first == _PICKLE:
        return loads(raw)
    if first == _BUFFERS:
        parts = _parts(raw)
        return loads(parts[0], buffers=parts[1:])
    if first == _DESCRIBED:
        raw = memoryview(raw)
        return unpack(raw[10 + int.from_bytes(raw[2:10], "little"):], loads, read)
    if first == _LIST:
        return [unpack(part, loads, read) for part in _parts(raw)]
    return read(bytes(raw))


def fill(raw, pickle, read):
    """The arguments of a step, with the values in the place of their holes. Each value is made once."""
    if raw[0] != _FILLED:
        return unpack(raw, pickle.loads, read)
    parts = _parts(raw)
    values = [unpack(part, pickle.loads, read) for part in parts[1:]]
    buffers = ()
    if parts[0][0] == _BUFFERS:
        parts = _parts(parts[0])
        buffers = parts[1:]
    return _filler(pickle)(BytesIO(parts[0]), buffers, values).load()


def _filler(pickle):
    """The class that fills holes. `pickle` is imported late, and is one."""
    global _Filler
    if _Filler is None:
        class Filler(pickle.Unpickler):
            def __init__(self, data, buffers, values):
                super().__init__(data, buffers=buffers)
                self._values = values

            def persistent_load(self, hole):
                return self._values[hole]

        _Filler = Filler
    return _Filler


_Filler = None


def is_exact(value):
    """Whether JSON gives back the very same of a value that has a JSON form."""
    left = [value]
    for part in left:
        kind = type(part)
        if kind is list:
            items = part
        elif kind is dict:
            if any(key is not str for key in set(map(type, part))):
                return False
            items = part.values()
        elif kind in _EXACT:
            continue
        else:
            return False
        kinds = set(map(type, items)) - _EXACT
        if kinds:
            if not kinds <= _CONTAINERS:
                return False
            left.extend([item for item in items if type(item) in _CONTAINERS])
    return True


def _head(tag, parts):
    sizes = [len(part).to_bytes(8, "little") for part in parts]
    return bytes((tag,)) + len(parts).to_bytes(4, "little") + b"".join(sizes)


def _parts(raw):
    raw = memoryview(raw)
    count = int.from_bytes(raw[1:5], "little")
    at, parts = 5 + 8 * count, []
    for n in range(count):
        size = int.from_bytes(raw[5 + 8 * n:13 + 8 * n], "little")
        parts.append(raw[at:at + size])
        at += size
    return parts
