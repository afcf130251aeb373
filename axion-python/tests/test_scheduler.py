"""The scheduler with the shape of the older `parallelism` (C3)."""

import os
import sys
import time
from multiprocessing import Process
from threading import Thread

import helpers
import pytest

import axion
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
    assert order[:2] == ["p1", "p2"] and order[-2:] == ["p4", "t4"]
    assert all(order.index("t%d" % n) > order.index("p%d" % n) for n in (1, 2, 3, 4))


def test_c3_2_the_second_session():
    p1 = scheduled_task(Process, "p1", divided, (5, 2))
    p2 = scheduled_task(Process, "p2", divided, (6, 0))
    p3 = scheduled_task(Process, "p3", divided, (6, 0), processes=3)
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
    assert list(s1.raise_exception)[:2] == ["p3", "p4"], "before anything starts"


def test_c3_3_where_the_older_one_hung(engine):
    tasks = [scheduled_task("process", "dies", os._exit, (3,)), scheduled_task("thread", "leaves", sys.exit, (3,)),
             scheduled_task("process", "stubborn", helpers.fail_stubbornly),
             scheduled_task("process", "both", same, (1,), processes=9, system_memory=200),
             scheduled_task("process", "unpicklable", same, ((n for n in ()),)),
             scheduled_task("process", "fine", same, (1,), continual=True)]
    tables = task_scheduler(tasks, processes=2, threads=1, engine=engine)
    kinds = {name: type(it.exception) for name, it in tables.raise_exception.items()}
    assert kinds == {"dies": axion.WorkerLost, "leaves": axion.RemoteError, "stubborn": axion.RemoteError,
                     "both": ResourceError, "unpicklable": axion.SubmitError}
    assert tables.raise_exception["both"].exception.args[1] == (0, 100.0, 7, 0)
    assert tables.return_value == {"fine": 1}


def span():
    begun = time.monotonic()
    time.sleep(0.1)
    return begun, time.monotonic()


def test_c3_4_limits_hold_among_those_that_run_at_one_time(engine, gate):
    def tasks(percent, fn, *args):
        return [scheduled_task("thread", str(n), fn, args, continual=True, system_processor=percent) for n in range(2)]

    engine.submit(span).result()
    spans = sorted(task_scheduler(tasks(60.5, span), threads=2, engine=engine).return_value.values())
    assert spans[0][1] <= spans[1][0]
    opens = Thread(target=lambda: (gate.begun(), gate.begun(), gate.open(2)), daemon=True)
    opens.start()
    values = task_scheduler(tasks(50, helpers.at_gate, gate.path, "met"), threads=2, engine=engine).return_value
    opens.join()
    assert values == {"0": "met", "1": "met"}


def test_what_makes_no_sense_is_refused():
    one = scheduled_task("process", "one", same, (1,))
    with pytest.raises(ValueError, match="same name"):
        task_scheduler([one, scheduled_task("process", "one", same, (1,))])
    with pytest.raises(ValueError, match="not among the tasks"):
        task_scheduler([scheduled_task("process", "two", same, ([one.return_value],))])
    with pytest.raises(ValueError, match="kind is"):
        scheduled_task("fiber", "three", same)
    assert RaiseException(KeyError(1), "text").traceback == "text"
