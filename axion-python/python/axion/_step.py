"""The parts of a workflow: steps that are functions, references to results, and blocks of steps."""

import json
import operator

from . import _axion
from ._future import Future
from ._options import make_options, pool_options
from ._packing import ELEMENT, is_async

_STEP = frozenset(("run_if", "when", "map_over", "dynamic", "keep_result"))
_PLAIN = frozenset((type(None), bool, int, float, str, bytes, list, tuple, dict))


def split_options(options):
    """The options of a step, and those of its task."""
    rules = {key: options[key] for key in options if key in _STEP}
    return rules, {key: options[key] for key in options if key not in _STEP}


class Node:
    """A step of a workflow: a script's `Task`, or a function's `Step`."""

    id: str
    name: str | None
    dependencies: list
    _rules: dict
    _submitted = None  # a weak reference to the engine that knows it
    _reach = None  # what the functions of its workflow reach


_NO_DEFAULT = object()


class Ref:
    """Stands for the result of another step in the parameters or arguments of a step, or for the part of that result at
    `path`, such as `rows[0].id`. The step waits for the other one, which you give by its name, its task's id, or the
    step itself. In the parameters of a script, `{"$ref": "STEP"}` means the same; in the arguments of a function, so
    does the step itself. With a `default`, which has a JSON form, it stands for that if the other step has ended without
    a result: it was skipped, for example.

        Task.create("load.py", params={"first": Ref("extract", "rows[0]")}, name="load")
        Task.create("join.py", params={"n": Ref("count", default=0)}, name="join", run_if="any_succeeded")
    """

    __slots__ = ("_of", "path", "_default")

    def __init__(self, step, path="", *, default=_NO_DEFAULT):
        self._of = step
        self.path = path
        # As JSON: later changes of the object change nothing.
        self._default = None if default is _NO_DEFAULT else json.dumps(default, allow_nan=False)
        if not isinstance(self.step, str):
            raise TypeError("a Ref names a step, not %r" % (step,))

    @property
    def step(self):
        """The step's name, else the id of its task."""
        return self._of if isinstance(self._of, str) else getattr(self._of, "name", None) or id_of(self._of)

    def __repr__(self):
        default = "" if self._default is None else ", default=%r" % json.loads(self._default)
        return "Ref(%r, %r%s)" % (self.step, self.path, default)

    def _keys(self):
        """The keys beside that of the step, in the JSON form."""
        path = {"path": self.path} if self.path else {}
        return path if self._default is None else {**path, "default": json.loads(self._default)}


def id_of(node):
    """The id of a task or future; None for anything else."""
    return getattr(node, "id" if isinstance(node, Node) else "task_id", None)


_REFERENCES = (Ref, Node, Future)


class Element:
    """Stands for the element that an instance is for, in the arguments of a mapped step."""


class Step(Node):
    """A function call as a step of a workflow. `axion.step` makes it.

    As an argument of another step it stands for its result, and the other step waits for it. `id` is the id of its
    task. `name` is its name in the workflow: the function's name, unless `options` sets another. The function is called
    with `args` and `kwargs`.
    """

    def __init__(self, fn, args=(), kwargs=None, options=None):
        if not callable(fn):
            raise TypeError("a step calls a function: %r is not callable" % (fn,))
        self.fn, self.args, self.kwargs = fn, tuple(args), dict(kwargs or {})
        self.id = _axion.new_task_id()
        self.name = None
        self.dependencies = []
        self._rules, self._asked = {}, {}
        self._native = None
        self.options(**(options or {}))

    def options(self, *, name=None, dependencies=(), **options):
        """Sets options of the step, and returns the step.

        Args:
            name: its name in the workflow.
            dependencies: steps and tasks, their ids or names, that it waits for beside those in its arguments.
            options: those of `Engine.options`: pool, timeout, retries …; and those of a step (docs/guides/flows.md):
                run_if, when, map_over, dynamic, keep_result. Where these name a step, you can give the step itself or
                a `Ref`. An element of `map_over` becomes the first argument, or the one that its key `as` names.
        """
        if isinstance(dependencies, (str, Node, Future)):
            dependencies = (dependencies,)
        if name is not None and not isinstance(name, str):
            raise TypeError("the name of a step is a str, not %r" % (name,))
        rules, own = split_options(options)
        own = {**self._asked, **own}
        if own.get("pool") is not None:
            made = make_options(**{**own, **pool_options(own.pop("kind", None), own["pool"])})
        else:
            made = make_options(**{**own, "kind": own.get("kind") or ("io" if is_async(self.fn) else "cpu")})
        self.name = name or self.name
        self.dependencies.extend(dependencies)
        self._rules.update(rules)
        self._asked, self._native = own, made
        return self

    def _call(self):
        """Its arguments; those of a mapped step include the element."""
        mapped = self._rules.get("map_over")
        if mapped is None:
            return self.args, self.kwargs
        if isinstance(mapped, dict) and "as" in mapped:
            return self.args, {**self.kwargs, mapped["as"]: Element()}
        return (Element(), *self.args), self.kwargs

    def _function_name(self):
        """The name of the step if `options` sets none."""
        fn = self.fn
        while hasattr(fn, "func"):  # of a partial
            fn = getattr(fn, "func")
        name = getattr(fn, "__name__", type(fn).__name__)
        return "lambda" if name == "<lambda>" else name

    def __reduce__(self):
        raise TypeError("%r stands for its result only in the arguments of another axion.step: a function cannot "
                        "receive, refer to or return it" % (self,))

    def __repr__(self):
        return "<Step %s of %s>" % (self.name or self.id, self._function_name())


