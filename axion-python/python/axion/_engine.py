"""The engine."""

import concurrent.futures
import contextlib
import json
import os
import sys
import threading
import time
import weakref

from . import _axion, _future, _log
from ._byte_code import byte_code
from ._code import Coder, Packed, named, pack
from ._cpython import at_thread_exit
from ._future import Future, Inbox, failure_reason
from ._guards import check_start
from ._options import make_options, pool_options
from ._packing import CALL, EACH, EACH_OF_ONE, STEP, is_async
from ._step import Step
from ._surroundings import Surroundings, interpreter_arguments
from ._status import ComponentStatus, Health, HealthReport
from ._task import Result, Task
from .errors import AxionError, ConfigError, EngineError, refused

_NOW, _SHORTLY, _WAIT = 0, 1, 2  # in a full queue: refuse, refuse after a short wait, wait for room
_PLAIN = _axion.Options()
_PLAIN_IO = _axion.Options(kind="io")
_NO_LIMIT = 1e6  # seconds


class EngineConfig:
    """Settings of an engine, by name: `axion.config_keys()` lists them, docs/reference/configuration.md says more.

    A time is a number of seconds or a text such as "1.5 s", a size a number of bytes or a text such as "64 MiB";
    None is what is right for the machine. The workers' interpreter is the one that runs this, unless `python` is
    given.

    Raises:
        ConfigError: there is no such setting (it names the nearest), or it takes no such value.
    """

    def __init__(self, **keys):
        self._read(keys)
        self._keys = keys

    @classmethod
    def from_environment(cls, file=None, **keys):
        """Reads `axion.toml` (or `file`) and the `AXION_*` variables. `keys` take precedence."""
        config = cls.__new__(cls)
        config._keys = keys
        config._read(keys, True, file)
        return config

    def _read(self, keys, environment=False, file=None):
        try:
            self._native = _axion.Config(keys, environment, file)
            self._names_python = self._native.get("python") is not None
            if not self._names_python and sys.executable:
                self._native = _axion.Config({"python": sys.executable, **keys}, environment, file)
        except KeyError as error:
            raise ConfigError(error.args[0], "config") from None
        except (ValueError, TypeError) as error:
            raise ConfigError(str(error), "config") from None

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._native.get(name)
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __repr__(self):
        return "EngineConfig(%s)" % ", ".join("%s=%r" % item for item in self._keys.items())


class Options:
    """An engine with options for the tasks submitted through it: see `Engine.options`."""

    def __init__(self, engine, native, wait=_WAIT):
        self._engine = engine
        self._native = native
        self._wait = wait

    def submit(self, fn, /, *args, **kwargs):
        """As `Engine.submit`."""
        return self._engine._submit(self._engine._call, fn, pack(args, kwargs, fn), self._native, self._wait)

    def map(self, fn, *iterables, **how):
        """As `Engine.map`."""
        from ._map import Map, length

        if len(iterables) == 1:
            return Map(self._engine, self._native, fn, None, iterables[0], **how)
        return Map(self._engine, self._native, fn, zip(*iterables), total=length(iterables), **how)

    def starmap(self, fn, iterable, **how):
        """As `Engine.starmap`."""
        from ._map import Map, length

        return Map(self._engine, self._native, fn, iterable, total=length([iterable]), **how)

    async def run(self, fn, /, *args, **kwargs):
        """As `Engine.run`."""
        from ._aio import run

        return await run(self._engine, self._native, fn, args, kwargs)

    def amap(self, fn, *iterables, **how):
        """As `Engine.amap`."""
        from ._aio import amap

        return amap(self._engine, self._native, fn, iterables, **how)


