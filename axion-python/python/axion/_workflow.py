"""Workflows: tasks that wait for each other and hand their results on."""

import concurrent.futures
import json
import os

from . import _axion
from ._future import Future, why
from .errors import (EngineError, FlowError, SubmitError, TaskCancelled, TaskError, WorkflowFailed, refused,
                     refused_workflow)

_STEP = frozenset(("run_if", "when", "map_over", "dynamic", "keep_result"))


_NAMED = 5  # failures named in the words of an error


class Ref:
    """In the parameters of a task of a workflow: the result of the step of this name, or the part of it that `path`
    leads to, such as `rows[0].id`. The task waits for that step. Beside a Ref, `{"$ref": "STEP"}` is one, too.

        Task.create("load.py", params={"first": Ref("extract", "rows[0]")}, name="load")
    """

    __slots__ = ("step", "path")

    def __init__(self, step, path=""):
        self.step = getattr(step, "name", None) or step
        self.path = path
        if not isinstance(self.step, str):
            raise TypeError("a Ref names a step: %r has no name" % (step,))

    def __repr__(self):
        return "Ref(%r, %r)" % (self.step, self.path)

    def _as_json(self):
        return {"$ref": self.step, "path": self.path} if self.path else {"$ref": self.step}


def chain(*blocks):
    """Tasks one after the other, each waiting for the one before; a list among them is a group, which runs side by side.
    Returns the tasks, for `submit_workflow`.

        chain(extract, [clean, count], report)
    """
    tasks, before = [], ()
    for block in blocks:
        group = list(block) if isinstance(block, (list, tuple)) else [block]
        for task in group:
            task.dependencies.extend(other.id for other in before if other.id not in task.dependencies)
        tasks += group
        before = group or before
    return tasks


def _default(value):
    if isinstance(value, Ref):
        return value._as_json()
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def _has_ref(value):
    if isinstance(value, Ref):
        return True
    if isinstance(value, dict):
        return any(map(_has_ref, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_ref, value))


def split_options(options):
    """The options of a step, and those of its task."""
    rules = {key: options[key] for key in options if key in _STEP}
    return rules, {key: options[key] for key in options if key not in _STEP}


def native_rules(task):
    """What a task asks for as a step; None if nothing."""
    asked = dict(task._rules)
    if isinstance(task.params, dict) and _has_ref(task.params):
        asked["params"] = task.params
    if not asked:
        return None
    try:
        return _axion.Rules(json.dumps(asked, default=_default, allow_nan=False))
    except (ValueError, TypeError) as error:
        raise SubmitError("%s: %s" % (task.name or task.id, error), "step_options") from None


def steps_of(tasks):
    """The tasks as the native engine takes them."""
    return [(task.id, task.name, os.fspath(task.script_path), _payload(task), task._native, native_rules(task),
             [_dependency(task, other) for other in task.dependencies]) for task in tasks]


def _payload(task):
    return b"{}" if isinstance(task.params, dict) and _has_ref(task.params) else task._payload()


def _dependency(task, other):
    found = other if isinstance(other, str) else getattr(other, "task_id", None) or getattr(other, "id", None)
    if not isinstance(found, str):
        raise SubmitError("%s: a dependency is a task, its id, or the name of a step, not %r" %
                          (task.name or task.id, other), "unknown_dependency")
    return found


