"""Workflows: tasks that wait for each other and receive each other's results."""

import concurrent.futures
import contextlib
import json
import os
import weakref

from . import _axion
from ._code import Packed, pack_value, target_of, unpack
from ._future import Future, exception_of, failure_reason
from ._mirror import mirror
from ._step import Placeholders, Node, Ref, Step, id_of
from .errors import (EngineError, FlowError, SubmitError, TaskCancelled, WorkflowFailed, refused,
                     refused_workflow)

_MAX_NAMED = 5  # failures that the message of an error names
_MAX_NAME = 180  # characters of a generated name


class Plan:
    """Steps in the form that the native engine takes: the given ones, and those that they refer to."""

    def __init__(self, engine, given):
        self._engine = engine
        self.nodes, self._calls = _flat(given), {}
        self._roots, self._inline = {}, []  # the definitions and functions of all steps: values go between workers
        self._reach = None
        known = {node.id for node in self.nodes}
        # Arguments of one step may become those of another: they keep the identity of what any function reaches.
        self._functions = [node.fn for node in self.nodes if isinstance(node, Step)]
        for node in self.nodes:  # the loop appends to it
            for other in self._parents(node):
                # A function adds all steps that it refers to, a script only the functions.
                is_added = isinstance(other, Step) or isinstance(other, Node) and isinstance(node, Step)
                if is_added and other.id not in known and not self._knows(other):
                    known.add(other.id)
                    self.nodes.append(other)
        self._names = {node.id: name for node, name in zip(self.nodes, _names(self.nodes)) if name is not None}

    def _knows(self, node):
        return node._submitted is not None and node._submitted() is self._engine

    def _parents(self, node):
        """The objects that a step refers to."""
        found = [*node.dependencies]
        _objects(node._rules, found)
        if isinstance(node, Step):
            placeholders = Placeholders()
            with _named(node):
                target, roots, inline = target_of(node.fn)
                payload = pack_value(node._call(), self._functions, placeholders)
            if type(payload) is Packed:
                roots = {**roots, **payload.roots}
                payload = payload.payload
            self._roots.update(roots)
            self._inline += inline
            self._calls[node.id] = target, payload, placeholders.references
            for other in (reference._of for reference in placeholders.references):
                found.append(other)
                # A result may refer to all that its function reaches.
                reach = getattr(other, "_reach", None)
                if reach is not None:
                    self._roots.update(reach.definitions)
        else:
            _objects(node.params, found)
        return found

    def titles(self):
        """The name of each step, if it has one, and its id."""
        return [(self._names.get(node.id), node.id) for node in self.nodes]

    def steps(self):
        """The tuples that the native engine takes."""
        if self._roots or self._inline:
            self._reach = mirror.reach(self._roots, self._inline)
        return [self._step(node) for node in self.nodes]

    def _step(self, node):
        name, inputs = self._names.get(node.id), []
        rules = {key: self._rule(node._rules[key]) for key in node._rules}
        if isinstance(node, Step):
            target, payload, references = self._calls[node.id]
            work = self._engine._step.compile(node.fn, target, self._reach)
            inputs = [(self._title(reference._of), reference.path, reference._default) for reference in references]
        else:
            work, payload = os.fspath(node.script_path), b"{}"
            found = []
            _objects(node.params, found)
            if found and isinstance(node.params, dict):
                rules["params"] = node.params
            else:
                payload = node._payload()
        native = None
        try:
            if rules or inputs:
                native = _axion.Rules(json.dumps(rules, default=self._json, allow_nan=False), inputs)
        except (ValueError, TypeError) as error:
            raise SubmitError("%s: %s" % (name or node.id, error), "step_options") from None
        depends = [self._dependency(node, other) for other in node.dependencies]
        return node.id, name, work, payload, node._native, native, depends

    def _title(self, of) -> str:
        """The name of a step in this workflow, else its id."""
        return of if isinstance(of, str) else self._names.get(id_of(of)) or str(id_of(of))

    def _json(self, value):
        """The JSON form of a reference in the parameters of a script."""
        if isinstance(value, (Ref, Node)):
            value = value if isinstance(value, Ref) else Ref(value)
            return {"$ref": self._title(value._of), **value._keys()}
        raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)

    def _rule(self, value):
        """A rule in which names stand in place of the steps."""
        if isinstance(value, Node):
            return {"ref": self._title(value)}
        if isinstance(value, Ref):
            return {"ref": self._title(value._of), **value._keys()}
        if isinstance(value, dict):
            return {key: self._title(part) if key == "ref" and isinstance(part, Node) else self._rule(part)
                    for key, part in value.items()}
        return [self._rule(part) for part in value] if isinstance(value, (list, tuple)) else value

    def _dependency(self, node, other):
        found = other if isinstance(other, str) else id_of(other)
        if not isinstance(found, str):
            raise SubmitError("%s: a dependency is a task, its id, or the name of a step, not %r" %
                              (self._names.get(node.id) or node.id, other), "unknown_dependency")
        return found

    def hold(self):
        return None if self._reach is None else self._reach.hold()

    def submitted(self):
        """The steps are known to the engine from here on."""
        for node in self.nodes:
            node._submitted = weakref.ref(self._engine)
            node._reach = self._reach
            node.name = self._names.get(node.id)