class Placeholders:
    """The references in the arguments of a step, each once, and the numbers of the placeholders that replace them."""

    def __init__(self):
        self.references = []
        self._numbers = {}

    def __call__(self, part):
        kind = type(part)
        if kind in _PLAIN:
            return None
        if kind is Element:
            return ELEMENT
        if not issubclass(kind, _REFERENCES) or kind is not Ref and id_of(part) is None:
            return None
        reference = part if kind is Ref else Ref(part)
        key = id_of(reference._of) or reference.step, reference.path, reference._default
        if key not in self._numbers:
            self._numbers[key] = len(self.references)
            self.references.append(reference)
        return self._numbers[key]


def step(fn, /, *args, **kwargs):
    """`fn(*args, **kwargs)` as a step of a workflow. The function receives the result of each other step, task, future
    or `Ref` in its arguments, at any depth.

        rows = axion.step(load, "orders.csv")
        total = axion.step(add_up, rows, axion.Ref("prices", "today")).options(retries=2)
        engine.submit_workflow([total])

    It takes every callable that `Engine.submit` takes: lambdas, closures, methods, functions of `__main__`, `async def`.
    """
    from ._decorator import TaskFunction

    if isinstance(fn, TaskFunction):
        options = {key: value for key, value in fn._options.items() if key != "wait"}
        return Step(fn._sent(), args, kwargs, options)
    return Step(fn, args, kwargs)


class Steps(list):
    """Steps that `chain` or `group` has put together, for `submit_workflow` or as a block within other blocks."""

    def __init__(self, steps, first, last, value):
        super().__init__(steps)
        self._first, self._last, self._value = first, last, value

    def __reduce__(self):
        return operator.getitem, ([self._value], 0)  # in arguments it stands for its value


def _block(block):
    if isinstance(block, Steps):
        return block
    if isinstance(block, Node):
        return Steps([block], [block], [block], block)
    if isinstance(block, (list, tuple)):
        return _group(block)
    raise TypeError("the steps of a workflow are axion.steps and axion.Tasks, not %r" % (block,))


def group(*blocks):
    """Steps that run in parallel, given one by one or as an iterable. As an argument, or in a chain, the group stands
    for the list of their results.

        group(step(resize, name) for name in names)
    """
    return _group(blocks[0] if len(blocks) == 1 and not isinstance(blocks[0], (Node, Steps)) else blocks)


def _group(blocks):
    parts = [_block(block) for block in blocks]
    steps, first, last = ([step for part in parts for step in found(part)]
                          for found in (list, lambda part: part._first, lambda part: part._last))
    return Steps(steps, first, last, [part._value for part in parts])


def chain(*blocks):
    """Steps that run one after the other. A list among them is a group, which runs in parallel. Returns the steps, for
    `submit_workflow`.

        chain(extract, [clean, count], report)

    A function receives the result of the step before it as its first argument, or the list of results of the group
    before it, unless its arguments contain that already. A script finds it in `params["upstream_results"]`.
    """
    whole, before = Steps([], [], [], None), None
    for block in map(_block, blocks):
        if not block:
            # An empty group is a list of no results, for the next; all the same that one waits for those before.
            if block._value is not None:
                before = Steps([], [], before._last if before is not None else [], block._value)
                whole._value = block._value
            continue
        whole.extend(block)
        if not whole._first:
            whole._first = block._first
        if before is not None:
            for node in block._first:
                _follow(node, before)
        whole._last, whole._value = block._last, block._value
        before = block
    return whole


def chord(header, body):
    """A group, then a step that runs when the whole group has ended: the same as `chain(group(…), body)`."""
    return chain(header if isinstance(header, Steps) else group(header), body)


def _follow(node, before):
    """Makes a step wait for a block. A function also receives the block's value."""
    if isinstance(node, Step):
        mapped = node._rules.get("map_over")
        if isinstance(mapped, dict):
            mapped = mapped.get("ref")
        mapped = Ref(mapped) if isinstance(mapped, str) else mapped
        if not _refers_to((node.args, node.kwargs, mapped), before._last):
            node.args = (before._value, *node.args)
        held = {other.id for other in node.dependencies if isinstance(other, Node)}
        new = {other.id: other for other in before._last if other.id not in held}.values()
    else:
        held = {other for other in node.dependencies if isinstance(other, str)}
        new = dict.fromkeys(other.id for other in before._last if other.id not in held)
    node.dependencies.extend(new)


def _refers_to(value, nodes):
    """Whether the arguments contain one of these steps, or a reference to one."""
    if isinstance(value, Ref):
        return any(value._of is node or value._of in (node.id, node.name) for node in nodes)
    if isinstance(value, dict):
        return any(_refers_to(part, nodes) for part in value.values())
    if isinstance(value, (list, tuple)):
        return any(_refers_to(part, nodes) for part in value)
    return any(value is node or isinstance(value, str) and value == node.id for node in nodes)