class Engine:
    """Runs functions and scripts in supervised worker processes.

    Use it as a context manager, or call `start` and `shutdown`. Threads may share it. Every accepted task ends in
    exactly one result or error, even if its worker dies.

    Args:
        config: an `EngineConfig`; or give its keys: `Engine(cpu_bound_count=4)`.
        wait: whether `start` waits until the workers that the engine always keeps are ready.
        main: "run": each worker executes the program's file as `__mp_main__` before its first function, as the spawned
            processes of `multiprocessing` do. The program then needs the guard `if __name__ == "__main__":`.
    """

    _finishes_at_exit = _shows_output = False

    def __init__(self, config=None, *, wait=False, main=None, **keys):
        if config is not None and keys:
            raise TypeError("give an EngineConfig or its keys, not both")
        self.config = config if config is not None else EngineConfig(**keys)
        self._native = self._inbox = None
        self._waits = wait
        self._closing = self._forked = False
        self._lock = threading.Lock()
        # For workflows. Two threads may submit the same step. Reentrant: pickling may run code that submits.
        self._planning = threading.RLock()
        self._surroundings = Surroundings(main)
        coders = [Coder(self._surroundings, mode) for mode in (CALL, EACH, EACH_OF_ONE, STEP)]
        self._call, self._each, self._each_of_one, self._step = coders
        self._loops = weakref.WeakKeyDictionary()

    # Start and shutdown.

    def start(self):
        """Starts the engine; its workers start in the background, unless the engine was made with `wait=True`. Returns
        the engine.

        Raises:
            EngineError: the engine was started before (already_started, ENG001), or cannot start (start_failed); with
                `wait=True`, no worker of a pool can start (not_ready), and the engine is shut down again.
            RuntimeError: `multiprocessing` is importing the main module, which lacks its guard.
        """
        with self._lock:
            if self._native is not None:
                raise EngineError("the engine was started before: make another one", "already_started")
            check_start(self.config._names_python)
            self._surroundings.begin()
            inbox = None
            try:
                _log.start(self.config._native)
                # Before the engine: where it needs a descriptor or a thread that the system does not give, no engine is left.
                inbox = Inbox(self._shows_output)
                arguments = interpreter_arguments(self.config.python)
                self._native = _axion.Engine(self.config._native, arguments, byte_code())
            except OSError as error:
                raise EngineError(str(error), "start_failed") from None
            finally:
                if self._native is None and inbox is not None:
                    inbox.close()
            self._inbox = inbox
        _running.add(self)
        if self._waits:
            try:
                self.wait_ready()
            except BaseException:
                self.shutdown(wait=False)
                raise
        return self

    def wait_ready(self, timeout=None):
        """Waits until each pool has its minimum of workers. Tasks are accepted before that, too.

        Returns:
            False if `timeout` seconds have passed first.
        Raises:
            EngineError: no worker of a pool can start (not_ready); the message says why.
        """
        try:
            return self._running_native().wait_ready(timeout)
        except RuntimeError as error:
            raise (error if isinstance(error, AxionError) else refused(error)) from None

    def shutdown(self, wait=True, *, timeout=None):
        """Accepts no more tasks, waits up to `timeout` seconds (None: no limit) for the others, cancels the rest, and
        ends the workers. With `wait=False`, cancels all tasks at once. Can be called again.

        Returns:
            The number of tasks that were cancelled.
        """
        if self._native is None or self._forked:
            return 0
        self._closing = True
        end = None if timeout is None else time.monotonic() + timeout
        left = 0.0
        if wait:
            # Interruptible. Tasks of coroutines have no future here: the engine itself waits for them.
            concurrent.futures.wait(list(self._inbox.futures.values()), timeout)
            if any(inbox.waiting for inbox in self._loops.values()):
                left = _NO_LIMIT if end is None else max(0.0, end - time.monotonic())
        cancelled = self._native.shutdown(left)
        self._inbox.close()
        _log.flush()
        _running.discard(self)
        return cancelled

    def __enter__(self):
        return self.start() if self._native is None else self

    def __exit__(self, kind, error, traceback):
        self.shutdown(wait=kind is None or not issubclass(kind, (KeyboardInterrupt, SystemExit)))

    def __del__(self):
        if getattr(self, "_native", None) is not None and not self._forked and not self._closing:
            self._closing = True
            self._native.shutdown(0.0)
            self._inbox.close()

    def __reduce__(self):
        raise TypeError("an axion.Engine lives in one process and cannot be sent to another: "
                        "inside a task, use the task's own arguments and results")

    def _running_native(self):
        native = self._native
        if native is None:
            raise EngineError("the engine has not been started: call start(), or use it as a context manager",
                              "not_started")
        if self._forked:
            raise EngineError("the engine belongs to the parent process, before the fork: make another one", "forked")
        if self._closing:
            raise EngineError("the engine is shutting down and accepts no more tasks", "shutting_down")
        return native

    # Functions.

    def submit(self, fn, /, *args, **kwargs):
        """Calls `fn(*args, **kwargs)` in a worker. Waits while the queue is full.

        `fn` may be a lambda, a closure, a function of `__main__` or of a notebook, or an `async def` function. The last
        runs in the IO pool, unless `options(kind=…)` says otherwise.

        Returns:
            A `Future`. Its exception is the function's own, with the remote traceback as its cause, or a
            `RemoteError`.
        Raises:
            SubmitError: not_picklable, params_too_large …
            EngineError: not_started (ENG002), shutting_down …
        """
        return self._submit(self._call, fn, pack(args, kwargs, fn), None, _WAIT)

    def options(self, *, wait=True, kind=None, pool=None, **options):
        """The engine with options for its tasks, as in `engine.options(timeout=5, retries=3).submit(fn)`.

        Args:
            kind: "cpu" or "io", the pool of this name; None: "io" for `async def` functions, "cpu" for all others.
            pool: the name of the pool: "cpu", "io", or a pool that the configuration declares (`pools`). Excludes `kind`.
            timeout: the seconds after which an attempt is killed; soft_timeout: after which it gets an exception.
            retries: how often a failed task is run again; retry_on: the error codes for which it is;
                retry_delay, retry_factor, retry_max_delay, retry_jitter: the waits between attempts.
            priority: 0 (the most urgent) to 9.
            ttl: the seconds within which the task has to start; delay: the seconds before which it does not start;
                eta: the `datetime` before which it does not start.
            max_worker_losses: how often the task is run again after its worker died (2).
            unique: a key. While a task with this key is live, a second submit returns the first task's result.
            slots: the slots of its pool that the task takes (1). It runs in one; the others stay idle.
            cpu, memory: your estimate of the share of the machine that it needs, in percent; memory also as "500 MiB".
            concurrency: ("api.example", 2): at most 2 tasks with this key run at a time.
            rate: "10/s" (or /m, /h): the starts of this function, or of `concurrency`'s key; or
                ("api.example", "10/s"): the starts of all tasks with this key.
            wait: whether a submit waits while the queue is full, or raises `SubmitError`.
        """
        # Without a kind, the pool follows from each function.
        if pool is not None:
            made = make_options(**pool_options(kind, pool), **options)
        else:
            made = _OptionsByPool(options) if kind is None else make_options(kind=kind, **options)
        return Options(self, made, _WAIT if wait else _SHORTLY)

    def map(self, fn, *iterables, **how):
        """Calls `fn` on the items of the iterables and yields the results. It takes items as they are needed.

        Keywords:
            chunksize: the items that one task gets; None: enough for some milliseconds, by measured run time.
            ordered: whether results come in the order of the items, or as they finish.
            look_ahead: the chunks in flight; None: a few for each worker.
            timeout: the seconds, from the call of `map`, within which the next result has to come.
            progress: shows a progress bar, by tqdm if it is installed.
        """
        return Options(self, None).map(fn, *iterables, **how)

    def starmap(self, fn, iterable, **how):
        """As `map`, but each item is a tuple of arguments."""
        return Options(self, None).starmap(fn, iterable, **how)

    async def run(self, fn, /, *args, **kwargs):
        """Awaits `fn(*args, **kwargs)` in a worker. Cancelling the await cancels the task."""
        return await Options(self, None).run(fn, *args, **kwargs)

    def amap(self, fn, *iterables, **how):
        """The results of `map` as an asynchronous iterator. Keywords: `ordered`, `look_ahead`."""
        return Options(self, None).amap(fn, *iterables, **how)

    def _submit(self, coder, fn, payload, options, wait, future=None):
        native = self._native if not (self._closing or self._forked) else None
        if native is None:
            native = self._running_native()
        if not callable(fn):
            raise TypeError("%r is not callable" % (fn,))
        if type(options) is not _axion.Options:
            options = native_options(fn, options)
        if type(payload) is Packed:
            work, hold = coder.function_for(fn, payload)
            payload = payload.payload
        else:
            work, hold = coder.function(fn)
        if hold is None:
            return self._enter(native, work, payload, options, wait, future)
        future = future or Future(self)
        future._hold = hold
        held = hold[0] if type(hold) is tuple else hold
        future._reach = None if held is None else held.reach
        return self._enter(native, work, payload, options, wait, future)

    def _enter(self, native, work, payload, options, wait, future=None, task_id=None):
        inbox = self._inbox
        future = future or Future(self)
        number = next(inbox.numbers)
        inbox.futures[number] = future
        try:
            future._number = number
            future.task_id = native.submit(work, payload, options, inbox.completions, number, wait, task_id)
        except BaseException as error:
            inbox.futures.pop(number, None)
            if type(error) is RuntimeError:
                raise named(refused(error)) from None
            raise
        return future

    def _withdraw(self, task_id):
        try:
            return self._native.withdraw(task_id)
        except RuntimeError:
            return False

    # Scripts.

    def submit_task(self, task):
        """Submits a script `Task`, or a `step`; returns its id. One with dependencies, on tasks that the engine knows,
        starts when they have succeeded.

        Raises:
            TaskError: the task was not accepted: queue_full (TASK001), overloaded (TASK002) …
            EngineError: not_started (ENG002), shutting_down …
        """
        native = self._running_native()
        if isinstance(task, Step):
            self.submit_workflow([task])
            return task.id
        if not isinstance(task, Task):
            raise TypeError("submit_task takes an axion.Task or an axion.step; for functions there is submit")
        if task.dependencies or task._rules:
            self.submit_workflow([task])
            return task.id
        self._enter(native, os.fspath(task.script_path), task._payload(), task._native, _SHORTLY, None, task.id)
        return task.id

    def submit_workflow(self, tasks, *, name=None, on_failure=None, stop_running=None, impossible=None, upstream=None,
                        limits=None):
        """Submits steps that depend on each other, in any order: all of them or none.

        A step is a script (`Task`) or a function (`step`). Steps whose results a function takes are submitted with it,
        unless they were submitted before.

        Args:
            name: the name of the workflow.
            on_failure: "continue" (the default) runs every step that still can; "stop" cancels the steps that have not
                started, and with stop_running=True the running ones, too.
            impossible: for a task that needs more than there is: "refuse" the workflow (the default), or "cancel" the
                task.
            upstream: the keys of `params["upstream_results"]` of a script: "both" (the default), "names" or "ids".
            limits: the limits on running steps, as in a flow: {"processes": 2, "cpu": 50.0}.

        Returns:
            A `Workflow`: a future of its results, and a list of the tasks' ids.
        Raises:
            SubmitError: not_picklable, with the name of the step.
            WorkflowRefused: the workflow is invalid: CircularDependency, UnknownDependency …, with every problem.
            EngineError: not_started (ENG002), shutting_down …
        """
        from ._workflow import Workflow, submit

        native = self._running_native()
        options = {"name": name, "on_failure": on_failure, "stop_running": stop_running, "impossible": impossible,
                   "upstream": upstream, "limits": limits}
        workflow = Workflow(self)
        with self._expected(workflow) as number:
            submit(self, native, workflow, tasks, options, self._inbox.completions, number)
        return workflow

    def submit_flow(self, path, params=None, changes=None):
        """Hands in a flow's file (docs/guides/flows.md).

        Args:
            params: other values for the flow's own parameters.
            changes: other values for parameters of steps: {"STEP.KEY": value}.

        Returns:
            A `Workflow`.
        Raises:
            FlowError: the file cannot be read or is invalid. The error has the position of each problem.
            WorkflowRefused: the flow needs something that this engine does not have.
        """
        from ._workflow import Workflow, submit_flow

        native, workflow = self._running_native(), Workflow(self)
        with self._expected(workflow) as number:
            submit_flow(native, workflow, path, params, changes, self._inbox.completions, number)
        return workflow

    async def run_workflow(self, tasks, *, name=None, on_failure=None, stop_running=None, impossible=None, upstream=None,
                           limits=None):
        """Awaits the results of a workflow, as `submit_workflow(…).result()`. Cancelling the await cancels the workflow."""
        from ._aio import run_workflow

        options = {"name": name, "on_failure": on_failure, "stop_running": stop_running, "impossible": impossible,
                   "upstream": upstream, "limits": limits}
        return await run_workflow(self, tasks, options)

    @contextlib.contextmanager
    def _expected(self, future):
        """Registers a future under a number while its workflow is submitted."""
        number = self._inbox.register(future)
        try:
            yield number
        except BaseException:
            self._inbox.futures.pop(number, None)
            raise

    def get_result(self, task_id, timeout=None):
        """Waits for the `Result` of a task, or of a step of a workflow, including one that never runs.

        Returns None after `timeout` seconds. The task goes on, and a later call finds its result.

        Raises:
            EngineError: result_unknown: the task does not exist, or its result was dropped; the message says which.
                engine_stopped: the engine has been shut down. id_invalid: this is no id.
        """
        native = self._native if self._closing else self._running_native()
        try:
            record = self._await_record(native, str(task_id), timeout)
        except RuntimeError as error:
            raise (error if isinstance(error, AxionError) else refused(error)) from None
        if record is None:
            return None
        if type(record) is not _axion.Record:
            raise failure_reason(record)
        return result_of(record)

    def _follow(self, task_id, future):
        """Has a future resolved when a task ends."""
        native = self._native if self._closing else self._running_native()
        try:
            with self._expected(future) as number:
                future._awaited = native.follow(task_id, self._inbox.completions, number)
        except RuntimeError as error:
            raise (error if isinstance(error, AxionError) else refused(error)) from None

    def _await_record(self, native, task_id, timeout):
        """The record of a task, a text that says why there is none, or None if the task has not ended in time."""
        if timeout is not None and timeout <= 0:
            return native.ended(task_id)
        future = _RecordFuture(self)
        with self._inbox.awaiting(future) as number:
            awaited = native.follow(task_id, self._inbox.completions, number)
            try:
                return future.result(timeout)
            except concurrent.futures.TimeoutError:
                return native.ended(task_id)  # the engine's answer takes a moment, too
            finally:
                del awaited  # gives up if the task has not ended (L9)

    def cancel(self, task_id):
        """Cancels a task, by force if necessary. Returns whether it had not ended."""
        try:
            return self._running_native().cancel(str(task_id))
        except RuntimeError as error:
            raise (error if isinstance(error, AxionError) else refused(error)) from None

    # Events.

    def watch(self, kinds=None, *, tasks=None, workflow=None):
        """The events of the engine from now on: a `Watch`, which is an iterator and an async iterator of `Event`s.

        Args:
            kinds: the names of the facts and notices (docs/reference/facts.md), such as "task_finished" or "progress".
            tasks: only those about these tasks: ids, futures or tasks.
            workflow: only those of this `Workflow`, by itself or its id, such as "step_changed".
        """
        from ._watch import Watch

        kinds = {kinds} if isinstance(kinds, str) else kinds and set(kinds)
        if tasks is not None:
            tasks = [tasks] if isinstance(tasks, str) or not hasattr(tasks, "__iter__") else tasks
            tasks = {str(_id_of(task)) for task in tasks}
        workflow = getattr(workflow, "id", workflow)
        try:
            return Watch(self, self._running_native().watch(kinds, tasks, workflow))
        except RuntimeError as error:
            raise (error if isinstance(error, AxionError) else refused(error)) from None

    def on_event(self, callback, kinds=None, *, tasks=None, workflow=None):
        """Calls `callback(event)` for each event that `watch` would give, one after the other in a thread of its own. What
        it raises is logged, and the next event follows.

        Returns:
            The `Watch`. Its `close()` ends the calls.
        """
        from ._watch import call_for_each

        watch = self.watch(kinds, tasks=tasks, workflow=workflow)
        call_for_each(watch, callback)
        return watch

    # Status.

    def get_status(self):
        """How everything is: `engine` with `is_running` and `log_lines_dropped`, and `components` with the `health` and
        `metrics` of each (docs/reference/status.md)."""
        if self._native is None or self._closing or self._forked:
            return {"engine": {"is_running": False}, "components": {}}
        try:
            status, health = json.loads(self._native.status()), json.loads(self._native.health())
        except RuntimeError as error:
            raise refused(error) from None
        status["engine"]["log_lines_dropped"] = _axion.dropped_log_lines()
        status["tasks"] = status["components"].get("tasks")
        status["components"] = health["components"]
        return status

    def get_health(self):
        """The health of the engine: a `HealthReport`."""
        try:
            found = json.loads(self._running_native().health())
        except RuntimeError as error:
            raise (error if isinstance(error, AxionError) else refused(error)) from None
        parts = {name: ComponentStatus.of(part) for name, part in found["components"].items()}
        return HealthReport(Health(found["overall_health"]), found["healthy_count"], found["unhealthy_count"], parts)

    def get_component_status(self, name):
        """The `ComponentStatus` of one component. Its names are the keys of `get_status()["components"]`."""
        parts = self.get_health().components
        if name not in parts:
            raise EngineError("there is no component %r: the engine has %s" % (name, ", ".join(parts)),
                              "unknown_component")
        return parts[name]