@contextlib.contextmanager
def _named(node):
    """Has a refusal name the step."""
    try:
        yield
    except SubmitError as error:
        message = "%s: %s" % (node.name or node._function_name(), error)
        raise SubmitError(message, error.code) from error.__cause__


def _flat(given):
    """The steps of nested lists."""
    nodes, left, seen = [], [iter([given] if isinstance(given, Node) else given)], set()
    while left:
        for found in left[-1]:
            if isinstance(found, Step):
                # A step that begins several chains is in each of them.
                if found not in seen:
                    seen.add(found)
                    nodes.append(found)
            elif isinstance(found, Node):
                nodes.append(found)
            elif isinstance(found, (list, tuple)):
                left.append(iter(found))
                break
            else:
                raise TypeError("the steps of a workflow are axion.Tasks, which run scripts, and functions as "
                                "axion.step(function, ...), not %r" % (found,))
        else:
            left.pop()
    return nodes


def _names(nodes):
    """A name for each step: its own, or its function's, with a number if several have the same."""
    taken = {node.name.lower() for node in nodes if node.name}
    numbers = {}  # the last that was given to each name
    for node in nodes:
        name = node.name
        if not name and isinstance(node, Step):
            base = name = "".join(filter(str.isprintable, node._function_name()))[:_MAX_NAME] or "step"
            number = numbers.get(base, 1)
            while name.lower() in taken:
                number += 1
                name = "%s-%d" % (base, number)
            numbers[base] = number
            taken.add(name.lower())
        yield name


def _objects(value, found):
    """Appends the steps in rules or parameters to `found`."""
    if isinstance(value, Ref):
        found.append(value._of)
    elif isinstance(value, Node):
        found.append(value)
    elif isinstance(value, dict):
        for part in value.values():
            _objects(part, found)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _objects(part, found)


