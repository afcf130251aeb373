"""How functions' values become bytes (docs/internals/wire-protocol.md, "Functions"), and whether a call gives a coroutine.

The engine's Python package has this very file as `axion._packing`. It imports nothing of either side: the caller
passes the functions that pickle values and read JSON.
"""

from io import BytesIO

PROTOCOL = 5
# The modes in a function's code. CALL: one call with arguments. EACH: one call for each of a list of argument tuples.
# EACH_OF_ONE: one call for each of a list of single arguments. STEP: the call of a step, whose arguments may have
# placeholders and whose result carries its description.
CALL, EACH, EACH_OF_ONE, STEP = 0, 1, 2, 3
ELEMENT = -1  # the placeholder for the element that an instance of a mapped step is for
SCALARS = frozenset((type(None), bool, int, float, str, bytes))

_MIN_OUT_OF_BAND = 64 << 10  # bytes from which on a buffer travels beside the pickle
_PICKLE = 0x80  # the first byte of every pickle
_WITH_BUFFERS, _DESCRIBED, _LIST, _WITH_VALUES = 1, 2, 3, 4
_CO_COROUTINE = 0x80
_EXACT = frozenset((type(None), bool, int, float, str))
_CONTAINERS = frozenset((list, dict))


def code_of(function):
    """The Python code that a call runs: of a function, method, partial or an object with `__call__`; else None."""
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
    """A value, as bytes or, if it has large buffers, as a list of buffers.

    `dumps(value, keep_in_band)` pickles it, with the latter as its `buffer_callback`.
    """
    buffers = []

    def keep_in_band(buffer):
        view = buffer.raw()
        if len(view) < _MIN_OUT_OF_BAND:
            return True
        buffers.append(view)
        return False

    data = dumps(value, keep_in_band)
    if not buffers:
        return data
    return [_header(_WITH_BUFFERS, [data] + buffers) + data] + buffers


def add_description(packed, json, description):
    """Puts a packed value's JSON form in front of it or, if it has none (None), the text that describes it."""
    text = description.encode("utf-8", "backslashreplace") if json is None else json
    head = bytes((_DESCRIBED, json is not None)) + len(text).to_bytes(8, "little") + text
    return [head + packed[0]] + packed[1:] if type(packed) is list else head + packed


def unpack(raw, loads, read_json):
    """The value. Its large buffers stay where they are, in `raw`. `read_json` reads JSON in bytes."""
    first = raw[0]
    if first == _PICKLE:
        return loads(raw)
    if first == _WITH_BUFFERS:
        parts = _parts(raw)
        return loads(parts[0], buffers=parts[1:])
    if first == _DESCRIBED:
        raw = memoryview(raw)
        return unpack(raw[10 + int.from_bytes(raw[2:10], "little"):], loads, read_json)
    if first == _LIST:
        return [unpack(part, loads, read_json) for part in _parts(raw)]
    return read_json(bytes(raw))


def unpack_arguments(raw, pickle, read_json):
    """The arguments of a step, with their placeholders replaced by the values. Each value is unpacked once."""
    if raw[0] != _WITH_VALUES:
        return unpack(raw, pickle.loads, read_json)
    parts = _parts(raw)
    values = [unpack(part, pickle.loads, read_json) for part in parts[1:]]
    buffers = ()
    if parts[0][0] == _WITH_BUFFERS:
        parts = _parts(parts[0])
        buffers = parts[1:]
    return _placeholder_unpickler(pickle)(BytesIO(parts[0]), buffers, values).load()


def _placeholder_unpickler(pickle):
    """The class that replaces placeholders. The worker imports `pickle` late, so it is made at first use."""
    global _PlaceholderUnpickler
    if _PlaceholderUnpickler is None:
        class PlaceholderUnpickler(pickle.Unpickler):
            def __init__(self, data, buffers, values):
                super().__init__(data, buffers=buffers)
                self._values = values

            def persistent_load(self, number):
                return self._values[number]

        _PlaceholderUnpickler = PlaceholderUnpickler
    return _PlaceholderUnpickler


_PlaceholderUnpickler = None


def is_exact(value):
    """Whether a value that has a JSON form is the very same after a way through JSON."""
    remaining = [value]
    for part in remaining:
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
            remaining.extend([item for item in items if type(item) in _CONTAINERS])
    return True


def _header(tag, parts):
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
