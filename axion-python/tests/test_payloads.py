"""What a worker sends may be broken or unusual: the caller gets a typed error, or the task's own exception."""

import array
import gc
import io
import os
import time
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


def test_a_part_above_the_payload_limit_is_refused():
    part = _axion.Part(bytes(2 << 20))
    function = _axion.Function("f", b"code", [_axion.Part(b"small"), part])
    with axion.Engine(cpu_bound_count=1, io_bound_count=0, payload_limit="1 MiB") as engine:
        with pytest.raises(RuntimeError) as caught:
            engine._native.submit(function, b"", _axion.Options(), _axion.Completions(), 1, 0)
    assert caught.value.args[0] == "part_too_large" and part.id.hex() in caught.value.args[1]


LARGE = 3 << 20


def shared_payloads():
    """The number of descriptors of shared payloads that this process has."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            count += "axion-payload" in os.readlink("/proc/self/fd/" + fd)
        except OSError:
            pass
    return count


def wait_until(condition):
    deadline = time.monotonic() + helpers.LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["cpu", "io"])
def test_large_buffers_are_writable_on_both_sides_and_belong_to_one(engine, kind):
    numpy = pytest.importorskip("numpy")
    numbers = numpy.arange(LARGE, dtype=numpy.uint8)
    options = engine.options(kind=kind)
    futures = [options.submit(helpers.add_one, numbers) for _ in range(4)]
    for future in futures:
        result = future.result(helpers.LONG)
        assert (result == numbers + 1).all() and numbers[0] == 0
        result[:] = 7
        assert (future.result()[:9] == 7).all()
    assert engine.submit(helpers.same, bytes(LARGE)).result(helpers.LONG) == bytes(LARGE)


def test_a_result_that_is_read_twice_is_not_what_another_reader_wrote():
    numpy = pytest.importorskip("numpy")
    with axion.Engine(cpu_bound_count=1, io_bound_count=0) as engine:
        future = engine.submit(helpers.add_one, numpy.zeros(LARGE, numpy.uint8))
        future.result(helpers.LONG)[:] = 9
        completions = _axion.Completions()
        for _ in range(2):
            awaited = engine._native.follow(future.task_id, completions, 1)
            (_, data, _), = completions.wait(helpers.LONG)
            result = _code.unpack(data)
            assert (result == 1).all()
            result[:] = 9
            del awaited


def test_l9_nothing_is_left_of_large_payloads_also_after_kills():
    with axion.Engine(cpu_bound_count=2, io_bound_count=0, output_queue_size=1) as engine:
        before = shared_payloads()
        data = bytes(LARGE)
        for _ in range(3):
            futures = [engine.submit(helpers.same, data) for _ in range(4)]
            futures += [engine.options(max_worker_losses=0).submit(helpers.die, data) for _ in range(2)]
            futures += [engine.options(timeout=0.01).submit(helpers.sleep_with, data) for _ in range(2)]
            for future in futures:
                future.exception(helpers.LONG)
        del future, futures
        assert engine.submit(helpers.double, 1).result(helpers.LONG) == 2  # the one record that is kept
        gc.collect()
        wait_until(lambda: shared_payloads() <= before)


@pytest.mark.parametrize("how", ["unsealed", "short", "sparse", "no memory", "none", "too few pieces"])
def test_l8_a_forged_large_result_ends_its_worker_alone(how):
    with axion.Engine(cpu_bound_count=2, cpu_bound_max=2, io_bound_count=0) as engine:
        with pytest.raises(axion.WorkerLost) as caught:
            engine.options(max_worker_losses=0).submit(helpers.forge_large, how).result(helpers.LONG)
        assert "payload of 3145728 bytes" in str(caught.value)
        for _ in range(3):
            assert engine.submit(helpers.same, bytes(LARGE)).result(helpers.LONG) == bytes(LARGE)


FEW_DESCRIPTORS = """
import os, resource
import axion, helpers

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    data = bytes(2 << 20)
    with axion.Engine(cpu_bound_count=2, io_bound_count=0) as engine:
        # More at a time than there are descriptors for.
        futures = [engine.submit(helpers.same, data) for _ in range(60)]
        assert all(future.result(60) == data for future in futures)
        del futures
        engine.submit(helpers.double, 1).result(60)
        held = []
        while True:
            try:
                held.append(os.dup(0))
            except OSError:
                break
        # None is left: the arguments travel in frames, the results take the spare one.
        for _ in range(3):
            assert engine.submit(helpers.same, data).result(60) == data
    print("done")
