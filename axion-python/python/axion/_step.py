"""What a workflow is made of: steps that are functions, references to results, and blocks of steps."""

import operator

from . import _axion
from ._future import Future
from ._packing import ELEMENT, is_async
from .errors import ConfigError

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


class Ref:
    """In the parameters or arguments of a step: the result of another one, or the part of it that `path` leads to, such
    as `rows[0].id`. The step waits for that one, which is named by its name, by its task's id, or by itself. Beside a
    Ref, `{"$ref": "STEP"}` is one in the parameters of a script, and the step itself in the arguments of a function.

        Task.create("load.py", params={"first": Ref("extract", "rows[0]")}, name="load")
    """

    __slots__ = ("_of", "path")

    def __init__(self, step, path=""):
        self._of = step
        self.path = path
        if not isinstance(self.step, str):
            raise TypeError("a Ref names a step: %r is none" % (step,))

    @property
    def step(self):
        """The step's name, else the id of its task."""
        return self._of if isinstance(self._of, str) else getattr(self._of, "name", None) or id_of(self._of)

    def __repr__(self):
        return "Ref(%r, %r)" % (self.step, self.path)


def id_of(node):
    """The id of a task; None of what has none."""
    return getattr(node, "id" if isinstance(node, Node) else "task_id", None)


_REFERENCES = (Ref, Node, Future)


class Element:
    """In the arguments of a mapped step: the element that an instance is for."""


class Step(Node):
    """A function that is to be called as a step of a workflow: `axion.step` makes it.

    As an argument of another step it stands for its result, and that one waits for it. `id` is that of its task, `name`
    what it is called in the workflow: its function's name, unless `options` says otherwise. `args` and `kwargs` are what
    it is called with.
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
        """Sets what the step asks for; returns the step.

        Args:
            name: its name in the workflow.
            dependencies: what it waits for beside what its arguments stand for: steps, tasks, their ids, names.
            options: as of `Engine.options`: kind, timeout, retries …; and those of a step (docs/guides/flows.md): run_if,
                when, map_over, dynamic, keep_result. Where those name a step, it may be itself or a `Ref`. An element
                of `map_over` is the first argument, or the one that it says `as`.
        """
        if isinstance(dependencies, (str, Node, Future)):
            dependencies = (dependencies,)
        if name is not None and not isinstance(name, str):
            raise TypeError("the name of a step is text, not %r" % (name,))
        rules, own = split_options(options)
        own = {**self._asked, **own}
        try:
            kind = own.get("kind") or ("io" if is_async(self.fn) else "cpu")
            native = _axion.Options(**{**own, "kind": kind})
        except ValueError as error:
            raise ConfigError(str(error), "config") from None
        self.name = name or self.name
        self.dependencies.extend(dependencies)
        self._rules.update(rules)
        self._asked, self._native = own, native
        return self

    def _call(self):
        """Its arguments, with the element of a mapped step among them."""
        mapped = self._rules.get("map_over")
        if mapped is None:
            return self.args, self.kwargs
        if isinstance(mapped, dict) and "as" in mapped:
            return self.args, {**self.kwargs, mapped["as"]: Element()}
        return (Element(), *self.args), self.kwargs

    def _function_name(self):
        """What it is called if nobody says otherwise."""
        fn = self.fn
        while hasattr(fn, "func"):  # of a partial
            fn = getattr(fn, "func")
        name = getattr(fn, "__name__", type(fn).__name__)
        return "lambda" if name == "<lambda>" else name

    def __reduce__(self):
        raise TypeError("%r stands for its result among the arguments of another axion.step alone: a function cannot "
                        "be sent it, refer to it or return it" % (self,))

    def __repr__(self):
        return "<Step %s of %s>" % (self.name or self.id, self._function_name())


class Holes:
    """The references in the arguments of a step, each once; the numbers of the holes that they leave."""

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
        key = id_of(reference._of) or reference.step, reference.path
        if key not in self._numbers:
            self._numbers[key] = len(self.references)
            self.references.append(reference)
        return self._numbers[key]


def step(fn, /, *args, **kwargs):
    """`fn(*args, **kwargs)` as a step of a workflow. Where another step, a task, a future or a `Ref` is among the
    arguments, at any depth, the function gets that one's result.

        rows = axion.step(load, "orders.csv")
        total = axion.step(add_up, rows, axion.Ref("prices", "today")).options(retries=2)
        engine.submit_workflow([total])

    Everything is taken that `Engine.submit` takes: lambdas, closures, methods, functions of `__main__`, `async def`.
    """
    from ._decorator import TaskFunction

    if isinstance(fn, TaskFunction):
        options = {key: value for key, value in fn._options.items() if key != "wait"}
        return Step(fn._sent(), args, kwargs, options)
    return Step(fn, args, kwargs)


class Steps(list):
    """Steps that belong together, for `submit_workflow` or as a block of others: what `chain` and `group` make."""

    def __init__(self, steps, first, last, value):
        super().__init__(steps)
        self._first, self._last, self._value = first, last, value

    def __reduce__(self):
        return operator.getitem, ([self._value], 0)  # in arguments: what it stands for


def _block(block):
    if isinstance(block, Steps):
        return block
    if isinstance(block, Node):
        return Steps([block], [block], [block], block)
    if isinstance(block, (list, tuple)):
        return _group(block)
    raise TypeError("steps of a workflow are axion.steps and axion.Tasks: %r is neither" % (block,))


def group(*blocks):
    """Steps that run side by side, one by one or from an iterable. As an argument, or in a chain, it stands for the list
    of their results.

        group(step(resize, name) for name in names)
    """
    return _group(blocks[0] if len(blocks) == 1 and not isinstance(blocks[0], (Node, Steps)) else blocks)


def _group(blocks):
    parts = [_block(block) for block in blocks]
    steps, first, last = ([step for part in parts for step in found(part)]
                          for found in (list, lambda part: part._first, lambda part: part._last))
    return Steps(steps, first, last, [part._value for part in parts])


def chain(*blocks):
    """Steps one after the other, each waiting for the one before; a list among them is a group, which runs side by side.
    Returns the steps, for `submit_workflow`.

        chain(extract, [clean, count], report)

    A function gets the result of the one before as its first argument, after a group the list of its results, unless it
    is among its arguments already; a script finds it in `params["upstream_results"]`.
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
    """A group, and what runs when all of it is done: as `chain(group(…), body)`."""
    return chain(header if isinstance(header, Steps) else group(header), body)


def _follow(node, before):
    """Has a step wait for a block, and a function get its result."""
    if isinstance(node, Step):
        mapped = node._rules.get("map_over")
        if isinstance(mapped, dict):
            mapped = mapped.get("ref")
        mapped = Ref(mapped) if isinstance(mapped, str) else mapped
        if not _stands_in((node.args, node.kwargs, mapped), before._last):
            node.args = (before._value, *node.args)
        held = {other.id for other in node.dependencies if isinstance(other, Node)}
        new = {other.id: other for other in before._last if other.id not in held}.values()
    else:
        held = {other for other in node.dependencies if isinstance(other, str)}
        new = dict.fromkeys(other.id for other in before._last if other.id not in held)
    node.dependencies.extend(new)


def _stands_in(value, nodes):
    """Whether one of these is among some arguments."""
    if isinstance(value, Ref):
        return any(value._of is node or value._of in (node.id, node.name) for node in nodes)
    if isinstance(value, dict):
        return any(_stands_in(part, nodes) for part in value.values())
    if isinstance(value, (list, tuple)):
        return any(_stands_in(part, nodes) for part in value)
    return any(value is node or isinstance(value, str) and value == node.id for node in nodes)
