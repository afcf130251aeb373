"""How functions' values become bytes, and whether a call gives a coroutine.

docs/internals/wire-protocol.md has the format, under "Functions". The Python package has this very file as
`axion._packing`. It imports nothing of either side: the caller passes the functions that pickle values and read JSON.

The bytes may come from a worker that user code has broken. Every count and size is checked against the bytes that are
there before anything is made of them, so a reader takes memory in proportion to its input (L8, L9).
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
_DESCRIPTION = 1 + 1 + 8  # bytes before a description: the tag, whether it is JSON, its size
_HEADER = 1 + 4  # bytes before the sizes of parts: the tag and their number
_MAX_DEPTH = 8  # values within values; the engine nests a list, a description and a packed value
_CO_COROUTINE = 0x80
_EXACT = frozenset((type(None), bool, int, float, str))
_CONTAINERS = frozenset((list, dict))


class PackingError(ValueError):
    """Bytes that are not a packed value."""


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


def unpack(raw, loads, read_json, depth=0):
    """The value. Its large buffers stay where they are, in `raw`. `read_json` reads JSON in bytes.

    Raises:
        PackingError: the bytes are not a value; what `loads` and `read_json` raise comes as it is.
    """
    if not len(raw):
        raise PackingError("a value of 0 bytes")
    if depth > _MAX_DEPTH:
        raise PackingError("a value within more than %d others" % _MAX_DEPTH)
    first = raw[0]
    if first == _PICKLE:
        return loads(raw)
    if first == _WITH_BUFFERS:
        data, buffers = _split_first(raw)
        return loads(data, buffers=buffers)
    if first == _DESCRIBED:
        return unpack(_behind_description(raw), loads, read_json, depth + 1)
    if first == _LIST:
        return [unpack(part, loads, read_json, depth + 1) for part in _parts(raw)]
    return read_json(bytes(raw))


def unpack_arguments(raw, pickle, read_json):
    """The arguments of a step, with their placeholders replaced by the values. Each value is unpacked once.

    Raises:
        PackingError: as `unpack`.
    """
    if raw[:1] != bytes((_WITH_VALUES,)):
        return unpack(raw, pickle.loads, read_json)
    data, parts = _split_first(raw)
    values = [unpack(part, pickle.loads, read_json) for part in parts]
    buffers = ()
    if data[:1] == bytes((_WITH_BUFFERS,)):
        data, buffers = _split_first(data)
    return _placeholder_unpickler(pickle)(BytesIO(data), buffers, values).load()


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


def _behind_description(raw):
    raw = memoryview(raw)
    end = _DESCRIPTION + int.from_bytes(raw[2:_DESCRIPTION], "little")
    if end >= len(raw):
        raise PackingError("a description that ends at byte %d of %d" % (end, len(raw)))
    return raw[end:]


def _split_first(raw):
    """The first of the parts, and an iterator over the others."""
    parts = _parts(raw)
    for first in parts:
        return first, parts
    raise PackingError("a value of 0 parts")


def _parts(raw):
    """Checks the header, then yields the parts one by one: a view of each, made when it is needed."""
    from struct import iter_unpack  # which `pickle` has loaded: a worker does not import it at its start

    raw = memoryview(raw)
    size = len(raw)
    count = int.from_bytes(raw[1:_HEADER], "little")
    start = _HEADER + 8 * count
    if start > size:
        raise PackingError("a header of %d parts takes %d bytes, the value has %d" % (count, start, size))
    sizes = raw[_HEADER:start]
    total = sum(part for part, in iter_unpack("<Q", sizes))
    if start + total != size:
        raise PackingError("%d parts of %d bytes in a value of %d bytes" % (count, total, size))
    return _views(raw, start, iter_unpack("<Q", sizes))


def _views(raw, at, sizes):
    for size, in sizes:
        yield raw[at:at + size]
        at += size