"""


def test_l9_without_descriptors_large_payloads_travel_all_the_same(tmp_path):
    assert helpers.run_program(FEW_DESCRIPTORS, tmp_path, env={"PYTHONPATH": os.path.dirname(__file__)}).strip() == "done"


LARGE_GLOBAL = """
import os, time
import numpy
import axion

def use(_):
    time.sleep(0.1)
    return os.getpid(), int(numbers.sum())

def memory():
    own = str(os.getpid())
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as stat, open("/proc/%s/smaps_rollup" % pid) as maps:
                if own in (pid, stat.read().rpartition(")")[2].split()[1]):
                    total += sum(int(line.split()[1]) << 10 for line in maps if line.startswith("Pss:"))
        except OSError:
            pass
    return total

if __name__ == "__main__":
    numbers = numpy.ones(200_000_000, numpy.uint8)
    with axion.Executor(4) as executor:
        list(executor.map(use, range(8)))
        numbers = numpy.full(200_000_000, 2, numpy.uint8)
        before = memory()
        found = list(executor.map(use, range(16)))
        print({total for _, total in found}, (memory() - before) / numbers.nbytes)
"""


def test_a_large_global_is_in_memory_once_for_all_workers(tmp_path):
    pytest.importorskip("numpy")
    totals, growth = helpers.run_program(LARGE_GLOBAL, tmp_path).split()
    assert totals == "{400000000}" and float(growth) < 1.5


@pytest.mark.parametrize("delay", [0.01, 0.03, 0.1, 0.3])
def test_l1_l2_a_kill_around_a_large_result_loses_the_attempt_or_nothing(delay):
    with axion.Engine(cpu_bound_count=2, cpu_bound_max=2, io_bound_count=0) as engine:
        futures = [engine.options(timeout=delay).submit(bytes, 40 << 20) for _ in range(4)]
        for future in futures:
            error = future.exception(helpers.LONG)
            assert isinstance(error, TimeoutError) or len(future.result()) == 40 << 20
        assert engine.submit(helpers.same, bytes(LARGE)).result(helpers.LONG) == bytes(LARGE)


def test_an_array_that_cannot_be_written_to_is_sent_once_to_each_worker():
    numpy = pytest.importorskip("numpy")
    shared = numpy.arange(1_000_000).reshape(1000, 1000).T
    shared.flags.writeable = False
    own = numpy.arange(1_000_000)

    def look(a, b):
        return int(a[3, 5]), int(b[7]), a.flags.writeable, b.flags.writeable, a.flags.f_contiguous

    with axion.Executor(1, input_queue_bytes="64 MiB", payload_limit="32 MiB") as executor:
        results = [executor.submit(look, shared, own) for _ in range(5)]
        assert [it.result() for it in results] == [(5003, 7, False, True, True)] * 5
        # Its bytes count once: hundreds of tasks wait in a queue that has room for a few arrays.
        waiting = [executor.submit(look, a=shared, b=(n,) * 8) for n in range(200)]
        with pytest.raises(AttributeError):
            waiting[0].result()


def test_a_changed_array_is_sent_again():
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(500_000)
    view = array.view()
    view.flags.writeable = False
    with axion.Executor(1) as executor:
        assert executor.submit(numpy.sum, view).result() == 0.0
        array[0] = 5
        assert executor.submit(numpy.sum, view).result() == 5.0
