"""Named tasks that depend on each other's results, within limits on what runs at one time.

    from axion.scheduler import scheduled_task, task_scheduler

    one = scheduled_task("process", "one", pow, (2, 5))
    two = scheduled_task("thread", "two", print, (one.return_value,), continual=True)
    tables = task_scheduler((one, two), processes=2, threads=2)

A task whose argument is another task's `return_value` starts when that task has succeeded, and is cancelled if it
fails. Tasks run in the engine's workers: a task that crashes its worker affects no other task.
"""

import concurrent.futures
import datetime
import logging
from collections import namedtuple

from ._engine import Engine

_log = logging.getLogger("axion.scheduler")

SchedulerResult = namedtuple("SchedulerResult", "execution_time elapsed_time raise_exception return_value")
SchedulerResult.__doc__ = """Four tables by task name: when a task was started or cancelled (datetime), how many seconds
it ran (those that ran), what it raised (`RaiseException`), and what it returned (those with `continual=True`)."""


class RaiseException(namedtuple("RaiseException", "exception traceback")):
    """An exception and its traceback as text; shown as the exception."""

    __slots__ = ()

    def __repr__(self):
        return repr(self.exception)


class WorkerError(RuntimeError):
    """A task needs more processes or threads than the limit: `(message, (processes, threads))`, the excess."""


class ResourceError(RuntimeError):
    """A task is estimated to need more than the limit:
    `(message, (processor %, memory %, processes, threads))`, the excess."""


class DependencyError(RuntimeError):
    """A task depends on tasks that did not succeed: `(message, names)`."""


class Reference(namedtuple("Reference", "task")):
    """The result of a task, as an argument of another."""

    __slots__ = ()


class ScheduledTask:
    """A task that `scheduled_task` made. `return_value` stands for its result in the arguments of other tasks."""

    def __init__(self, kind, name, fn, args, kwargs, continual, units, processor, memory):
        self.kind, self.name, self.fn, self.args, self.kwargs = kind, name, fn, tuple(args), dict(kwargs or {})
        self.continual, self.units, self.processor, self.memory = continual, units, processor, memory
        self.return_value = Reference(self)
        self.needs = []
        _references((self.args, self.kwargs), self.needs)

    def __repr__(self):
        return "<ScheduledTask %r>" % self.name


def scheduled_task(kind, name, target, args=(), kwargs=None, *, continual=False, processes=1, threads=1,
                   system_processor=0.0, system_memory=0.0):
    """A task for `task_scheduler`.

    Args:
        kind: "process" or "thread", or the class `multiprocessing.Process` or `threading.Thread`.
        name: its name in the tables.
        target, args, kwargs: the call; an argument may be the `return_value` of another task, also within
            lists, tuples and dicts.
        continual: whether its result is kept for the table `return_value`.
        processes, threads: how many of the limit it uses while it runs.
        system_processor, system_memory: its estimated use, in percent.
    """
    kind = {"Process": "process", "Thread": "thread"}.get(getattr(kind, "__name__", ""), kind)
    if kind not in ("process", "thread"):
        raise ValueError("kind is \"process\" or \"thread\", not %r" % (kind,))
    units = processes if kind == "process" else threads
    return ScheduledTask(kind, name, target, args, kwargs, continual, units, system_processor, system_memory)


def task_scheduler(tasks, processes=1, threads=1, system_processor=100.0, system_memory=100.0, engine=None):
    """Runs tasks. Each starts when its dependencies have succeeded and the limits allow it, in the given order.

    Args:
        tasks: made by `scheduled_task`.
        processes, threads: how many may run at one time.
        system_processor, system_memory: the limit on the summed estimates of the running tasks, in percent.
        engine: the engine that runs them; None: a new one.

    Returns:
        A `SchedulerResult`.
    Raises:
        ValueError: two tasks have one name, or a task depends on a task that is not among them.
    """
    tasks = list(tasks)
    if len({task.name for task in tasks}) != len(tasks):
        raise ValueError("two tasks have the same name")
    for task in tasks:
        for needed in task.needs:
            if not any(needed is other for other in tasks):
                raise ValueError("%r depends on %r, which is not among the tasks" % (task.name, needed.name))
    limits = {"process": processes, "thread": threads, "processor": system_processor, "memory": system_memory}
    if engine is not None:
        return _Run(engine, tasks, limits).run()
    with Engine(cpu_bound_count=processes, cpu_bound_max=max(processes, 1), io_bound_count=1, io_bound_max=1,
                io_bound_task_limit=max(threads, 1), autoscaler="off") as engine:
        return _Run(engine, tasks, limits).run()


