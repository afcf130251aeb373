"""`Engine.map` and `starmap`: lazy, ahead by a bounded number, in chunks by measured time."""

import time

import helpers
import pytest

from axion import _map
from axion._map import next_size


def messages(engine):
    return engine.get_status()["components"]["input_queue"]["metrics"]["total_put"]


def test_a_chunk_fills_some_milliseconds_and_grows_step_by_step():
    assert [next_size(1, seconds) for seconds in (0, 1e-6, 0.002, 0.01, 0.02, 0.5)] == [16, 16, 10, 2, 1, 1]
    assert [next_size(100, seconds) for seconds in (0, 0.001, 0.01, 0.04, 10)] == [1600, 1600, 200, 50, 1]
    assert next_size(5000, 1e-6) == 10_000


def test_a_hundred_thousand_calls_are_few_messages(engine, monkeypatch):
    # Of a microsecond each, whatever this machine takes.
    monkeypatch.setattr(_map, "next_size", lambda items, seconds: next_size(items, items / 1e6))
    before = messages(engine)
    assert list(engine.map(abs, range(-100_000, 0), look_ahead=6)) == list(range(100_000, 0, -1))
    # Six each of 1, 16, 256 and 4096, and of 10,000 the rest.
    assert messages(engine) - before == 4 * 6 + 8


def test_chunks_are_made_by_the_time_that_they_take(engine):
    before = messages(engine)
    assert len(list(engine.map(time.sleep, [0.05] * 8))) == 8
    assert messages(engine) - before == 8
    assert list(engine.map(abs, range(-10_000, 0))) == list(range(10_000, 0, -1))
    assert messages(engine) - before < 8 + 5_000


def test_an_endless_input_is_read_only_as_far_as_needed(engine):
    taken = []

    def numbers():
        while True:
            taken.append(None)
            yield len(taken)

    results = engine.map(helpers.double, numbers(), chunksize=2, look_ahead=3)
    assert [next(results) for _ in range(5)] == [2, 4, 6, 8, 10]
    assert len(taken) <= 2 * (3 + 3)
    results.close()
    assert list(results) == []


def test_starmap_and_several_iterables(engine):
    assert list(engine.starmap(helpers.add, [(1, 2), (3, 4)])) == [3, 7]
    assert list(engine.map(helpers.add, [1, 3, 5], [2, 4])) == [3, 7]


def test_as_they_come(engine, gate):
    slow = engine.map(lambda n, path: helpers.at_gate(path, n) if n == 0 else n, range(4), [gate.path] * 4,
                      ordered=False, chunksize=1)
    first = next(slow)
    gate.open()
    assert first != 0 and {first, *slow} == {0, 1, 2, 3}


def test_coroutines_of_a_chunk_wait_together(engine):
    assert list(engine.map(helpers.meet, [10] * 10, range(10), chunksize=10)) == list(range(10))


def test_an_exception_ends_it(engine):
    results = engine.map(divmod, [1, 1, 1], [1, 0, 1], chunksize=1)
    assert next(results) == (1, 0)
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize("ordered", [True, False])
def test_no_result_in_time(engine, gate, ordered):
    with pytest.raises(TimeoutError):
        list(engine.map(helpers.at_gate, [gate.path], timeout=0.1, ordered=ordered))
    gate.open()


def test_progress_is_shown_on_standard_error(engine, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    assert list(engine.map(helpers.double, range(5), progress=True)) == [0, 2, 4, 6, 8]
    assert "5 done" in capsys.readouterr().err


@pytest.mark.parametrize("call, total", [
    (lambda engine: engine.map(helpers.double, range(50), progress=True), "50/50"),
    (lambda engine: engine.map(helpers.add, range(70), range(60), progress=True), "60/60"),
    (lambda engine: engine.starmap(helpers.add, [(1, 2)] * 8, progress=True), "8/8"),
    (lambda engine: engine.map(helpers.double, (n for n in range(9)), progress=True), "9it")])
def test_progress_is_shown_by_tqdm_where_it_is(engine, capsys, call, total):
    pytest.importorskip("tqdm")
    list(call(engine))
    assert total in capsys.readouterr().err
