"""Named tasks that depend on each other's results, within limits on what runs at one time.

    from multiprocessing import Process
    from threading import Thread
    from axion.scheduler import scheduled_task, task_scheduler

    one = scheduled_task(Process, "one", pow, (2, 5))
    two = scheduled_task(Thread, "two", print, (one.return_value,), continual=True)
    tables = task_scheduler((one, two), processes=2, threads=2)

A task whose argument is another task's `return_value` starts when that task has succeeded, and is cancelled if it
fails. Tasks run in the engine's workers: a task that crashes its worker affects no other task.
"""

import concurrent.futures
import datetime
import heapq
import logging
import queue
import sys
import threading
import traceback
from collections import deque, namedtuple
from multiprocessing.process import BaseProcess

from ._engine import Engine, EngineConfig
from ._executor import _SHOWN, _processors
from ._future import show_output

_MESSAGE = "%r has been canceled"
_logger = logging.getLogger("axion")


class _Console(logging.StreamHandler):
    """Shows the log of a scheduler whose program has set up no logging: on what is standard error at that time."""

    def __init__(self):
        logging.Handler.__init__(self)

    @property
    def stream(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return sys.stderr


_console = _Console()
_console.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] [%(name)s:%(process)d:%(thread)d] - %(message)s"))

SchedulerResult = namedtuple("SchedulerResult", "execution_time elapsed_time raise_exception return_value")
SchedulerResult.__doc__ = """Four tables by task name, in the order in which the tasks were started or cancelled: when
that was (datetime), how many seconds each ran (those that ran), what it raised (`RaiseException`), and what it returned
(those with `continual=True`)."""

# What a task uses of the limits while it runs, and the limits themselves.
_Use = namedtuple("_Use", "processes threads processor memory")


class Table(dict):
    """A dict with one line for each task in its representation."""

    def __repr__(self):
        lines = ("    %r: %r,\n" % item for item in self.items())
        return "{\n%s}" % "".join(lines) if self else "{}"


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


class Reference:
    """The result of a task, as an argument of another: also a part of it (`r["key"]`), an attribute (`r.name`), or what
    it returns when it is called (`r(1)`)."""

    __slots__ = ("_task", "_path")

    def __init__(self, task, path=()):
        self._task, self._path = task, path

    def __getitem__(self, key):
        return Reference(self._task, (*self._path, lambda value: value[key]))

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)  # of a protocol, such as that of pickle
        return Reference(self._task, (*self._path, lambda value: getattr(value, name)))

    def __call__(self, *args, **kwargs):
        return Reference(self._task, (*self._path, lambda value: value(*args, **kwargs)))

    __iter__ = None  # else `__getitem__` makes it endless

    def __repr__(self):
        return "<the return value of %r>" % self._task.name


class ScheduledTask:
    """A task that `scheduled_task` made. `return_value` stands for its result in the arguments of other tasks."""

    def __init__(self, name, fn, args, kwargs, *, thread, needs, use, priority, continual):
        self.name, self.fn, self.args, self.kwargs = name, fn, args, kwargs
        self.thread, self.use, self.priority, self.continual = thread, use, priority, continual
        self.return_value = Reference(self)
        found = _referred((args, kwargs))
        self.has_references = bool(found)
        self.needs = list(dict.fromkeys([*needs, *found]))

    def __repr__(self):
        return "<ScheduledTask %r>" % self.name


def scheduled_task(executor, name, target, args=(), kwargs=None, *, dependencies=(), priority=5, processes=0, threads=0,
                   system_processor=0.0, system_memory=0.0, continual=False):
    """A task for `task_scheduler`.

    Args:
        executor: the class `multiprocessing.Process` or `threading.Thread`: a worker process of its own, or a thread of
            a worker that runs several.
        name: its name in the tables.
        target, args, kwargs: the call; an argument may be the `return_value` of another task, also within
            lists, tuples and dicts.
        dependencies: tasks that have to succeed first, besides those whose results are among the arguments.
        priority: 0 (the most urgent) to 9. Among equals, tasks start in the given order.
        processes, threads: how many of the limits it uses besides its own process or thread.
        system_processor, system_memory: its estimated use, in percent.
        continual: whether its result is kept for the table `return_value`.

    Raises:
        TypeError: the executor is no such class, or a dependency is no task.
        ValueError: a number is out of its range.
    """
    is_class = isinstance(executor, type)
    if not (is_class and issubclass(executor, (BaseProcess, threading.Thread))):
        raise TypeError("executor is multiprocessing.Process or threading.Thread, not %r" % (executor,))
    thread = issubclass(executor, threading.Thread)
    if priority not in range(10):
        raise ValueError("priority is 0 (the most urgent) to 9, not %r" % (priority,))
    use = _use(processes, threads, system_processor, system_memory)
    use = use._replace(threads=threads + 1) if thread else use._replace(processes=processes + 1)
    for needed in dependencies:
        if not isinstance(needed, ScheduledTask):
            raise TypeError("dependencies are tasks that scheduled_task made, not %r" % (needed,))
    return ScheduledTask(name, target, tuple(args), dict(kwargs or {}), thread=thread, needs=dependencies, use=use,
                         priority=priority, continual=continual)