def _id_of(task):
    """The id of a future, of a task or step, or itself."""
    return task.task_id if isinstance(task, Future) else getattr(task, "id", task)


class _OptionsByPool:
    """Options whose pool depends on the function."""

    def __init__(self, options):
        self.cpu, self.io = make_options(**options), make_options(kind="io", **options)


def native_options(fn, options):
    """The native options of a function's task."""
    io = is_async(fn)
    if options is None:
        return _PLAIN_IO if io else _PLAIN
    if type(options) is _OptionsByPool:
        return options.io if io else options.cpu
    return options


class _RecordFuture(Future):
    """Resolves to the task's record, or to a text that says why there is none."""

    def _resolve(self, data, record):
        self._finish(record, failure_reason(None) if record is None else None)


def result_of(record):
    """The `Result` of a record."""
    if record.outcome == "succeeded":
        from ._code import unpack

        text = record.json
        data = json.loads(text) if text is not None else unpack(record.pickle)
        return Result(record.task_id, True, data, None, record.duration, record)
    return Result(record.task_id, False, None, failure_reason(record), record.duration, record)


_running = weakref.WeakSet()


def _at_exit():
    """Shuts down every running engine. Executors finish their tasks, as the standard ones do; engines cancel them."""
    for engine in list(_running):
        engine.shutdown(wait=engine._finishes_at_exit)


def _in_forked_child():
    _log.in_forked_child()
    _future.in_forked_child()
    for engine in list(_running):
        engine._forked = True
        engine._inbox.forget_in_child()
    _running.clear()


at_thread_exit(_at_exit)
os.register_at_fork(after_in_child=_in_forked_child)
