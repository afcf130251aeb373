"""The scheduler with the shape of the older `parallelism` (C3)."""

import datetime
import logging
import os
import re
import sys
import threading
import time
from multiprocessing import Process
from threading import Thread

import helpers
import pytest

import axion
import axion.scheduler
from axion.scheduler import (DependencyError, RaiseException, ResourceError, WorkerError, scheduled_task,
                             task_scheduler)


def sum_of_three(a, b, c):
    return a + b + c


def same(x):
    return x


def divided(a, b):
    return a / b


def test_c3_1_the_first_session():
    p1 = scheduled_task(Process, "p1", sum_of_three, args=(1, 2, 3), continual=True)
    p2 = scheduled_task(Process, "p2", sum_of_three, args=(4, 5, 6), continual=True)
    p3 = scheduled_task(Process, "p3", sum_of_three, args=(7, 8, 9), continual=True)
    t1 = scheduled_task(Thread, "t1", same, kwargs={"x": p1.return_value}, continual=True)
    t2 = scheduled_task(Thread, "t2", same, kwargs={"x": p2.return_value}, continual=True)
    t3 = scheduled_task(Thread, "t3", same, kwargs={"x": p3.return_value}, continual=True)
    p4 = scheduled_task(Process, "p4", sum_of_three, args=(t1.return_value, t2.return_value, t3.return_value),
                        continual=True)
    t4 = scheduled_task(Thread, "t4", same, kwargs={"x": p4.return_value}, continual=True)
    s1 = task_scheduler(tasks=(p1, p2, p3, t1, t2, t3, p4, t4), processes=2, threads=2)
    assert s1.return_value == {"p1": 6, "p2": 15, "p3": 24, "t1": 6, "t2": 15, "t3": 24, "p4": 45, "t4": 45}
    assert s1.raise_exception == {} and set(s1.elapsed_time) == set(s1.execution_time) == set(s1.return_value)
    order = list(s1.execution_time)
    assert order == sorted(order, key=s1.execution_time.get)
    assert list(s1.elapsed_time) == list(s1.return_value) == order
    assert order[:2] == ["p1", "p2"] and order[-2:] == ["p4", "t4"]
    assert all(order.index("t%d" % n) > order.index("p%d" % n) for n in (1, 2, 3, 4))


def test_c3_2_the_second_session():
    p1 = scheduled_task(Process, "p1", divided, (5, 2))
    p2 = scheduled_task(Process, "p2", divided, (6, 0))
    p3 = scheduled_task(Process, "p3", divided, (6, 0), processes=2)
    p4 = scheduled_task(Process, "p4", divided, (6, 0), system_processor=12.6, system_memory=34.7)
    p5 = scheduled_task(Process, "p5", divided, (7, 2))
    t1 = scheduled_task(Thread, "t1", same, (p1.return_value,), continual=True)
    t2 = scheduled_task(Thread, "t2", same, (p2.return_value,), continual=True)
    t3 = scheduled_task(Thread, "t3", same, (p3.return_value,), continual=True)
    t4 = scheduled_task(Thread, "t4", same, (p4.return_value,), continual=True)
    t5 = scheduled_task(Thread, "t5", same, (p5.return_value,), continual=True)
    s1 = task_scheduler(tasks=(p1, p2, p3, p4, p5, t1, t2, t3, t4, t5), processes=2, threads=2, system_processor=10,
                        system_memory=25)
    assert s1.return_value == {"t1": 2.5, "t5": 3.5}
    assert set(s1.elapsed_time) == {"p1", "p2", "p5", "t1", "t5"}
    assert set(s1.execution_time) == {"p1", "p2", "p3", "p4", "p5", "t1", "t2", "t3", "t4", "t5"}
    raised = {name: (type(it.exception), it.exception.args) for name, it in s1.raise_exception.items()}
    assert raised == {
        "p3": (WorkerError, ("'p3' has been canceled", (1, 0))),
        "p4": (ResourceError, ("'p4' has been canceled", (2.6, 9.7, 0, 0))),
        "p2": (ZeroDivisionError, ("division by zero",)),
        "t2": (DependencyError, ("'t2' has been canceled", ("p2",))),
        "t3": (DependencyError, ("'t3' has been canceled", ("p3",))),
        "t4": (DependencyError, ("'t4' has been canceled", ("p4",))),
    }
    assert "in divided" in s1.raise_exception["p2"].traceback
    assert repr(s1.raise_exception["p2"]) == "ZeroDivisionError('division by zero')"
    order = list(s1.execution_time)
    assert order[:6] == ["p3", "p4", "p1", "p2", "t3", "t4"], "what is impossible first, then what starts"
    assert all(list(table) == [name for name in order if name in table] for table in s1)