class _Run:
    def __init__(self, engine, tasks, limits):
        self._options = {"process": engine.options(kind="cpu"), "thread": engine.options(kind="io")}
        self._waiting, self._limits = tasks, limits
        self._used = dict.fromkeys(limits, 0)
        self._running, self._values = {}, {}
        self._tables = SchedulerResult({}, {}, {}, {})

    def run(self):
        for task in list(self._waiting):
            self._cancel_impossible(task)
        while self._waiting or self._running:
            self._start()
            if self._running:
                done, _ = concurrent.futures.wait(self._running, None, concurrent.futures.FIRST_COMPLETED)
                for future in sorted(done, key=lambda future: self._running[future].name):
                    self._ended(future, self._running.pop(future))
        return self._tables

    def _cancel_impossible(self, task):
        excess = {name: _excess(need, self._limits[name]) for name, need in _needs(task).items()}
        workers = excess.get("process", 0), excess.get("thread", 0)
        resources = excess["processor"], excess["memory"]
        message = "%r has been canceled" % task.name
        if any(resources):
            self._cancel(task, ResourceError(message, resources + workers))
        elif any(workers):
            self._cancel(task, WorkerError(message, workers))

    def _start(self):
        for task in list(self._waiting):
            failed = tuple(needed.name for needed in task.needs if needed.name in self._tables.raise_exception)
            if failed:
                self._cancel(task, DependencyError("%r has been canceled" % task.name, failed))
        for task in list(self._waiting):
            ready = all(needed.name in self._values for needed in task.needs)
            needs = _needs(task)
            if ready and all(self._used[name] + need <= self._limits[name] for name, need in needs.items()):
                self._waiting.remove(task)
                self._tables.execution_time[task.name] = datetime.datetime.now()
                try:
                    args, kwargs = self._resolved((task.args, task.kwargs))
                    future = self._options[task.kind].submit(task.fn, *args, **kwargs)
                except Exception as error:
                    self._raised(task, error)
                    return self._start()
                self._running[future] = task
                for name, need in needs.items():
                    self._used[name] += need

    def _resolved(self, value):
        if type(value) is Reference:
            return self._values[value.task.name]
        if type(value) in (list, tuple):
            return type(value)(map(self._resolved, value))
        if type(value) is dict:
            return {key: self._resolved(part) for key, part in value.items()}
        return value

    def _ended(self, future, task):
        for name, need in _needs(task).items():
            self._used[name] -= need
        if future.record is not None:
            self._tables.elapsed_time[task.name] = future.record.duration
        try:
            value = future.result()
        except BaseException as error:
            self._raised(task, error)
            return
        _log.info("%r ran %.6f s", task.name, self._tables.elapsed_time.get(task.name, 0.0))
        self._values[task.name] = value
        if task.continual:
            self._tables.return_value[task.name] = value

    def _cancel(self, task, error):
        self._waiting.remove(task)
        self._tables.execution_time[task.name] = datetime.datetime.now()
        self._raised(task, error)

    def _raised(self, task, error):
        _log.warning("%r: %r", task.name, error)
        traceback = getattr(error, "traceback", None) or str(error.__cause__ or "")
        self._tables.raise_exception[task.name] = RaiseException(error, traceback)


def _needs(task):
    return {task.kind: task.units, "processor": task.processor, "memory": task.memory}


def _excess(need, limit):
    """The excess over the limit, rounded to hide the error of binary fractions; 0 if there is none."""
    return round(need - limit, 9) if need > limit else 0


def _references(value, found):
    if type(value) is Reference:
        found.append(value.task)
    elif type(value) in (list, tuple):
        for part in value:
            _references(part, found)
    elif type(value) is dict:
        _references(list(value.values()), found)