def settings(options):
    """What is said of the whole workflow, as the native engine takes it."""
    options = {key: value for key, value in options.items() if value is not None}
    try:
        return json.dumps({"upstream": "both", **options}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SubmitError("the options have no JSON form: %s" % error, "workflow_options") from None


class Workflow(Future):
    """A submitted workflow: a future of its results, and a list of its tasks' ids.

    `result()` gives the results of the steps that no other step waits for, by name or id, or raises `WorkflowFailed`, or
    `CancelledError` if it was cancelled. `engine.get_result(id)` gives that of each step, as of any task;
    `workflow["name"]` is the id of a named one. `record` is, once all have ended, how; `status()` is where they stand.
    """

    def __init__(self, engine, titles=()):
        super().__init__(engine)
        self.id = None
        self._name(titles)

    def _name(self, titles):
        self._ids = [task_id for _, task_id in titles]
        self._names = {name: task_id for name, task_id in titles if name is not None}

    # The ids of its tasks.

    def __iter__(self):
        return iter(self._ids)

    def __len__(self):
        return len(self._ids)

    def __getitem__(self, key):
        return self._names[key] if isinstance(key, str) else self._ids[key]

    def __contains__(self, key):
        return key in self._names or key in self._ids

    def __repr__(self):
        return "<Workflow %s, %d steps, %s>" % (self.id, len(self._ids), self._state.lower())

    # What becomes of it.

    def wait(self, timeout=None):
        """Waits until every step has ended, or for `timeout` seconds; True if they have. Raises nothing."""
        done, _ = concurrent.futures.wait((self,), timeout)
        return bool(done)

    def cancel(self):
        """Ends it: what has not started never will, what runs is asked to stop and killed after `cancel_grace`. True
        if it had not ended. Returns at once; `wait` waits for the end."""
        if self.done() or self.id is None:
            return self.cancelled()
        try:
            return self._engine._native.cancel_workflow(self.id)
        except RuntimeError:
            return False

    kill = cancel

    def status(self):
        """Where it stands: `state`, `counts`, and `steps` with the state, times, attempts, and result or error of each,
        as `axion flow run --output json` tells of them at the end."""
        found = self.record
        if found is None:
            try:
                found = self._engine._running_native().workflow(self.id)
            except RuntimeError as error:
                raise refused(error) from None
        if found is None:
            raise EngineError("nothing is known of this workflow any more", "result_unknown")
        return json.loads(found.to_json())

    def _resolve(self, data, record):
        try:
            if type(record) is not _axion.WorkflowRecord:
                self.set_exception(why(record))
                return
            self.record = record
            if record.state == "cancelled":
                concurrent.futures.Future.cancel(self)
                self.set_running_or_notify_cancel()
                return
            try:
                results = results_of(record)
            except TaskError as error:
                self.set_exception(error)
            else:
                self.set_result(results)
        except concurrent.futures.InvalidStateError:
            pass  # somebody has resolved it, as after a fork


def results_of(record):
    """The results of a workflow that has ended; raises if it did not succeed."""
    if record.state == "succeeded":
        return {title: json.loads(text) for title, text in record.results()}
    if record.state == "cancelled":
        raise TaskCancelled("the workflow was cancelled", "workflow_cancelled")
    failures = record.failures()
    words = "; ".join("%s %s: %s" % (title, state, words) for title, state, _, words in failures[:_NAMED])
    if len(failures) > _NAMED:
        words += "; and %d more" % (len(failures) - _NAMED)
    raise WorkflowFailed(words, tuple(failures))


def submit(engine, native, workflow, tasks, options, completions, number):
    """Hands tasks in as a workflow; `workflow` is to have its id."""
    for task in tasks:
        if not hasattr(task, "_rules"):
            raise TypeError("the steps of a workflow are axion.Tasks, which run scripts: %r is none" % (task,))
    try:
        workflow.id = native.submit_workflow(steps_of(tasks), settings(options), completions, number)
    except ValueError as error:
        raise SubmitError(str(error), "workflow_options") from None
    except RuntimeError as error:
        raise refused_workflow(error) from None


def submit_flow(native, workflow, path, params, changes, completions, number):
    """The same from a file."""
    params = None if params is None else json.dumps(params, allow_nan=False)
    changes = ["%s=%s" % (key, json.dumps(value, allow_nan=False)) for key, value in (changes or {}).items()]
    try:
        workflow.id, titles = native.submit_flow(os.fspath(path), params, changes, completions, number)
    except ValueError as error:
        raise FlowError(*error.args) from None
    except RuntimeError as error:
        raise refused_workflow(error) from None
    workflow._name(titles)
