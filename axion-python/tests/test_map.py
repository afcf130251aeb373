"""`Engine.map` and `starmap`: lazy, ahead by a bounded number, in chunks by measured time."""

import time

import helpers
import pytest


def test_a_hundred_thousand_calls_are_few_messages(engine):
    before = engine.get_status()["components"]["input_queue"]["metrics"]["total_put"]
    assert list(engine.map(abs, range(-100_000, 0))) == list(range(100_000, 0, -1))
    assert engine.get_status()["components"]["input_queue"]["metrics"]["total_put"] - before < 500


def test_long_calls_are_not_put_together(engine):
    before = engine.get_status()["components"]["input_queue"]["metrics"]["total_put"]
    assert len(list(engine.map(time.sleep, [0.05] * 8))) == 8
    assert engine.get_status()["components"]["input_queue"]["metrics"]["total_put"] - before == 8


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
    begun = time.monotonic()
    assert list(engine.map(helpers.slow_double, range(10), [0.3] * 10, chunksize=10)) == list(range(0, 20, 2))
    assert time.monotonic() - begun < 2


def test_an_exception_ends_it(engine):
    results = engine.map(divmod, [1, 1, 1], [1, 0, 1], chunksize=1)
    assert next(results) == (1, 0)
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_no_result_in_time(engine):
    with pytest.raises(TimeoutError):
        list(engine.map(time.sleep, [2], timeout=0.1))


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