def task_scheduler(tasks, processes=None, threads=None, system_processor=100.0, system_memory=100.0, engine=None):
    """Runs tasks. Each starts when its dependencies have succeeded and the limits allow it, in the given order.

    What a task prints is printed here when it has ended. The log goes to the logger `axion`, or to standard error if
    the program has set up no logging.

    Args:
        tasks: made by `scheduled_task`.
        processes, threads: how many may run at one time; None: the number of processors.
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
    known = set(tasks)
    for task in tasks:
        for needed in task.needs:
            if needed not in known:
                raise ValueError("%r depends on %r, which is not among the tasks" % (task.name, needed.name))
    limits = _use(_processors() if processes is None else processes, _processors() if threads is None else threads,
                  system_processor, system_memory)
    if engine is not None:
        return _Run(engine, tasks, limits).run()
    # No more workers than there are tasks for.
    of_threads = sum(task.thread for task in tasks)
    cpu, io = min(limits.processes, len(tasks) - of_threads), min(limits.threads, of_threads)
    config = EngineConfig(cpu_bound_count=cpu, cpu_bound_max=max(cpu, 1), io_bound_count=min(io, 1), io_bound_max=1,
                          io_bound_task_limit=max(io, 1), autoscaler="off", **_SHOWN)
    with Engine(config) as engine:
        return _Run(engine, tasks, limits).run()


class _Run:
    """One run of a scheduler. Each event costs as much as it makes start or end, not as much as there are tasks."""

    def __init__(self, engine, tasks, limits):
        self._shows_output = not engine._shows_output
        self._options = {True: engine.options(kind="io"), False: engine.options(kind="cpu")}
        self._limits, self._used = limits, _Use(0, 0, 0, 0)
        self._tasks = tasks
        self._place = {task: place for place, task in enumerate(tasks)}
        self._missing = {task: len(task.needs) for task in tasks}
        self._dependents = {task: [] for task in tasks}
        for task in tasks:
            for needed in task.needs:
                self._dependents[needed].append(task)
        self._ready = {}  # by use: heaps of (priority, place, task)
        self._doomed = deque()  # tasks of which a dependency did not succeed
        self._ended = queue.SimpleQueue()
        self._running, self._values = {}, {}
        self._tables = SchedulerResult(Table(), Table(), Table(), Table())

    def run(self):
        for task in self._tasks:
            if not self._cancel_impossible(task) and not task.needs:
                self._make_ready(task)
        try:
            self._start()
            while self._running:
                for future in self._taken():
                    self._end(future, self._running.pop(future))
                self._start()
        except BaseException:
            for future in self._running:
                future.kill()
            raise
        return self._tables_in_order()

    def _taken(self):
        """The futures that have ended, by the order of the start of their tasks."""
        ended = {self._ended.get()}
        while not self._ended.empty():
            ended.add(self._ended.get())
        return [future for future in self._running if future in ended] if len(ended) > 1 else list(ended)

    def _tables_in_order(self):
        order = self._tables.execution_time
        return SchedulerResult(*(Table((name, table[name]) for name in order if name in table)
                                 for table in self._tables))

    # What can start.

    def _make_ready(self, task):
        heapq.heappush(self._ready.setdefault(task.use, []), (task.priority, self._place[task], task))

    def _start(self):
        """Starts what the limits allow, then cancels what can no longer start."""
        while True:
            fitting = [use for use in self._ready if not any(_excess(self._sum(use), self._limits))]
            if not fitting:
                break
            use = min(fitting, key=lambda use: self._ready[use][0])
            *_, task = heapq.heappop(self._ready[use])
            if not self._ready[use]:
                del self._ready[use]
            self._begin(task)
        while self._doomed:
            task = self._doomed.popleft()
            names = tuple(needed.name for needed in task.needs if needed.name in self._tables.raise_exception)
            words = ", ".join(map(repr, names))
            self._cancel(task, DependencyError(_MESSAGE % task.name, names), "task%s %s" % ("s"[:len(names) > 1], words))

    def _sum(self, use, sign=1):
        """What is used with this use added; rounded to hide the error of binary fractions."""
        return _Use(*(round(used + sign * more, 9) for used, more in zip(self._used, use)))

    def _begin(self, task):
        self._tables.execution_time[task.name] = datetime.datetime.now()
        args, kwargs = task.args, task.kwargs
        try:
            if task.has_references:
                args, kwargs = _resolved((args, kwargs), self._values, {})
            future = self._options[task.thread].submit(task.fn, *args, **kwargs)
        except Exception as error:
            _log(logging.ERROR, "%r did not start - %r", task.name, error)
            self._fail(task, error, "".join(traceback.format_exception(type(error), error, error.__traceback__)))
            return
        self._running[future] = task
        self._used = self._sum(task.use)
        future.add_done_callback(self._ended.put)

    # What has ended, or never starts.

    def _end(self, future, task):
        self._used = self._sum(task.use, -1)
        record = future.record
        words = "%r ended" % task.name
        if record is not None:
            if self._shows_output:
                show_output(record)
            if record.attempt is not None:
                self._tables.elapsed_time[task.name] = record.duration
                words = "%r ran approximately %s" % (task.name, _time(record.duration))
        try:
            error = future.exception()
        except concurrent.futures.CancelledError as cancelled:
            error = cancelled
        if error is not None:
            _log(logging.ERROR, "%s - %r", words, error)
            self._fail(task, error, (record.traceback or record.post_mortem if record is not None else None) or "")
            return
        _log(logging.INFO, "%s", words)
        self._values[task] = value = future.result()
        if task.continual:
            self._tables.return_value[task.name] = value
        for dependent in self._dependents[task]:
            self._missing[dependent] -= 1
            if not self._missing[dependent]:
                self._make_ready(dependent)

    def _cancel_impossible(self, task):
        excess = _excess(task.use, self._limits)
        workers, resources = excess[:2], excess[2:]
        message = _MESSAGE % task.name
        if any(resources):
            self._cancel(task, ResourceError(message, resources + workers), _lack(*excess))
        elif any(workers):
            self._cancel(task, WorkerError(message, workers), _lack(*excess))
        return any(excess)

    def _cancel(self, task, error, reason):
        self._tables.execution_time[task.name] = datetime.datetime.now()
        _log(logging.WARNING, "%r is being canceled, due to %s", task.name, reason)
        self._fail(task, error, "")

    def _fail(self, task, error, remote):
        self._tables.raise_exception[task.name] = RaiseException(error, remote)
        for dependent in self._dependents[task]:
            if self._missing[dependent] > 0:
                self._missing[dependent] = 0  # nothing that succeeds makes it ready
                if dependent.name not in self._tables.raise_exception:
                    self._doomed.append(dependent)


def _use(processes, threads, processor, memory):
    for name, number in (("processes", processes), ("threads", threads)):
        if type(number) is not int or number < 0:
            raise ValueError("%s is a whole number from 0 on, not %r" % (name, number))
    for name, number in (("system_processor", processor), ("system_memory", memory)):
        if not isinstance(number, (int, float)) or not 0 <= number < float("inf"):
            raise ValueError("%s is a percentage from 0 on, not %r" % (name, number))
    return _Use(processes, threads, processor, memory)


def _excess(use, limits):
    """What a use has beyond the limits; rounded to hide the error of binary fractions."""
    return tuple(round(need - limit, 9) if need > limit else 0 for need, limit in zip(use, limits))


def _lack(processes, threads, processor, memory):
    """The words for an excess: "lack of 2.6% CPU and 9.7% RAM"."""
    words = ["%g%% %s" % (number, of) for number, of in ((processor, "CPU"), (memory, "RAM")) if number]
    words += ["%d %s" % (number, one if number == 1 else many)
              for number, one, many in ((processes, "process", "processes"), (threads, "thread", "threads")) if number]
    return "lack of %s" % " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _time(seconds):
    """A time as a whole number, in the largest unit that leaves it three digits."""
    for unit, size in (("seconds", 1.0), ("milliseconds", 1e-3), ("microseconds", 1e-6)):
        if seconds >= 100 * size:
            return "%.0f %s" % (seconds / size, unit)
    return "%.0f nanoseconds" % (seconds * 1e9)


def _log(level, message, *args):
    """Logs by the program's own set-up of logging. Without one, the console shows what the documentation shows."""
    at, is_set_up = _logger, False
    while at is not None and not is_set_up:
        is_set_up = any(not isinstance(handler, logging.NullHandler) for handler in at.handlers)
        at = at.parent if at.propagate else None
    if is_set_up or _logger.level:
        _logger.log(level, message, *args)
    else:
        _console.handle(_logger.makeRecord(_logger.name, level, __file__, 0, message, args, None))


def _referred(value):
    """The tasks to whose results a value refers, in the order of its parts."""
    found, seen, left = {}, set(), [value]
    while left:
        part = left.pop()
        if type(part) is Reference:
            found[part._task] = None
        elif type(part) in (list, tuple, dict) and id(part) not in seen:
            seen.add(id(part))
            left += reversed(list(part.values() if type(part) is dict else part))
    return list(found)


def _resolved(value, values, memo):
    """A copy with the results in place of the references. `memo` has the copies of the parts so far."""
    if type(value) is Reference:
        result = values[value._task]
        for step in value._path:
            result = step(result)
        return result
    if id(value) in memo:
        return memo[id(value)]
    if type(value) is list:
        memo[id(value)] = copy = []
        copy.extend(_resolved(part, values, memo) for part in value)
        return copy
    if type(value) is tuple:
        return tuple(_resolved(part, values, memo) for part in value)
    if type(value) is dict:
        memo[id(value)] = copy = {}
        copy.update((key, _resolved(part, values, memo)) for key, part in value.items())
        return copy
    return value