def test_c3_3_where_the_older_one_hung(engine):
    tasks = [scheduled_task(Process, "dies", os._exit, (3,)), scheduled_task(Thread, "leaves", sys.exit, (3,)),
             scheduled_task(Process, "stubborn", helpers.fail_stubbornly),
             scheduled_task(Process, "both", same, (1,), processes=9, system_memory=200),
             scheduled_task(Process, "unpicklable", same, ((n for n in ()),)),
             scheduled_task(Process, "fine", same, (1,), continual=True)]
    tables = task_scheduler(tasks, processes=2, threads=1, engine=engine)
    kinds = {name: type(it.exception) for name, it in tables.raise_exception.items()}
    assert kinds == {"dies": axion.WorkerLost, "leaves": axion.RemoteError, "stubborn": axion.RemoteError,
                     "both": ResourceError, "unpicklable": axion.SubmitError}
    assert tables.raise_exception["both"].exception.args[1] == (0, 100.0, 8, 0)
    assert tables.return_value == {"fine": 1}
    assert "generator" in tables.raise_exception["unpicklable"].traceback
    assert set(tables.elapsed_time) == {"dies", "leaves", "stubborn", "fine"}


def test_c5_many_tasks_that_cannot_be_sent_are_errors(engine):
    tasks = [scheduled_task(Process, str(n), same, ((n for n in ()),)) for n in range(1000)]
    last = scheduled_task(Process, "last", same, dependencies=tasks)
    tables = task_scheduler([*tasks, last], engine=engine)
    assert {type(it.exception) for it in tables.raise_exception.values()} == {axion.SubmitError, DependencyError}
    assert len(tables.raise_exception["last"].exception.args[1]) == 1000


def test_c5_a_chain_of_tasks_is_cancelled_to_its_end(engine):
    tasks = [scheduled_task(Process, "0", divided, (1, 0))]
    for n in range(1, 2000):
        tasks.append(scheduled_task(Process, str(n), same, (tasks[-1].return_value,)))
    tables = task_scheduler(tasks, engine=engine)
    _, *cancelled = tables.raise_exception.values()
    assert [it.exception.args[1] for it in cancelled] == [(str(n),) for n in range(1999)]


class Instant:
    """Stands for an engine whose tasks end at once. Counts what the scheduler asks of it."""

    _shows_output = True

    def options(self, **_):
        return self

    def submit(self, fn, *args):
        future = axion.Future()
        future.set_result(fn(*args))
        return future


