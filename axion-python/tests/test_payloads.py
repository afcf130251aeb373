"""What a worker sends may be broken or unusual: the caller gets a typed error, or the task's own exception."""

import array
import io
import tracemalloc

import helpers
import pytest

import axion
from axion import _axion, _code, _future

HEAD = b"\1\xff\xff\xff\xff"
FORGED = {
    "nothing": b"",
    "2^32 buffers in 6 bytes": HEAD + b"\0",
    "2^32 values in a list": b"\3" + HEAD[1:],
    "a buffer of 2^64 bytes": b"\1\2\0\0\0" + (4).to_bytes(8, "little") + b"\xff" * 8 + b"\x80\x05N.",
    "a description of 2^64 bytes": b"\2\0" + b"\xff" * 8,
    "a list within itself": b"\3\1\0\0\0" + (1).to_bytes(8, "little") + b"\3",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_result_is_a_typed_error_and_takes_no_memory(name):
    tracemalloc.start()
    try:
        with pytest.raises(axion.TaskError, match="the result cannot be read: .*[0-9]") as caught:
            _code.unpack(FORGED[name])
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert caught.value.code == "result_unreadable"


@pytest.mark.parametrize("kind", ["cpu", "io"])
def test_the_caller_of_a_worker_that_forges_its_result_gets_the_error(engine, kind):
    options = engine.options(kind=kind)
    for name in ("2^32 buffers in 6 bytes", "a description of 2^64 bytes"):
        with pytest.raises(axion.TaskError) as caught:
            options.submit(helpers.forge, FORGED[name]).result(helpers.LONG)
        assert caught.value.code == "result_unreadable"
        future = options.submit(helpers.forge, FORGED[name])
        future.add_done_callback(lambda _: None)  # it is resolved by the thread of the results
        assert future.exception(helpers.LONG).code == "result_unreadable"
    assert options.submit(helpers.add, 1, 2).result(helpers.LONG) == 3


@pytest.mark.parametrize("kind", [helpers.Frozen, helpers.Falsy])
def test_a_frozen_or_falsy_exception_arrives_as_itself(engine, kind):
    for looked_at in (False, True):
        future = engine.submit(helpers.fail_as, kind, "why")
        if looked_at:
            future.add_done_callback(lambda _: None)
        with pytest.raises(kind) as caught:
            future.result(helpers.LONG)
        assert caught.value.args == ("why",)
        assert "in fail_as" in str(caught.value.__cause__)
        assert type(future.exception()) is kind


def test_a_frozen_exception_of_the_callers_own_program_arrives_as_itself(engine):
    import dataclasses

    @dataclasses.dataclass(frozen=True)
    class Local(Exception):
        number: int

    def fail():
        raise Local(7)

    with pytest.raises(Exception) as caught:
        engine.submit(fail).result(helpers.LONG)
    assert (type(caught.value).__name__, caught.value.number) == ("Local", 7)


def test_output_that_the_callers_encoding_does_not_have_is_shown_as_escapes(monkeypatch):
    class Record:
        stdout, stderr = "20 °C\n", "\ud800 é\n"

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for encoding in ("ascii", "latin-1"))
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    _future.show_output(Record)
    assert (out.buffer.getvalue(), err.buffer.getvalue()) == (b"20 \\xb0C\n", b"\\ud800 \xe9\n")


def test_parts_and_fingerprints_are_hashes_of_the_bytes_whatever_buffer_has_them():
    for size in (0, 100, 1 << 16, 3 << 20):
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        numbers = array.array("d", data[:size // 8 * 8])
        assert _axion.fingerprint(data) == _axion.fingerprint(bytearray(data)) == _axion.fingerprint(memoryview(data))
        assert _axion.fingerprint(numbers) == _axion.fingerprint(numbers.tobytes())
        assert _axion.fingerprint(data) != _axion.fingerprint(data + b"1")
        part = _axion.Part(numbers)
        assert (part.id, len(part)) == (_axion.Part(numbers.tobytes()).id, len(numbers) * 8)
        assert part.id != _axion.Part(data + b"1").id
    assert len(part.id) == 16
    with pytest.raises(BufferError):
        _axion.fingerprint(memoryview(b"abcdef")[::2])


def test_a_part_that_does_not_fit_into_a_frame_is_refused(engine):
    part = _axion.Part(bytes(65 << 20))
    with pytest.raises(RuntimeError) as caught:
        function = _axion.Function("f", b"code", [_axion.Part(b"small"), part])
        engine._native.submit(function, b"", _axion.Options(), _axion.Completions(), 1, 0)
    assert caught.value.args[0] == "part_too_large" and part.id.hex() in caught.value.args[1]