def settings(options):
    """The options of the whole workflow, in the form that the native engine takes."""
    options = {key: value for key, value in options.items() if value is not None}
    try:
        return json.dumps({"upstream": "both", **options}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SubmitError("the options have no JSON form: %s" % error, "workflow_options") from None


class Workflow(Future):
    """A submitted workflow: a future of its results, and a list of its tasks' ids.

    `result()` returns the results of the steps that no other step waits for, by name or id. It raises `WorkflowFailed`,
    or `CancelledError` if the workflow was cancelled. `future(step)` is the future of one step, and
    `engine.get_result(id)` returns its result like that of any task. `workflow["name"]` is the id of a named step.
    `record` describes how all steps ended, once they have; `status()` describes their states now.
    """

    def __init__(self, engine, titles=()):
        super().__init__(engine)
        self.id = None
        self._name(titles)

    def _name(self, titles):
        self._ids = [task_id for _, task_id in titles]
        self._known = frozenset(self._ids)
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

    def __reduce__(self):
        raise TypeError("an axion.Workflow lives in one process: to use its results in another, give its steps")

    def __repr__(self):
        return "<Workflow %s, %d steps, %s>" % (self.id, len(self._ids), self._state.lower())

    # Its state and results.

    def future(self, step):
        """A future of one step's result. You give the step itself, its name, its index or its id. The exception is the
        function's own or a `RemoteError`, as with `Engine.submit`.

        Raises:
            KeyError: the step is not part of this workflow.
        """
        if isinstance(step, int):
            task_id = self._ids[step] if -len(self._ids) <= step < len(self._ids) else None
        else:
            task_id = id_of(step) or self._names.get(step, step)
        if task_id not in self._known:
            raise KeyError("%r is not a step of this workflow" % (step,))
        future = Future(self._engine)
        future.task_id = task_id
        self._engine._follow(task_id, future)
        return future

    def wait(self, timeout=None):
        """Waits until every step has ended, at most `timeout` seconds. Returns whether they have; raises nothing."""
        done, _ = concurrent.futures.wait((self,), timeout)
        return bool(done)

    def cancel(self):
        """Cancels the workflow: waiting steps never start, running ones are asked to stop and killed after
        `cancel_grace`. Returns at once, True if the workflow had not ended; `wait` waits for its end."""
        if self.done() or self.id is None:
            return self.cancelled()
        try:
            return self._engine._native.cancel_workflow(self.id)
        except RuntimeError:
            return False

    kill = cancel

    def status(self):
        """The workflow's `state` and `counts`, and in `steps` the state, times, attempts, and result or error of each
        step, as `axion flow run --output json` prints them at the end."""
        found = self.record
        if found is None:
            try:
                found = self._engine._running_native().workflow(self.id)
            except RuntimeError as error:
                raise refused(error) from None
        if found is None:
            raise EngineError("the engine keeps no record of this workflow any more", "result_unknown")
        return json.loads(found.to_json())

    def _resolve(self, data, record):
        try:
            if type(record) is not _axion.WorkflowRecord:
                self.set_exception(failure_reason(record))
                return
            self.record = record
            if record.state == "cancelled":
                concurrent.futures.Future.cancel(self)
                self.set_running_or_notify_cancel()
                return
            try:
                results = results_of(record)
            except Exception as error:  # also of a result that cannot be unpickled here
                self.set_exception(error)
            else:
                self.set_result(results)
        except concurrent.futures.InvalidStateError:
            pass  # it was resolved elsewhere, as after a fork


def results_of(record):
    """The results of a workflow that has ended; raises if it did not succeed."""
    if record.state == "succeeded":
        return {title: json.loads(text) if data is None else unpack(data) for title, text, data in record.results()}
    if record.state == "cancelled":
        raise TaskCancelled("the workflow was cancelled", "workflow_cancelled")
    failures = record.failures()
    message = "; ".join("%s %s: %s" % (title, state, text) for title, state, _, text in failures[:_MAX_NAMED])
    if len(failures) > _MAX_NAMED:
        message += "; and %d more" % (len(failures) - _MAX_NAMED)
    raise WorkflowFailed(message, tuple(failures)) from exception_of(*record.raised())


def submit(engine, native, workflow, given, options, completions, number):
    """Submits steps as a workflow, and sets its id and the names of its steps."""
    with engine._planning:
        plan = Plan(engine, given)
        workflow._name(plan.titles())
        try:
            workflow.id = native.submit_workflow(plan.steps(), settings(options), completions, number)
        except ValueError as error:
            raise SubmitError(str(error), "workflow_options") from None
        except RuntimeError as error:
            raise refused_workflow(error) from None
        plan.submitted()
        workflow._hold = plan.hold()


def submit_flow(native, workflow, path, params, changes, completions, number):
    """Submits the flow in a file, and sets the workflow's id and the names of its steps."""
    params = None if params is None else json.dumps(params, allow_nan=False)
    changes = ["%s=%s" % (key, json.dumps(value, allow_nan=False)) for key, value in (changes or {}).items()]
    try:
        workflow.id, titles = native.submit_flow(os.fspath(path), params, changes, completions, number)
    except ValueError as error:
        raise FlowError(*error.args) from None
    except RuntimeError as error:
        raise refused_workflow(error) from None
    workflow._name(titles)