def test_c5_the_work_is_linear_in_the_number_of_tasks():
    """By the lines of Python that it executes, which no other load on the machine changes."""
    def lines(number):
        tasks = [scheduled_task(Process, "0", same, (0,))]
        for n in range(1, number):
            tasks.append(scheduled_task(Process, str(n), same, (n,), dependencies=[tasks[n // 2]]))
        counted = 0

        def count(frame, event, argument):
            nonlocal counted
            counted += event == "line"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            tables = task_scheduler(tasks, processes=4, engine=Instant())
        finally:
            sys.settrace(before)
        assert len(tables.execution_time) == number
        return counted

    assert lines(2000) < 12 * lines(200)


def span():
    begun = time.monotonic()
    time.sleep(0.1)
    return begun, time.monotonic()


def test_c3_4_limits_hold_among_those_that_run_at_one_time(engine, gate):
    def tasks(percent, fn, *args):
        return [scheduled_task(Thread, str(n), fn, args, continual=True, system_processor=percent) for n in range(2)]

    engine.submit(span).result()
    spans = sorted(task_scheduler(tasks(60.5, span), threads=2, engine=engine).return_value.values())
    assert spans[0][1] <= spans[1][0]
    opens = Thread(target=lambda: (gate.begun(), gate.begun(), gate.open(2)), daemon=True)
    opens.start()
    values = task_scheduler(tasks(50, helpers.at_gate, gate.path, "met"), threads=2, engine=engine).return_value
    opens.join()
    assert values == {"0": "met", "1": "met"}


def test_c4_all_arguments_by_name_and_the_limits_of_the_machine(engine):
    one = scheduled_task(executor=Process, name="one", target=divided, args=(1, 2), kwargs=None, dependencies=(),
                         priority=0, processes=0, threads=0, system_processor=0, system_memory=0, continual=True)
    two = scheduled_task(executor=Thread, name="two", target=same, kwargs={"x": 2}, dependencies=[one], continual=True)
    many = [scheduled_task(Process, "many", same, (1,), processes=10 ** 6),
            scheduled_task(Thread, "threads", same, (1,), threads=10 ** 6)]
    tables = task_scheduler(tasks=[two, one, *many])
    assert list(tables.execution_time) == ["many", "threads", "one", "two"]
    assert tables.return_value == {"one": 0.5, "two": 2}
    processors = len(os.sched_getaffinity(0))
    assert tables.raise_exception["many"].exception.args[1] == (10 ** 6 + 1 - processors, 0)
    assert tables.raise_exception["threads"].exception.args[1] == (0, 10 ** 6 + 1 - processors)
    assert repr(tables.return_value) == "{\n    'one': 0.5,\n    'two': 2,\n}" and repr(tables.elapsed_time) != "{}"


def test_c4_the_more_urgent_start_first(engine):
    tasks = [scheduled_task(Process, str(n), same, (n,), priority=9 - n) for n in range(5)]
    order = list(task_scheduler(tasks, processes=1, engine=engine).execution_time)
    assert order == ["4", "3", "2", "1", "0"]


def numbers():
    return {"a": [1, 2], "day": datetime.date(2000, 2, 3)}


def test_c4_an_argument_may_be_a_part_of_a_result(engine):
    one = scheduled_task(Process, "one", numbers)
    found = one.return_value
    itself = [found["a"][1]]
    itself.append(itself)
    tasks = [one, scheduled_task(Process, "item", same, ([found["a"][1]],), continual=True),
             scheduled_task(Process, "call", same, ({"when": found["day"].replace(month=5).year},), continual=True),
             scheduled_task(Process, "cycle", len, (itself,), continual=True),
             scheduled_task(Process, "missing", same, (found["b"],))]
    assert tasks[1].needs == [one] and repr(found) == "<the return value of 'one'>"
    tables = task_scheduler(tasks, processes=2, engine=engine)
    assert tables.return_value == {"item": [2], "call": {"when": 2000}, "cycle": 2}
    assert repr(tables.raise_exception["missing"]) == "KeyError('b')"
    with pytest.raises(TypeError, match="iter"):
        iter(found)


def shouting(text):
    print(text)
    print(text.upper(), file=sys.stderr)


LINE = r"%s \[%s\] \[axion:%d:%d\] - %s" % (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", "%s", os.getpid(),
                                        threading.get_ident(), "%s")


def test_c4_without_logging_the_console_has_the_log_and_the_prints(engine, capsys, monkeypatch):
    for logger in (logging.getLogger(), logging.getLogger("axion")):  # pytest has its own handlers
        monkeypatch.setattr(logger, "handlers", [logging.NullHandler()])
    tasks = [scheduled_task(Process, "says", shouting, ("hello",)), scheduled_task(Process, "fails", divided, (1, 0)),
             scheduled_task(Thread, "two", same, (1,), threads=3, processes=5, system_memory=101.5),
             scheduled_task(Thread, "after", same)]
    tasks.append(scheduled_task(Thread, "both", same, dependencies=[tasks[2], tasks[1]]))
    task_scheduler(tasks, processes=1, threads=1, engine=engine)
    out, err = capsys.readouterr()
    assert out == "hello\n"
    lines = err.splitlines()
    ran = r"ran approximately \d+ (nano|micro|milli)?seconds"
    for number, (level, words) in enumerate((
            ("WARNING", "'two' is being canceled, due to lack of 1.5% RAM, 4 processes and 3 threads"),
            ("WARNING", "'both' is being canceled, due to task 'two'"))):
        assert re.fullmatch(LINE % (level, re.escape(words)), lines[number]), err
    assert lines.index("HELLO") + 1 == [bool(re.fullmatch(LINE % ("INFO", "'says' " + ran), line))
                                        for line in lines].index(True)
    failed = "'fails' " + ran + r" - ZeroDivisionError\('division by zero'\)"
    assert any(re.fullmatch(LINE % ("ERROR", failed), line) for line in lines), err


def test_c4_with_logging_the_programs_handlers_have_the_log(engine, caplog, capsys):
    with caplog.at_level(logging.INFO, "axion"):
        task_scheduler([scheduled_task(Process, "says", same, (1,))], engine=engine)
    ran = [(it.name, it.levelname) for it in caplog.records if it.getMessage().startswith("'says' ran approximately ")]
    assert ran == [("axion", "INFO")] and "says" not in capsys.readouterr().err


@pytest.mark.parametrize("seconds, words", [(0.0, "0 nanoseconds"), (2.5e-5, "25000 nanoseconds"),
                                            (1.2345e-3, "1234 microseconds"), (2.5, "2500 milliseconds"),
                                            (1234.4, "1234 seconds")])
def test_c4_a_time_has_three_digits_where_it_can(seconds, words):
    assert axion.scheduler._time(seconds) == words


def test_what_makes_no_sense_is_refused():
    one = scheduled_task(Process, "one", same, (1,))
    with pytest.raises(ValueError, match="same name"):
        task_scheduler([one, scheduled_task(Process, "one", same, (1,))])
    with pytest.raises(ValueError, match="not among the tasks"):
        task_scheduler([scheduled_task(Process, "two", same, ([one.return_value],))])
    for executor in ("process", int, print, None):
        with pytest.raises(TypeError, match="executor is"):
            scheduled_task(executor, "three", same)
    for wrong in ({"priority": 10}, {"processes": -1}, {"threads": 1.5}, {"system_memory": -1}, {"system_processor": "1"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            scheduled_task(Process, "four", same, **wrong)
    with pytest.raises(TypeError, match="dependencies"):
        scheduled_task(Process, "five", same, dependencies=["one"])
    with pytest.raises(ValueError, match="processes"):
        task_scheduler([one], processes=-1)
    assert RaiseException(KeyError(1), "text").traceback == "text"
