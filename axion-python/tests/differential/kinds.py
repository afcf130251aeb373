"""What programs are made of. Each kind is definitions, and blocks of steps that use and change them.

Blocks may come in any order and more than once. `value(f, *args)` is a call whose result depends on nothing that tasks
left behind; `state(f, *args)` is one that does. A kind with `state` changes nothing as its caller. Names that a kind
defines stand for nothing else in its text: the generator renames them where kinds share a namespace.

The file is long because it is a corpus: each kind stands alone, and nothing else refers to it.
"""

import ast
import builtins
import functools
import re
import textwrap


class Kind:
    def __init__(self, name, definitions, steps):
        self.name = name
        self.definitions = textwrap.dedent(definitions).strip("\n")
        self.blocks = [block.strip("\n") for block in re.split(r"\n\s*\n", textwrap.dedent(steps).strip("\n"))]
        self.has_state = "state(" in steps or "initialize(" in steps
        self.is_ordered = "initialize(" in steps

    def __repr__(self):
        return self.name

    @functools.cached_property
    def names(self):
        """What it defines at the top level."""
        found = set()
        for part in (self.definitions, *self.blocks):
            for node in ast.parse(part).body:
                found |= set(defined_by(node))
        return found

    @functools.cached_property
    def can_share(self):
        """Whether its names can be renamed: none is also an attribute, or a builtin, or has the name of a class in it."""
        return not any("__" in name.strip("_") for name in self.names) and not self.names & (
            set(attributes_in(ast.parse(self.definitions))) | set(dir(builtins)))


def attributes_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                yield from defined_by(part)


def defined_by(node):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        pass
    else:
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, (ast.Store, ast.Del)):
                yield part.id


KINDS = {}


def kind(name, definitions, steps):
    assert name not in KINDS
    KINDS[name] = Kind(name, definitions, steps)


kind("globals", """
    rate = 2
    table = {"a": 1}
    items = [1, [2]]
    def inner(n):
        return n * rate, dict(table), list(items)
    def outer(n):
        return inner(n)
    def nested(n):
        def deeper():
            return [rate for _ in range(n)]
        return deeper()
    def gone():
        try:
            return extra
        except NameError as error:
            return str(error)
""", """
    value(outer, 2)

    rate = rate + 1
    value(inner, 2)
    value(nested, 2)

    table["b"] = len(table)
    value(outer, 3)

    items[1].append(len(items))
    value(outer, 4)

    items = [*items, "new"]
    table = {}
    value(inner, 1)

    value(gone)

    extra = 5
    value(gone)

    extra = 6
    value(gone)
    del extra
    value(gone)
""")

kind("functions", """
    def helper(n):
        return "first", n
    def use(n):
        return helper(n)
    def even(n):
        return True if n == 0 else odd(n - 1)
    def odd(n):
        return False if n == 0 else even(n - 1)
    fact = lambda n: 1 if n == 0 else n * fact(n - 1)
    alias = helper
""", """
    value(use, 1)
    value(alias, 2)

    def helper(n):
        return "second", n
    value(use, 1)
    value(alias, 1)
    value(helper, 1)

    helper = lambda n: ("lambda", n)
    value(use, 2)

    value(even, 7)
    value(odd, 7)
    value(fact, 5)

    helper = max
    value(use, [3, 1])

    even, odd = odd, even
    value(even, 4)
""")

kind("defaults", """
    base = 10
    def f(a, b=base, *args, c=[base], **more):
        return a, b, args, c, more
    def g(a, /, b=None, *, c=f):
        return c is f, c(a, b)
""", """
    value(f, 1)
    value(f, 1, 2, 3)

    f.__defaults__ = (77,)
    value(f, 1)

    f.__kwdefaults__ = {"c": "changed"}
    value(f, 1)
    value(g, 1)

    value(g, 1, 2)

    f.__kwdefaults__["c"] = "in place"
    value(f, 1)
""")

kind("closures", """
    def make(n):
        box = [n]
        def read():
            return n, box
        def put(m):
            nonlocal n
            n = m
            box.append(m)
        return read, put
    read, put = make(1)
    other, _put = make(100)
    adders = [lambda m, n=n: m + n for n in range(3)]
    late = [lambda m: m + n for n in range(3)]
    def compose(*functions):
        def composed(n):
            for function in functions:
                n = function(n)
            return n
        return composed
    both = compose(lambda n: n + 1, adders[2], lambda n: n * 10)
""", """
    value(read)
    value(other)

    put(5)
    value(read)
    value(other)

    value(both, 1)
    value(adders[1], 1)
    value(late[0], 1)

    value(lambda: [function(1) for function in adders])
    value(lambda: read() == other())
""")

kind("sentinels", """
    MISSING = object()
    class Unset:
        def __repr__(self):
            return "UNSET"
    UNSET = Unset()
    class Marker:
        pass
    MARKERS = {"one": Marker(), "two": Marker()}
    def f(thing=MISSING, *, other=UNSET):
        return thing is MISSING, thing is UNSET, other is UNSET
    def give(which):
        return {"missing": MISSING, "unset": UNSET}[which]
    def many(things):
        return [thing is MISSING for thing in things]
    def marker(thing):
        return [name for name, each in MARKERS.items() if each is thing]
    class Options:
        default = MISSING
        def __init__(self, level=MISSING):
            self.level = level
        def given(self):
            return self.level is not MISSING, self.default is MISSING
""", """
    value(f)
    value(f, MISSING)
    value(f, UNSET)

    value(give, "unset")
    value(give, "missing")
    value(many, [MISSING, UNSET, [MISSING]])

    value(marker, MARKERS["two"])

    value(lambda options: options.given(), Options())
    value(Options(3).given)
    value(Options().given)
""")

kind("classes", """
    unit = "kg"
    class Thing:
        kinds = ["plain"]
        factor = 2
        def __init__(self, n):
            self.n = n
        def total(self):
            return self.n * self.factor, unit
        @property
        def half(self):
            return self.n / 2
        @half.setter
        def half(self, n):
            self.n = 2 * n
        @classmethod
        def make(cls, n):
            return cls(n)
        @staticmethod
        def name(n):
            return "thing", n
        def __eq__(self, other):
            return type(self) is type(other) and self.n == other.n
        def __hash__(self):
            return self.n
    class Child(Thing):
        factor = 3
        def __init__(self, n):
            super().__init__(n + 1)
        def total(self):
            return super().total() + (__class__.__name__,)
    shared = Thing(7)
    def use(thing):
        thing.half = 10
        return thing.total(), type(thing) is Thing, isinstance(thing, Thing), thing.kinds
    def fresh(n):
        return [Thing(n), Child(n), Child.make(n), Thing.make(n) == Thing(n), {Thing(1): 2}.get(Thing(1))]
    def static():
        return shared.n, Thing.name(1), Child.__mro__[1] is Thing
""", """
    value(use, Thing(1))
    value(use, Child(1))

    value(fresh, 3)
    value(static)

    Thing.factor = 5 * getattr(Thing, "factor", 1)
    value(use, Thing(1))
    value(fresh, 4)

    Thing.kinds.append("more")
    value(use, Thing(2))

    Thing.total = lambda self: ("patched", self.n, unit)
    value(use, Thing(1))
    value(use, Child(1))

    unit = unit + "!"
    value(Thing(1).total)
    value(Child(2).total)

    class Thing:
        kinds = []
        def __init__(self, n):
            self.n = n
        def total(self):
            return "new class", self.n
        make = classmethod(lambda cls, n: cls(n))
        name = staticmethod(str)
    value(use, Thing(1))
    value(fresh, 1)

    Thing.added = 5
    value(lambda: Thing.added)
    del Thing.added
    value(lambda: hasattr(Thing, "added"))

    shared.n = shared.n + 1
    value(static)

    value(Thing.make, 4)
    value(Child)
""")

kind("slots", """
    class Base:
        __slots__ = ("a",)
        def __init__(self, a):
            self.a = a
    class Point(Base):
        __slots__ = ("b", "__weakref__")
        def __init__(self, a, b):
            super().__init__(a)
            self.b = b
        def total(self):
            return self.a + self.b
    class Private:
        __slots__ = {"__x": "documented"}
        def __init__(self, x):
            self.__x = x
        def get(self):
            return self.__x
    class Open(Point):
        pass
    def total(point):
        try:
            point.more = 1
            more = point.more
        except AttributeError:
            more = "no"
        return point.total(), more
    def layout():
        return Point.__slots__, Point.__basicsize__, Private.__slots__, type(Point.a).__name__, hasattr(Private(1), "__dict__")
    def private(x):
        return Private(x).get(), Private(x)
""", """
    value(total, Point(1, 2))
    value(total, Open(1, 2))

    value(layout)
    value(private, 3)
    value(Point, 1, 2)

    value(Private(4).get)
    value(lambda p: p, Open(1, 2))
""")

kind("dataclasses", """
    import dataclasses, typing
    @dataclasses.dataclass
    class Plain:
        n: int
        many: list = dataclasses.field(default_factory=list)
        hidden: int = dataclasses.field(default=3, repr=False, compare=False)
        kind: typing.ClassVar[str] = "plain"
        def __post_init__(self):
            self.many.append(self.n)
    @dataclasses.dataclass(slots=True, frozen=True, order=True)
    class Frozen:
        n: int
        other: "Plain | None" = None
    @dataclasses.dataclass(kw_only=True)
    class Derived(Plain):
        extra: str = "x"
    made = dataclasses.make_dataclass("made", [("x", int), ("y", int, 2)])
    def use(n):
        return Plain(n), Frozen(n, Plain(n)), Derived(n=n), made(n), sorted([Frozen(2), Frozen(1)])
    def inspect(thing):
        missing = [field.default is dataclasses.MISSING for field in dataclasses.fields(thing)]
        return missing, dataclasses.asdict(thing), dataclasses.replace(thing) == thing, type(thing) is Plain
    def freeze():
        try:
            Frozen(1).n = 2
        except dataclasses.FrozenInstanceError as error:
            return str(error), hash(Frozen(1)) == hash(Frozen(1))
""", """
    value(use, 1)

    value(inspect, Plain(1))
    value(inspect, Derived(n=2))
    value(inspect, Frozen(1))
    value(inspect, made(1))

    value(freeze)
    value(lambda thing: thing == Frozen(3), Frozen(3))
    value(lambda: Plain.kind)

    Plain.kind = "changed"
    value(lambda: Plain(1).kind)
""")

kind("enums", """
    import enum
    class Color(enum.Enum):
        RED = 1
        GREEN = 2
        CRIMSON = 1
        def next(self):
            return Color.GREEN if self is Color.RED else Color.RED
        @classmethod
        def default(cls):
            return cls.RED
        @property
        def loud(self):
            return self.name + "!"
    class Level(enum.IntEnum):
        LOW = 1
        HIGH = 5
    class Perm(enum.Flag):
        R = 4
        W = 2
        X = 1
        RW = R | W
    class Mode(enum.StrEnum):
        ON = enum.auto()
        OFF = enum.auto()
    class Planet(enum.Enum):
        EARTH = (5.9, 6)
        MARS = (0.6, 3)
        def __init__(self, mass, radius):
            self.mass, self.radius = mass, radius
        def ratio(self):
            return self.mass / self.radius
    Dynamic = enum.Enum("Dynamic", "A B", module=__name__)
    class Ordered(enum.Enum):
        _order_ = "X Y"
        X = object()
        Y = object()
    def use(color):
        return color is Color.RED, color.next(), Color(2) is Color.GREEN, Color["CRIMSON"], list(Color), color.loud
    def all_of_them():
        return (Level.HIGH > Level.LOW, Level(5) is Level.HIGH, Perm.R | Perm.W, Perm.RW is (Perm.R | Perm.W), Perm(7),
                Mode.ON == "on", Planet.MARS.ratio(), list(Dynamic), Color.__members__.keys() - {"RED"}, ~Perm.X)
    def identity(member):
        return any(member is each for each in [*Color, *Level, *Perm, *Mode, *Planet, *Dynamic, *Ordered]), member
    table = {Color.RED: "r", Level.LOW: "l"}
""", """
    value(use, Color.RED)
    value(use, Color.GREEN)

    value(all_of_them)

    value(identity, Planet.EARTH)
    value(identity, Dynamic.B)
    value(identity, Ordered.Y)
    value(identity, Perm.R | Perm.X)

    value(lambda member: table[member], Color.CRIMSON)
    value(Color.RED.next)
    value(Color.default)
    value(Color, 2)
    value(Color, 9)

    value(lambda: [Ordered.X, {Mode.OFF: Level.HIGH}])
""")

kind("tuples", """
    import collections, typing
    Point = collections.namedtuple("Point", "x y", defaults=[2])
    class Row(typing.NamedTuple):
        n: int
        label: str = "row"
        def twice(self):
            return self.n * 2
    class Movie(typing.TypedDict, total=False):
        name: str
    class Big(Point):
        __slots__ = ()
        def area(self):
            return self.x * self.y
    def use(n):
        return Point(n), Row(n).twice(), Row(n), Big(n, 3).area(), Big(n), Movie(name="it"), Point(1)._replace(y=5)
    def look(thing):
        return isinstance(thing, Point), type(thing) is Row, thing == (1, 2), getattr(thing, "_fields", None)
""", """
    value(use, 2)

    value(look, Point(1))
    value(look, Row(1))
    value(look, Big(1, 2))

    value(Point, 1, 2)
    value(Big(3, 4).area)
    value(lambda: Point._field_defaults)
    value(lambda: sorted(typing.get_type_hints(Movie)))
""")

kind("abstract", """
    import abc, typing
    class Shape(abc.ABC):
        @property
        @abc.abstractmethod
        def area(self): ...
        def double(self):
            return 2 * self.area
        @classmethod
        def __subclasshook__(cls, other):
            return True if getattr(other, "is_a_shape", False) else NotImplemented
    class Square(Shape):
        def __init__(self, a):
            self.a = a
        @property
        def area(self):
            return self.a ** 2
    class Virtual:
        pass
    class Hooked:
        is_a_shape = True
    Shape.register(Virtual)
    @typing.runtime_checkable
    class Runs(typing.Protocol):
        def run(self) -> int: ...
    class Runner:
        def run(self):
            return 1
    T = typing.TypeVar("T")
    class Box(typing.Generic[T]):
        def __init__(self, it: T):
            self.it = it
    def use():
        try:
            made = Shape()
        except TypeError:
            made = "abstract"
        return (made, isinstance(Virtual(), Shape), issubclass(Hooked, Shape), isinstance(1, Shape), Square(2).double(),
                isinstance(Runner(), Runs), isinstance(2, Runs), Box[int](3), Box[str].__origin__ is Box,
                sorted(Shape.__abstractmethods__), Square.__abstractmethods__)
""", """
    value(use)

    value(lambda shape: (shape.double(), isinstance(shape, Shape)), Square(3))
    value(lambda thing: isinstance(thing, Shape), Virtual())
    value(lambda kind: (kind, kind.__origin__ is Box), Box[int])

    Shape.register(int)
    value(use)
""")

kind("metaclasses", """
    registry = []
    class Meta(type):
        def __new__(meta, name, bases, body, **more):
            made = super().__new__(meta, name, bases, body)
            registry.append((name, made))
            made.more = more
            return made
        def __init__(cls, name, bases, body, **more):
            super().__init__(name, bases, body)
        def __len__(cls):
            return len(cls.__name__)
        def __getitem__(cls, key):
            return cls.__name__, key
        def __iter__(cls):
            return iter(registry)
    class Model(metaclass=Meta, table="models"):
        pass
    class Sub(Model, flag=True):
        n = 1
    def use():
        return [name for name, _ in registry], len(Model), Sub["key"], Model.more, Sub.more, type(Sub) is Meta
    def belongs(kind):
        return any(each is kind for _, each in registry), kind is Sub
""", """
    value(use)

    value(belongs, Sub)
    value(belongs, int)
    value(Sub)
    show([name for name, _ in registry])

    class Later(Model):
        pass
    value(use)
    value(belongs, Later)

    show(len(registry))
    value(lambda: (Sub, [each for _, each in registry][0]))
""")

kind("init_subclass", """
    plugins = {}
    class Plugin:
        def __init_subclass__(cls, /, key=None, **more):
            super().__init_subclass__(**more)
            plugins[key or cls.__name__] = cls
        def run(self):
            return type(self).__name__
    class First(Plugin, key="first"):
        pass
    class Second(First):
        def run(self):
            return "second, " + super().run()
    class Field:
        def __set_name__(self, owner, name):
            self.owner, self.name = owner.__name__, name
        def __get__(self, thing, owner=None):
            return self if thing is None else thing.__dict__.get(self.name, "empty")
        def __set__(self, thing, it):
            thing.__dict__[self.name] = it
    class Described:
        one = Field()
        two = Field()
    def run(key):
        return plugins[key]().run(), sorted(plugins), len(Plugin.__subclasses__())
    def fields(it):
        described = Described()
        described.one = it
        return described.one, described.two, Described.two.name, Described.one.owner
""", """
    value(run, "first")
    value(run, "Second")

    show(sorted(plugins))
    show(len(Plugin.__subclasses__()))

    value(fields, 5)
    value(lambda: plugins["first"] is First)
    value(lambda: plugins["Second"]())

    class Third(Plugin, key="third"):
        pass
    value(run, "third")

    plugins.pop("third", None)
    value(run, "first")
""")

kind("decorators", """
    import functools
    seen = []
    def traced(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            return function.__name__, function(*args, **kwargs)
        call.original = function
        return call
    def with_level(level):
        def decorate(function):
            @functools.wraps(function)
            def call(*args):
                return level, function(*args)
            return call
        return decorate
    class Counted:
        def __init__(self, function):
            functools.update_wrapper(self, function)
            self.function = function
        def __call__(self, *args):
            return "counted", self.function(*args)
        def __get__(self, thing, owner=None):
            return functools.partial(self, thing) if thing is not None else self
    def register(kind):
        seen.append(kind.__name__)
        kind.registered = True
        return kind
    @traced
    def one(n):
        "the doc"
        return n + 1
    @with_level(3)
    @traced
    def two(n):
        return one(n)
    @Counted
    def three(n):
        return two(n)
    @register
    @functools.total_ordering
    class Version:
        def __init__(self, n):
            self.n = n
        def __eq__(self, other):
            return self.n == other.n
        def __lt__(self, other):
            return self.n < other.n
        __hash__ = None
        @Counted
        def method(self, m):
            return self.n + m
        @traced
        def other(self, m):
            return self.n * m
    def use(n):
        return (one(n), two(n), three(n), one.__doc__, one.__wrapped__(n), one.original is one.__wrapped__, three.__name__,
                Version(1) >= Version(0), Version.registered, Version(2).method(3), Version(2).other(3), seen)
""", """
    value(use, 1)
    value(one, 2)
    value(two, 2)
    value(three, 2)

    value(Version(3).other, 2)
    value(Version(3).method, 2)
    value(one.__wrapped__, 1)

    one = traced(lambda n: n * 100)
    value(two, 1)
    value(use, 2)
""")

kind("functools", """
    import functools, operator
    offset = 1
    @functools.lru_cache(maxsize=4)
    def square(n):
        return n * n
    @functools.cache
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)
    @functools.singledispatch
    def shown(thing):
        return "object"
    @shown.register
    def _(thing: int):
        return "int"
    @shown.register(list)
    def _(thing):
        return "list of %d" % len(thing)
    class Thing:
        def __init__(self, n):
            self.n = n
        @functools.cached_property
        def costly(self):
            return [self.n]
        @functools.lru_cache
        def twice(self):
            return 2 * self.n
        @functools.singledispatchmethod
        def kind(self, arg):
            return "any"
        @kind.register
        def _(self, arg: str):
            return "text"
        def scale(self, a, b):
            return a * self.n + b
        double = functools.partialmethod(scale, 2)
    @shown.register
    def _(thing: Thing):
        return "Thing %d" % thing.n
    plus = functools.partial(operator.add, 5)
    add = functools.reduce(lambda f, g: lambda n: g(f(n)), [plus, lambda n: n + offset])
    def everything():
        return [(shown(each), Thing(1).kind(each)) for each in (1, 1.5, "", b"", {}, [], None)]
    def use(n):
        thing = Thing(n)
        return (square(n), fib(n), shown(n), shown([n]), shown(thing), shown(""), thing.costly is thing.costly,
                thing.twice(), thing.kind("a"), thing.kind(1), thing.double(1), plus(n), add(n))
""", """
    value(use, 6)

    value(square, 9)
    value(fib, 30)
    value(everything)
    value(shown, Thing(4))
    value(shown, [1])

    value(Thing(2).double, 3)
    value(Thing(2).twice)
    value(Thing(2).kind, "")
    value(plus, 1)
    value(add, 1)

    value(square.__wrapped__, 4)
    value(lambda: square.cache_parameters())

    @shown.register
    def _(thing: dict):
        return "dict"
    value(shown, {})
    value(lambda: shown({}))

    shown.register(float, lambda thing: "float")
    Thing.kind.register(bytes, lambda self, arg: "bytes")
    value(everything)

    offset = offset + 10
    value(add, 1)
""")

kind("contexts", """
    import contextlib
    trail = []
    @contextlib.contextmanager
    def managed(n):
        entered = ["in %d" % n]
        try:
            yield entered
        finally:
            entered.append("out")
    class Managed(contextlib.ContextDecorator, contextlib.AbstractContextManager):
        def __enter__(self):
            return self
        def __exit__(self, kind, error, traceback):
            return kind is KeyError
    @Managed()
    def forgiving(n):
        raise KeyError(n)
    @contextlib.asynccontextmanager
    async def later(n):
        yield n + 1
    async def main(n):
        async with later(n) as m:
            return m, [k async for k in counting(n)]
    async def counting(n):
        for k in range(n):
            yield k
    def generate(n):
        got = yield n
        yield from ((got, k) for k in range(n))
    def use(n):
        with managed(n) as entered, contextlib.ExitStack() as stack, contextlib.suppress(ValueError):
            stack.enter_context(managed(n))
            raise ValueError
        generator = generate(n)
        return entered, forgiving(n), next(generator), generator.send("sent"), list(generator)
    def decorated(n):
        with managed(n) as entered:
            return managed.__name__, managed.__wrapped__.__qualname__.split(".")[-1], list(entered)
""", """
    value(use, 2)

    value(decorated, 1)
    value(main, 3)
    value(forgiving, 1)
    value(lambda n: list(generate(n)), 2)
""")

kind("pickling", """
    import copy, copyreg, pickle, weakref
    class State:
        def __init__(self, n):
            self.n, self.cache = n, ["costly"]
        def __getstate__(self):
            return {"n": self.n}
        def __setstate__(self, state):
            self.__dict__.update(state, cache=["costly"])
    class Reduced:
        def __init__(self, n):
            self.n = n
        def __reduce__(self):
            return rebuild, (self.n,), {"extra": 1}
    def rebuild(n):
        return Reduced(n)
    class Registered:
        def __init__(self, n):
            self.n = n
    def reduce_registered(it):
        return Registered, (it.n,)
    copyreg.pickle(Registered, reduce_registered)
    class Single:
        def __reduce__(self):
            return "SINGLE"
    SINGLE = Single()
    class New:
        def __new__(cls, n, *, scale=1):
            it = super().__new__(cls)
            it.n = n * scale
            return it
        def __getnewargs_ex__(self):
            return (self.n,), {"scale": 1}
    class Node:
        def __init__(self, parent=None):
            self.children, self.parent = [], parent and weakref.ref(parent)
            if parent is not None:
                parent.children.append(self)
        def __reduce__(self):
            return grow, (self.children,)
    def grow(children):
        node = Node()
        node.children = children
        for child in children:
            child.parent = weakref.ref(node)
        return node
    def seen(it):
        return it.n, sorted(vars(it))
    def copies(n):
        things = [State(n), Reduced(n), Registered(n), New(n)]
        return [seen(pickle.loads(pickle.dumps(it))) for it in things], [seen(copy.deepcopy(it)) for it in things]
    def single(it):
        return it is SINGLE, pickle.loads(pickle.dumps(it)) is SINGLE, copy.copy(it) is SINGLE
    def parents(root):
        return [child.parent() is root for child in root.children]
    def family():
        root = Node()
        Node(root), Node(root)
        return root
    def load(data):
        return pickle.loads(data).n
""", """
    value(seen, State(1))
    value(seen, Registered(3))
    value(seen, New(4, scale=2))

    value(copies, 5)
    value(single, SINGLE)

    value(parents, family())
    value(lambda: parents(family()))

    value(load, pickle.dumps(State(8)))
    value(pickle.loads, pickle.dumps(New(8)))
    value(pickle.dumps, rebuild)

    value(lambda: [State(1), Registered(2), New(4)])
""")

kind("exceptions", """
    class Problem(Exception):
        "a problem"
        code = "E1"
        def __init__(self, amount, where="here"):
            super().__init__(amount, where)
            self.where = where
        def text(self):
            return "%s: %s in %s" % (self.code, self.args[0], self.where)
    class Worse(Problem, KeyError):
        code = "E2"
    class Plain(ValueError):
        pass
    def fail(kind, *args):
        raise kind(*args)
    def chained():
        try:
            fail(KeyError, "k")
        except KeyError as error:
            problem = Worse(3)
            problem.extra = {"a": [1]}
            problem.add_note("noted")
            raise problem from error
    def grouped():
        raise ExceptionGroup("many", [Plain(1), Worse(2)])
    def caught(kind):
        try:
            fail(kind, 1)
        except Problem as error:
            return error, error.text(), isinstance(error, KeyError)
        except* Plain if False else ValueError:
            return "value"
    def handed(error):
        return error.text(), type(error) is Worse, error.__notes__ if hasattr(error, "__notes__") else None
""".replace("        except* Plain if False else ValueError:\n", "        except ValueError:\n"), """
    value(fail, Problem, 1)
    value(fail, Worse, 1, "there")
    value(fail, Plain, "text")

    value(chained)
    value(grouped)

    value(caught, Worse)
    value(caught, Plain)
    value(handed, Worse(1))

    Problem.code = "E9"
    value(caught, Problem)
    value(lambda: Problem(1).code)

    value(fail, ZeroDivisionError, "z")
    value(lambda: undefined_name)
    value(lambda: [].missing)
    value(lambda: {}["k"])
""")

kind("imports", """
    import os.path as paths, json, collections.abc, xml.etree.ElementTree as ET
    from os import sep, path as same_path
    from math import *
    from json import dumps as to_json
    from . import beside if False else None
    try:
        import a_module_that_is_missing as fast
    except ImportError:
        fast = None
    modules = {"json": json, "decimal": "decimal"}
    def use():
        import json as late
        from decimal import Decimal
        return (paths.join("a", "b"), paths is same_path, sep, floor(2.5), pi > 3, to_json([1]), fast, late is json,
                ET.fromstring("<a><b/></a>")[0].tag, isinstance([], collections.abc.Sequence), str(Decimal("1.5")),
                modules["json"] is late)
    def conditional(name):
        if name == "csv":
            import csv as found
        else:
            found = __import__(name)
        return found.__name__
""".replace("    from . import beside if False else None\n", ""), """
    value(use)

    value(conditional, "csv")
    value(conditional, "string")
    value(floor, 2.5)
    value(to_json, {"a": 1})

    value(lambda module: module is json, json)
    value(lambda: (json, paths))

    json.a_new_attribute = 1
    del json.a_new_attribute
    paths = json
    value(lambda: paths is json)
""")

kind("annotations", """
    import dataclasses, typing
    class Other:
        pass
    class Node:
        left: "Node | None" = None
        value: int = 0
        others: "typing.List[Other]" = ()
    @dataclasses.dataclass
    class Record:
        node: "Node"
        other: typing.Optional["Other"] = None
    def hinted(node: "Node", *others: "Other") -> "typing.Dict[str, Record]":
        pass
    Pair = typing.Tuple[Other, Node]
    Union = typing.Union[Node, int]
    def hints():
        return (typing.get_type_hints(Node), typing.get_type_hints(Record), typing.get_type_hints(hinted),
                typing.get_args(Pair), Node.__annotations__)
    def field(name):
        return [field.type for field in dataclasses.fields(Record) if field.name == name]
""", """
    value(lambda: str(typing.get_type_hints(Node)["left"]).count("Node"))
    value(lambda: typing.get_type_hints(hinted)["node"])
    value(lambda: typing.get_args(Pair)[0] is Other)

    value(lambda: sorted(typing.get_type_hints(Record)))
    value(field, "node")
    value(lambda: len(hints()))

    value(typing.get_type_hints, Record)
    value(lambda: Pair)
    value(lambda: Union)
""")

kind("names", """
    secret = 41
    class Hidden:
        n = 1
    def helper():
        return "helped"
    def evaluated(text):
        return eval(text)
    def executed(text):
        space = {}
        exec(text, globals(), space)
        return space
    def listed():
        return sorted(name for name in globals() if name in ("secret", "Hidden", "helper", "evaluated", "added"))
    def looked_up(name):
        return globals()[name]
    def through_vars(name):
        here = 5
        return locals()["here"], vars().get("name"), name in dir(Hidden)
    def builtin(name):
        return getattr(__builtins__, name) if not isinstance(__builtins__, dict) else __builtins__[name]
    def own():
        return own.__name__, own.__module__ == __name__, own.__qualname__
""", """
    value(evaluated, "secret + Hidden.n")
    value(evaluated, "helper()")

    value(executed, "a = secret; b = helper()")
    value(listed)
    value(looked_up, "secret")
    value(looked_up, "Hidden")
    value(looked_up, "helper")

    value(through_vars, "n")
    value(builtin, "len")
    value(own)

    added = 7
    value(listed)
    value(looked_up, "added")
    value(evaluated, "added")
    del added
    value(looked_up, "added")

    secret = secret + 1
    value(evaluated, "secret")
""")

kind("operators", """
    class Vector:
        def __init__(self, *xs):
            self.xs = xs
        def __add__(self, other):
            return Vector(*map(sum, zip(self.xs, other.xs)))
        __radd__ = lambda self, other: self if other == 0 else self + other
        def __getitem__(self, key):
            return self.xs[key]
        def __len__(self):
            return len(self.xs)
        def __bool__(self):
            return False
        def __iter__(self):
            yield from self.xs
        def __contains__(self, x):
            return x in self.xs
        def __eq__(self, other):
            return isinstance(other, Vector) and self.xs == other.xs
        def __hash__(self):
            return hash(self.xs)
        def __call__(self, scale=1):
            return [x * scale for x in self.xs]
        def __getattr__(self, name):
            if name.startswith("x") and name[1:].isdigit():
                return self.xs[int(name[1:])]
            raise AttributeError(name)
        def __format__(self, spec):
            return "<%s>" % ",".join(format(x, spec) for x in self.xs)
        def __matmul__(self, other):
            return sum(a * b for a, b in zip(self, other))
        def __enter__(self):
            return self
        def __exit__(self, *_):
            return True
        def __class_getitem__(cls, item):
            return cls, item
    class Guarded:
        def __init__(self):
            object.__setattr__(self, "n", 1)
        def __setattr__(self, name, it):
            raise TypeError("read only: " + name)
        def __getattribute__(self, name):
            if name == "forbidden":
                raise RuntimeError("forbidden")
            return object.__getattribute__(self, name)
        def __delattr__(self, name):
            raise TypeError(name)
    zero, unit = Vector(0, 0), Vector(1, 1)
    def use(v):
        with v as same:
            1 / 0
        return (v + unit, sum([v, v]), v[0], len(v), bool(v), list(v), 3 in v, v == Vector(*v.xs), {v: 1}[Vector(*v.xs)],
                v(2), v.x1, format(v, "03d"), v @ v, same is v, Vector[int][1])
    def guarded(it):
        try:
            it.n = 2
        except TypeError as error:
            return it.n, str(error)
""", """
    value(use, Vector(1, 2))
    value(use, zero)

    value(unit, 5)
    value(zero)
    value(lambda: (zero, unit))

    value(guarded, Guarded())
    value(Guarded)
    value(lambda v: v.x9, unit)
""")

kind("nested", """
    class Outer:
        class Inner:
            class Deepest:
                n = 3
            def make(self):
                return Outer.Inner.Deepest()
        inner = Inner()
        def method(self):
            class Local(Outer.Inner):
                def named(self):
                    return __class__.__qualname__
            return Local
        table = {"double": lambda self, n: 2 * n}
    def factory(base):
        class Made(base):
            origin = base.__name__
            def who(self):
                return super().__repr__ is not None, self.origin
        def helper():
            return Made, Made.origin
        Made.helper = staticmethod(helper)
        return Made
    MadeOfInt, MadeOfOuter = factory(int), factory(Outer)
    def use():
        local = Outer().method()
        return (Outer.Inner().make(), local().named(), local.__qualname__, MadeOfInt(5) + 1, MadeOfInt(5).who(),
                MadeOfOuter.helper()[0] is MadeOfOuter, Outer.table["double"](None, 4), Outer.inner.make().n)
    def results():
        def function():
            return Local
        class Local:
            def __eq__(self, other):
                return type(self) is type(other)
        return Local(), function, Local
""", """
    value(use)
    value(MadeOfInt, 4)
    value(MadeOfOuter)

    value(lambda kind: (kind is MadeOfInt, kind(3)), MadeOfInt)
    value(lambda thing: type(thing) is Outer.Inner.Deepest, Outer.Inner.Deepest())
    value(Outer.Inner().make)

    value(results)
    value(lambda: type(results()[0]).__name__)

    Outer.Inner.Deepest.n = 30
    value(use)
""")

kind("callables", """
    import operator
    scale = 2
    class Caller:
        def __init__(self, n):
            self.n = n
        def __call__(self, m):
            return self.n * m * scale
        def method(self, m):
            return self.n + m
        @classmethod
        def klass(cls, m):
            return cls.__name__, m
        @staticmethod
        def static(m):
            return "static", m
    caller = Caller(3)
    table = {"call": caller, "method": caller.method, "lambda": lambda m: m * scale, "get": operator.itemgetter(0),
             "len": len, "upper": str.upper, "class": Caller}
    bound = caller.method
    def by_name(name, arg):
        return table[name](arg)
    def apply(function, *args):
        return function(*args)
    def same(function):
        return function is bound, function == bound, function.__self__ is caller
""", """
    value(caller, 4)
    value(caller.method, 4)
    value(Caller.klass, 4)
    value(Caller.static, 4)
    value(bound, 1)

    value(by_name, "lambda", 3)
    value(by_name, "call", 3)
    value(by_name, "method", 3)
    value(by_name, "get", [8])
    value(by_name, "class", 8)

    value(apply, caller, 5)
    value(apply, table["lambda"], 5)
    value(apply, apply, len, [1, 2])
    value(apply, str.upper, "a")
    value(apply, operator.attrgetter("n"), caller)

    scale = scale * 10
    value(by_name, "lambda", 3)
    value(caller, 1)

    caller.n = caller.n + 1
    value(caller, 1)
    value(by_name, "method", 1)
    value(bound, 1)
""")

kind("aliases", """
    items = [1]
    also = items
    table = {"items": items, "again": items}
    class Holder:
        shared = items
        own = []
    holder = Holder()
    holder.items = items
    def closing():
        mine = items
        return lambda: mine is items
    same = closing()
    def default(it=items):
        return it is items
    loop = [1]
    loop.append(loop)
    ring = {"a": {}}
    ring["a"]["back"] = ring
    class Linked:
        pass
    Linked.default = Linked()
    Linked.default.kind = Linked
    def linked():
        return Linked.default.kind is Linked, type(Linked.default) is Linked
    def read():
        return (also is items, table["items"] is items, table["again"] is items, Holder.shared is items,
                holder.items is items, same(), default(), list(also), loop[1] is loop, ring["a"]["back"] is ring)
    def one():
        return list(items)
    def other():
        return list(also), table["items"]
""", """
    value(read)
    value(one)
    value(other)

    items.append(len(items))
    value(one)
    value(other)
    value(read)

    also = list(also)
    value(read)

    table["again"] = "elsewhere"
    value(read)

    also.append("also")
    value(other)
    value(one)

    value(linked)
    Linked.default.kind = int
    value(linked)

    items = also
    value(read)
""")

kind("values", """
    import array, collections, datetime, decimal, fractions, pathlib, random, re, types, uuid
    VALUES = {
        "float": [1.5, float("inf"), -0.0], "complex": 1 + 2j, "bytes": b"\\0\\xff", "bytearray": bytearray(b"ab"),
        "range": range(1, 9, 2), "slice": slice(1, None, 2), "ellipsis": ..., "none": None, "big": 2 ** 200,
        "frozenset": frozenset({1, 2}), "set": {3}, "nested": ((), [[]], {(): {}}), "text": "\\ud83d\\ude00 \\x00 \\xe9",
        "date": datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc), "delta": datetime.timedelta(1, 2),
        "decimal": decimal.Decimal("1.10"), "fraction": fractions.Fraction(1, 3), "path": pathlib.PurePosixPath("a/b"),
        "re": re.compile("a+", re.I), "array": array.array("d", [1, 2]), "deque": collections.deque([1, 2], 5),
        "ordered": collections.OrderedDict(b=1, a=2), "counter": collections.Counter("aab"),
        "chain": collections.ChainMap({"a": 1}, {"b": 2}), "space": types.SimpleNamespace(n=1, m=[2]),
        "uuid": uuid.UUID(int=5), "type": int, "generic": list[int], "union": int | None, "builtin": len,
        "method": str.upper, "bound": [1, 2].count, "not": NotImplemented, "default": collections.defaultdict(list, a=[1]),
        "user": collections.UserDict(a=1), "exception": ValueError("v", 1), "enumerated": re.I, "module": re,
    }
    lazy = collections.defaultdict(lambda: "made")
    proxy = types.MappingProxyType({"a": 1})
    def get(name):
        return VALUES[name]
    def same(name, thing):
        return VALUES[name] == thing, type(VALUES[name]) is type(thing)
""", """
    value(lambda: [VALUES[name] for name in ("float", "complex", "bytes", "bytearray", "range", "slice", "ellipsis")])
    value(lambda: [VALUES[name] for name in ("none", "big", "frozenset", "set", "nested", "text", "date", "delta")])

    value(lambda: [VALUES[name] for name in ("decimal", "fraction", "path", "re", "array", "deque", "ordered")])
    value(lambda: [VALUES[name] for name in ("counter", "chain", "space", "uuid", "type", "generic", "union")])

    value(lambda: [VALUES[name] for name in ("builtin", "method", "not", "default", "user", "enumerated", "module")])
    value(get, "exception")

    value(same, "date", VALUES["date"])
    value(same, "ordered", VALUES["ordered"])
    value(same, "generic", list[int])
    value(same, "text", VALUES["text"])

    value(lambda: lazy["missing"])
    value(lambda thing: thing["x"], lazy)

    VALUES["deque"].append(3)
    VALUES["space"].m.append(9)
    value(get, "deque")
    value(get, "space")

    VALUES["bytearray"][0] = 120
    value(get, "bytearray")
    VALUES["array"].append(7)
    value(get, "array")
""")

kind("subclasses", """
    import collections
    class Number(int):
        def __new__(cls, n, label=""):
            it = super().__new__(cls, n)
            it.label = label
            return it
        def __add__(self, other):
            return Number(int(self) + other, self.label)
        def __getnewargs__(self):
            return int(self), self.label
    class Text(str):
        __slots__ = ()
        def shout(self):
            return self.upper() + "!"
    class Record(dict):
        def __getattr__(self, name):
            try:
                return self[name]
            except KeyError:
                raise AttributeError(name) from None
    class Items(list):
        def __init__(self, *args):
            super().__init__(args)
            self.extra = len(args)
        def __reduce__(self):
            return Items, tuple(self)
    class Missing(dict):
        def __missing__(self, key):
            return "no " + key
    class Default(collections.defaultdict):
        pass
    class Pair(tuple):
        def __new__(cls, a, b):
            return super().__new__(cls, (a, b))
        def __getnewargs__(self):
            return tuple(self)
    class Float(float):
        pass
    class Mixin:
        def who(self):
            return "mixin, " + super().who()
    class Root:
        def who(self):
            return "root"
    class Left(Mixin, Root):
        def who(self):
            return "left, " + super().who()
    class Both(Left, Mixin, Root):
        pass
    def use():
        return (Number(1, "l") + 2, (Number(1, "l") + 2).label, Text("a").shout(), Record(n=1).n, Items(1, 2),
                Missing()["k"], Default(list, a=1), Pair(1, 2), Float(1.5), Both().who(), [k.__name__ for k in Both.__mro__])
    def look(thing):
        return thing, type(thing).__name__, thing == thing
""", """
    value(use)

    value(look, Number(5, "five"))
    value(look, Text("text"))
    value(look, Record(a=1))
    value(look, Items(1, 2, 3))
    value(look, Pair(1, 2))

    value(Missing().__getitem__, "key")
    value(Text("x").shout)
    value(Both().who)

    Mixin.who = lambda self: "patched"
    value(use)
    value(Both().who)
""")

kind("attributes", """
    def f(n):
        return n, f.level, sorted(vars(f))
    f.level = 1
    class Thing:
        def method(self):
            return Thing.method.level
        method.level = 2
    handler = lambda: handler.name
    handler.name = "handler"
    thing = Thing()
    thing.callback = lambda: thing.n
    thing.n = 5
    def use(it):
        return it.callback()
""", """
    value(f, 1)

    f.level = f.level + 1
    value(f, 1)

    f.more = []
    value(f, 2)
    del f.more
    value(f, 2)

    value(Thing().method)
    Thing.method.level = "changed"
    value(Thing().method)

    value(handler)
    handler.name = handler.name + "!"
    value(handler)

    value(use, thing)
    thing.n = thing.n + 1
    value(use, thing)
    value(thing.callback)
""")

kind("made functions", """
    import types
    space = {"__builtins__": __builtins__, "n": 5, "__name__": "elsewhere"}
    exec("def made(m): return n + m", space)
    made = space["made"]
    level = 3
    compiled = eval("lambda m: m * level")
    def template(m):
        return m + level
    other_globals = types.FunctionType(template.__code__, {"level": 100}, "other_globals")
    renamed = types.FunctionType(template.__code__, globals(), "renamed")
    exec('''
    class Executed:
        def __init__(self, n):
            self.n = n
        def total(self):
            return self.n * level
    ''')
    Typed = type("Typed", (Executed,), {"extra": lambda self: self.n + level, "__module__": __name__})
    def use():
        return made(1), compiled(2), template(3), other_globals(4), renamed(5), Executed(6).total(), Typed(7).extra()
""", """
    value(use)
    value(made, 1)
    value(compiled, 2)
    value(other_globals, 3)
    value(renamed, 3)

    space["n"] = space["n"] + 10
    value(made, 1)
    value(use)

    level = level + 1
    value(use)
    value(compiled, 1)
    value(Executed(2).total)

    value(Typed(4).extra)
    value(lambda: (Executed(1), Typed(2)))
    template.__code__ = (lambda m: ("replaced", m)).__code__
    value(use)
""")

kind("shadowing", """
    len_of = len
    def sized(it):
        return len(it)
    def sorted(it):
        return "mine", list(it)
    def use(it):
        return sorted(it), sized(it), max(it)
    int_of = int
    class list_like:
        def list(self):
            return list((1, 2))
""", """
    value(use, [2, 1])

    len = lambda it: "shadow"
    value(sized, [1])
    value(use, [1])
    del len
    value(sized, [1])

    max = 5
    value(use, [1])
    del max
    value(use, [3])

    value(list_like().list)
""")

kind("introspection", """
    import inspect
    class Thing:
        \"\"\"The thing.\"\"\"
        def method(self, a, *, b: int = 2) -> str:
            \"\"\"The method.\"\"\"
            return type(self).__name__
    def function(a, b=1, *args, c, **more):
        \"\"\"The function.\"\"\"
        def inner():
            pass
        return inner
    async def coroutine():
        return inspect.currentframe().f_code.co_name
    def generator():
        yield
    def use():
        return (str(inspect.signature(function)), str(inspect.signature(Thing.method)), inspect.getdoc(function), Thing.__doc__,
                Thing.method.__doc__, function.__code__.co_varnames, inspect.iscoroutinefunction(coroutine),
                inspect.isgeneratorfunction(generator), inspect.isclass(Thing), Thing.__qualname__, Thing.method.__qualname__,
                function(1, c=2).__qualname__, function.__code__.co_firstlineno > 0)
    def lines():
        try:
            return inspect.getsource(function).split(":")[0]
        except (OSError, TypeError):
            return "no source"
    def frame():
        return inspect.currentframe().f_code.co_name, inspect.currentframe().f_globals is globals()
""", """
    value(use)
    value(lines)
    value(frame)

    value(coroutine)
    value(inspect.signature, function)
    value(Thing().method, 1)

    Thing.__doc__ = "Another doc."
    value(use)
    function.__name__ = "another_name"
    value(lambda: function.__name__)
""")

kind("async", """
    import asyncio
    base = 10
    class Client:
        def __init__(self, n):
            self.n = n
        async def get(self, m):
            await asyncio.sleep(0)
            return self.n + m + base
        async def __aenter__(self):
            return self
        async def __aexit__(self, *_):
            return False
    async def work(n):
        async with Client(n) as client:
            return await asyncio.gather(*[client.get(m) for m in range(3)])
    async def fail(n):
        await asyncio.sleep(0)
        raise LookupError(n)
    async def numbers(n):
        for m in range(n):
            yield m * base
    async def collect(n):
        return [m async for m in numbers(n)]
    def outside(n):
        return asyncio.run(work(n))
""", """
    value(work, 1)
    value(collect, 3)
    value(Client(5).get, 1)

    value(fail, 1)
    value(outside, 2)

    base = base + 1
    value(work, 1)
    value(outside, 1)
""")

kind("deletion", """
    level = 1
    class Thing:
        one, two = 1, 2
        def method(self):
            return "method"
    table = {"a": 1, "b": 2}
    def read():
        return level
    def attributes():
        return [name for name in ("one", "two", "method", "three") if hasattr(Thing, name)]
    def keys():
        return list(table)
""", """
    value(read)
    value(attributes)
    value(keys)

    level = 2
    value(read)
    del level
    value(read)
    level = 3
    value(read)

    Thing.three = 3
    value(attributes)
    del Thing.three
    value(attributes)

    table.pop(next(iter(table), None), None)
    value(keys)

    table.clear()
    value(keys)
    table.update(z=1)
    value(keys)
""")

kind("equal values", """
    one = 1
    flag = True
    text = "a"
    pair = (1, 2.0)
    zero = 0.0
    items = [1, True, 1.0]
    def read():
        return [(type(each).__name__, each) for each in (one, flag, text, *pair, zero, *items)]
    def key():
        return {one: "one"}
""", """
    value(read)

    one = 1.0
    value(read)
    value(key)

    one = True
    value(read)
    value(key)

    zero = -0.0
    value(read)

    pair = (True, 2)
    value(read)

    items[0], items[1] = items[1], items[0]
    value(read)

    items[2] = 1
    value(read)

    text = b"a"
    value(read)
    text = bytearray(b"a")
    value(read)
""")

# What tasks leave in their worker.

kind("counters", """
    count, names = 0, []
    table = {"n": 0}
    def up(n):
        global count
        count += n
        table["n"] += 1
        names.append("n%d" % n)
        return count
    def read():
        return count, dict(table), list(names)
    def remove():
        global count
        del count
    def restore():
        globals()["count"] = 100
        return count
""", """
    state(up, 1)
    state(up, 2)

    state(read)
    show((table, names))

    state(remove)
    state(up, 1)

    state(restore)
    state(read)
""")

kind("connections", """
    class Client:
        connection = None
        opened = []
        def __init__(self, n):
            self.n = n
        def use(self):
            if Client.connection is None:
                Client.connection = "connection"
                Client.opened.append(self.n)
            return len(Client.opened)
        @classmethod
        def reset(cls):
            cls.connection = None
            return cls.opened
    connection = None
    def connect(name):
        global connection
        connection = name
    def query():
        return connection
    def use(client):
        return client.use(), type(client) is Client
    both = lambda: (Client.connection, connection)
""", """
    state(use, Client(1))
    state(use, Client(2))

    state(Client(3).use)
    state(Client.reset)

    state(connect, "db")
    state(query)

    state(both)
    show(Client.opened)
""")

kind("lazy", """
    import functools
    data, loads = None, 0
    def load():
        global data, loads
        if data is None:
            data = [1, 2, 3]
            loads += 1
        return loads
    @functools.lru_cache(maxsize=None)
    def cached(n):
        return n * 2
    @functools.cache
    def opened(name):
        return [name]
    def twice(n):
        return opened(n) is opened(n)
    class Lazy:
        @functools.cached_property
        def it(self):
            made.append(1)
            return len(made)
    info = lambda: (cached.cache_info(), opened.cache_info().currsize)
    made = []
    LAZY = Lazy()
    def use_lazy():
        return LAZY.it, len(made)
    def clear():
        cached.cache_clear()
    def module():
        global heavy
        try:
            heavy
        except NameError:
            import heapq as heavy
            return "imported"
        return heavy.__name__
""", """
    state(load)
    state(load)

    state(cached, 2)
    state(info)

    state(twice, "a")
    state(clear)
    state(info)

    state(use_lazy)
    state(use_lazy)

    state(module)
    show((data, loads, made))
""")

kind("cells", """
    def counter():
        count, trail = 0, []
        def up(n=1):
            nonlocal count
            count += n
            trail.append(count)
            return count
        def read():
            return count, list(trail)
        return up, read
    up, read = counter()
    def both():
        return up(), read()
    def remembered(n, memory=[]):
        memory.append(n)
        return list(memory)
    def attribute():
        attribute.calls += 1
        return attribute.calls
    attribute.calls = 0
    def keyword(n, *, seen={}):
        seen[n] = seen.get(n, 0) + 1
        return dict(seen)
""", """
    state(up)
    state(up, 5)
    state(read)

    state(both)
    show(read())

    state(remembered, 1)
    state(remembered, 2)

    state(attribute)
    state(attribute)

    state(keyword, "a")
    show(attribute.calls)
""")

kind("registries", """
    import functools
    registry = {}
    class Plugin:
        def __init_subclass__(cls):
            registry[cls.__name__] = cls
    class Known(Plugin):
        pass
    @functools.singledispatch
    def shown(thing):
        return "object"
    def define(name):
        type(name, (Plugin,), {})
        return sorted(registry), len(Plugin.__subclasses__()) >= 1
    def register(name):
        shown.register(complex, lambda thing: name)
        return shown(1j)
    def dispatch():
        return shown(1j), shown(1)
    def patch(name):
        Known.patched = name
        Known.method = lambda self: self.patched
        return Known().method()
    def patched():
        return getattr(Known, "patched", None), hasattr(Known, "method")
    def replace():
        global helper
        helper = lambda: "replaced"
    def helper():
        return "first"
    def help():
        return helper()
""", """
    state(define, "New")
    state(define, "Newer")

    state(dispatch)
    state(register, "complex")
    state(dispatch)

    state(patched)
    state(patch, "it")
    state(patched)

    state(help)
    state(replace)
    state(help)
    show((sorted(registry), patched(), help()))
""")

kind("objects", """
    import collections, itertools, threading
    ids = itertools.count(10)
    lock = threading.Lock()
    ready = threading.Event()
    groups = collections.defaultdict(list)
    recent = collections.deque(maxlen=2)
    class Counter:
        def __init__(self):
            self.n = 0
        def up(self):
            self.n += 1
            return self.n
    COUNTER = Counter()
    COUNTERS = [COUNTER, Counter()]
    def next_id():
        with lock:
            return next(ids)
    def group(n):
        groups[n % 2].append(n)
        recent.append(n)
        return dict(groups), list(recent)
    def signal():
        before = ready.is_set()
        ready.set()
        return before
    def count():
        return COUNTER.up(), COUNTERS[0] is COUNTER, COUNTERS[0].n, COUNTERS[1].up()
    stack = []
    class Entered:
        def __enter__(self):
            stack.append("in")
        def __exit__(self, *_):
            stack.pop()
            stack.append("out")
    def enter():
        with Entered():
            return list(stack)
""", """
    state(next_id)
    state(next_id)

    state(group, 1)
    state(group, 2)

    state(signal)
    state(signal)

    state(count)
    state(count)

    state(enter)
    state(enter)
    show((COUNTER.n, stack, dict(groups)))
""")

kind("initializer", """
    level, table, items = 0, {}, [1]
    class Client:
        connection = None
        def prepare(self, name):
            Client.connection = name
    def prepare(value_of):
        global level
        level = value_of
        globals()["setting"] = value_of + 1
        table["k"] = value_of
        items.append(value_of)
        Client.connection = "prepared"
    def read():
        return level, globals().get("setting"), dict(table), list(items), Client.connection
    def by_name():
        return setting
    def up():
        global level
        level += 1
        return level
""", """
    initialize(prepare, 7)
    state(read)
    state(by_name)
    state(up)
    state(up)
    state(read)
""")

kind("initializer method", """
    class Client:
        connection = None
        def __init__(self, name):
            self.name = name
        def prepare(self, port):
            Client.connection = self.name, port
    def read():
        return Client.connection
    client = Client("db")
    also = lambda: Client.connection
""", """
    initialize(client.prepare, 5)
    state(read)
    state(also)
""")

kind("reach", """
    import functools
    deep = {"n": 1}
    def by_default(n, m=lambda: deep["n"]):
        return n + m()
    def decorated_with(function):
        @functools.wraps(function)
        def call(*args):
            return function(*args), deep_helper()
        return call
    def deep_helper():
        return "helped", [(lambda: deep["n"])() for _ in range(1)]
    @decorated_with
    def wrapped(n):
        return n
    class Outer:
        table = {"call": lambda self: deep_helper()}
        class Inner:
            @property
            def it(self):
                return Outer.table["call"](self)
        def method(self):
            return self.Inner().it
        def __format__(self, spec):
            return "%s of %s" % (spec, deep_helper()[0])
    class Meta(type):
        def __call__(cls, *args):
            made = super().__call__(*args)
            made.extra = deep_helper()
            return made
    class Made(metaclass=Meta):
        pass
    def generator():
        yield from (deep_helper() for _ in range(2))
    def formatted():
        return f"{Outer():spec} {deep_helper()[0]!r} {deep['n']:03d}"
    def nested_global():
        def set_it():
            global set_by_nested
            set_by_nested = deep["n"]
        set_it()
        return set_by_nested
    def matched(thing):
        match thing:
            case {"n": n, **rest}:
                return n, rest, deep_helper()
            case Outer():
                return "outer"
            case [first, *_] if (size := len(thing)) > 1:
                return first, size
        return None
    partial_of = functools.partial(functools.partial(by_default, 5))
    handlers = [deep_helper, Outer().method, partial_of]
    def all_handlers():
        return [handler() for handler in handlers]
""", """
    value(by_default, 1)
    value(wrapped, 2)
    value(Outer().method)

    value(lambda: Made().extra)
    value(Made)
    value(formatted)

    value(lambda: list(generator()))
    value(nested_global)
    value(matched, {"n": 1, "m": 2})
    value(matched, Outer())
    value(matched, [7, 8])

    value(partial_of)
    value(all_handlers)

    deep["n"] = deep["n"] + 1
    value(by_default, 1)
    value(wrapped, 2)
    value(all_handlers)
    value(formatted)

    def deep_helper():
        return "replaced", deep["n"]
    value(wrapped, 2)
    value(Outer().method)
    value(lambda: Made().extra)
""")

kind("more sentinels", """
    import enum
    class ClassAsSentinel:
        pass
    def function_as_sentinel():
        pass
    lambda_as_sentinel = lambda: None
    class Empty(enum.Enum):
        token = 0
    EMPTY = Empty.token
    class Slotted:
        __slots__ = ()
        def __bool__(self):
            return False
    SLOTTED = Slotted()
    class WithNew:
        it = None
        def __new__(cls):
            if cls.it is None:
                cls.it = object.__new__(cls)
            return cls.it
        def __repr__(self):
            return "<WithNew>"
    ONLY = WithNew()
    STOP = object()
    START, END = object(), object()
    SENTINELS = [ClassAsSentinel, function_as_sentinel, lambda_as_sentinel, EMPTY, SLOTTED, ONLY, STOP, START, END,
                 Ellipsis, NotImplemented, int, len, ()]
    class Problem(Exception):
        pass
    class Node:
        def __init__(self, following=END):
            self.following = following
        def last(self):
            return self.following is END
    def which(thing):
        return [n for n, each in enumerate(SENTINELS) if each is thing]
    def directly(thing, other=STOP):
        return (thing is ClassAsSentinel, thing is function_as_sentinel, thing is lambda_as_sentinel, thing is EMPTY,
                thing is SLOTTED, thing is ONLY, thing is STOP, thing is other)
    def give(n):
        return [SENTINELS[n], {"key": SENTINELS[n]}]
    def fail(n):
        raise Problem(SENTINELS[n], n)
    def in_exception(error):
        return which(error.args[0])
    def chained():
        return Node(), Node(Node())
    def closing(thing):
        return lambda: which(thing)
    def alone():
        return WithNew() is ONLY
""", """
    for each in SENTINELS:
        value(which, each)

    for each in SENTINELS:
        value(directly, each)

    value(lambda n: give(n)[0] is SENTINELS[n], 7)
    for each in range(4):
        value(give, each)

    value(fail, 0)
    value(in_exception, Problem(START))
    value(in_exception, Problem(lambda_as_sentinel))

    value(Node().last)
    value(Node(3).last)
    value(lambda node: (node.last(), node.following.last()), Node(Node()))
    value(chained)

    value(closing(STOP))
    value(closing(SLOTTED))
    value(alone)
""")

kind("library classes", """
    import argparse, ast, collections.abc, ctypes, html.parser, json, logging, string, threading, unittest
    class Encoder(json.JSONEncoder):
        def default(self, thing):
            return {"set": sorted(thing)} if isinstance(thing, set) else super().default(thing)
    class Visitor(ast.NodeVisitor):
        def __init__(self):
            self.names = []
        def visit_Name(self, node):
            self.names.append(node.id)
            self.generic_visit(node)
    class Mapping(collections.abc.Mapping):
        def __init__(self, **items):
            self._items = items
        def __getitem__(self, key):
            return self._items[key]
        def __iter__(self):
            return iter(self._items)
        def __len__(self):
            return len(self._items)
    class Worker(threading.Thread):
        def __init__(self, n):
            super().__init__()
            self.n, self.result = n, None
        def run(self):
            self.result = self.n * 2
    class Template(string.Template):
        delimiter = "%"
    class Action(argparse.Action):
        def __call__(self, parser, space, values, option=None):
            setattr(space, self.dest, values.upper())
    class Struct(ctypes.Structure):
        _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]
        def total(self):
            return self.x + self.y
    class Case(unittest.TestCase):
        def test_it(self):
            self.assertEqual(1, 1)
    class Handler(logging.Handler):
        def __init__(self):
            super().__init__()
            self.seen = []
        def emit(self, record):
            self.seen.append(record.getMessage())
    class Formatter(string.Formatter):
        def get_value(self, key, args, kwargs):
            return kwargs.get(key, "?") if isinstance(key, str) else super().get_value(key, args, kwargs)
    log = logging.getLogger("a logger of the program")
    log.propagate = False
    def encoded():
        return json.dumps({"a": {1, 2}}, cls=Encoder, sort_keys=True)
    def visited(text):
        visitor = Visitor()
        visitor.visit(ast.parse(text))
        return visitor.names
    def threads(n):
        worker = Worker(n)
        worker.start()
        worker.join()
        return worker.result
    def parsed(*args):
        parser = argparse.ArgumentParser()
        parser.add_argument("--name", action=Action)
        return parser.parse_args(args).name
    def logged():
        handler = Handler()
        log.addHandler(handler)
        log.warning("it is %d", 5)
        log.removeHandler(handler)
        return handler.seen
    def structure():
        struct = Struct(1, 2.5)
        return struct.total(), ctypes.sizeof(Struct)
    def tested():
        return unittest.defaultTestLoader.loadTestsFromTestCase(Case).countTestCases(), Case("test_it").run().wasSuccessful()
    def rest():
        return Template("%it").substitute(it=1), Formatter().format("{0} {a} {b}", 1, b=2), dict(Mapping(a=1)), "a" in Mapping(a=1)
""", """
    value(encoded)
    value(visited, "a + b(c)")
    value(threads, 4)

    value(parsed, "--name", "x")
    value(logged)
    value(structure)

    value(tested)
    value(rest)
    value(lambda mapping: (dict(mapping), type(mapping) is Mapping), Mapping(z=1))
    value(Mapping)
""")

kind("singletons", """
    import weakref
    class Meta(type):
        _made = {}
        def __call__(cls, *args):
            if cls not in Meta._made:
                Meta._made[cls] = super().__call__(*args)
            return Meta._made[cls]
    class Config(metaclass=Meta):
        def __init__(self):
            self.level = 1
    class Borg:
        _shared = {"n": 1}
        def __init__(self):
            self.__dict__ = self._shared
    config = Config()
    def same():
        return Config() is config, config.level, Borg().n, Borg().__dict__ is Borg._shared
    class Flyweight:
        _pool = weakref.WeakValueDictionary()
        def __new__(cls, key):
            it = cls._pool.get(key)
            if it is None:
                it = cls._pool[key] = super().__new__(cls)
                it.key = key
            return it
        def __reduce__(self):
            return Flyweight, (self.key,)
    kept = [Flyweight("a"), Flyweight("b")]
    def flies(key):
        return Flyweight(key) is Flyweight(key), Flyweight(key).key
    class Registry(dict):
        def register(self, function):
            self[function.__name__] = function
            return function
    registry = Registry()
    @registry.register
    def handle(n):
        return registry["other"](n)
    @registry.register
    def other(n):
        return n, sorted(registry), registry["handle"] is handle
    class Base:
        def find(name):
            return [kind for kind in Base.__subclasses__() if kind.__name__ == name]
    class First(Base):
        pass
    class Second(Base):
        pass
    def subclasses():
        return [kind.__name__ for kind in Base.__subclasses__()]
""", """
    value(same)
    value(flies, "a")

    value(handle, 1)
    value(other, 2)
    value(lambda: registry["handle"](3))

    value(Base.find, "Second")
    value(subclasses)

    config.level = config.level + 1
    value(same)

    Borg().n = Borg().n + 1
    value(same)

    @registry.register
    def added(n):
        return "added"
    value(other, 1)
    value(lambda: registry["added"](3))
""")

kind("made fresh", """
    import contextvars, queue, threading, weakref
    lock, rlock, event, condition = threading.Lock(), threading.RLock(), threading.Event(), threading.Condition()
    local, semaphore, tasks = threading.local(), threading.Semaphore(2), queue.Queue()
    var = contextvars.ContextVar("var", default="default")
    cache = weakref.WeakValueDictionary()
    class Guarded:
        _lock = threading.Lock()
        def __init__(self, n):
            self.n = n
            self.lock = threading.Lock()
        def __getstate__(self):
            return {"n": self.n}
        def __setstate__(self, state):
            self.__init__(state["n"])
        def get(self):
            with self._lock, self.lock:
                return self.n
    def synchronized(function, lock=threading.RLock()):
        def call(*args):
            with lock:
                return function(*args)
        return call
    @synchronized
    def counted(n):
        return n + 1
    guarded = Guarded(5)
    def use(n):
        with lock, rlock, rlock, condition, semaphore:
            local.n = n
            tasks.put(n)
            return local.n, tasks.get(), event.is_set(), var.get(), len(cache)
    def threads(n):
        seen = []
        def work():
            with lock:
                seen.append(n)
        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return seen
""", """
    value(use, 1)
    value(use, 2)

    value(counted, 1)
    value(guarded.get)
    value(Guarded(6).get)
    value(lambda: guarded.get())

    value(threads, 3)
    value(lambda: Guarded._lock.locked())
""")

kind("modern typing", """
    import dataclasses, typing
    UserId = typing.NewType("UserId", int)
    P = typing.ParamSpec("P")
    T = typing.TypeVar("T", bound="Base")
    Mode = typing.Literal["r", "w"]
    class Base:
        @typing.overload
        def get(self, n: int) -> int: ...
        @typing.overload
        def get(self, n: str) -> str: ...
        def get(self, n):
            return n
        def me(self) -> typing.Self:
            return self
    @typing.final
    class Stack(Base, typing.Generic[T]):
        def __init__(self, *items: T) -> None:
            self.items = items
    class Pair(typing.NamedTuple, typing.Generic[T]):
        first: T
        second: T
    class Config(typing.TypedDict):
        name: typing.Required[str]
        size: typing.NotRequired[int]
    class Sized(typing.Protocol[T]):
        def size(self) -> int: ...
    Alias = dict[str, list[Stack[Base]]]
    Annotated = typing.Annotated[int, "meta", Base]
    @dataclasses.dataclass
    class Holder(typing.Generic[T]):
        it: T
        mode: Mode = "r"
        alias: Alias = dataclasses.field(default_factory=dict)
    def use(n):
        return (UserId(n), Base().get(n), type(Base().me()) is Base, Stack[Base](n).items, Pair[int](1, 2), Config(name="a"),
                Holder[int](n), typing.get_args(Mode), typing.get_args(Annotated)[1], Stack.__parameters__ == (T,))
    def hints(thing):
        return sorted(typing.get_type_hints(thing, include_extras=True))
    def same(alias, variable):
        return alias == Alias, variable is T, typing.get_origin(alias) is dict
""", """
    value(use, 3)
    value(hints, Holder)
    value(hints, Config)

    value(same, Alias, T)
    value(lambda: Stack[Base](1))
    value(lambda: Holder[Base](Base()))
    value(lambda holder: type(holder) is Holder, Holder[int](4))

    value(lambda: typing.get_args(Annotated)[2] is Base)
    value(lambda: UserId.__supertype__)
""")

kind("aliased data", """
    class Node:
        def __init__(self, label):
            self.label, self.links = label, []
    def pair(a, b):
        return a is b, [a, b]
    def make():
        items = [1]
        node = Node("n")
        node.links.append(node)
        return items, items, {"node": node, "again": node}
    def cycle(node):
        return node.links[0] is node, node.label
    def graph(n):
        nodes = [Node(k) for k in range(n)]
        for node in nodes:
            node.links = nodes
        return nodes
    def shared(nodes):
        return all(node.links is nodes for node in nodes), len(nodes)
    def ring():
        node = Node("ring")
        node.links.append(node)
        return node
""", """
    items = [5]
    value(pair, items, items)
    value(pair, items, list(items))

    value(lambda made: (made[0] is made[1], made[2]["node"] is made[2]["again"]), make())
    value(make)

    value(cycle, ring())
    value(shared, graph(4))
    value(lambda: shared(graph(3)))
    value(graph, 2)
""")

kind("unused and unpicklable", """
    import os, sys
    log_file = open(os.devnull, "w")
    numbers = (n for n in range(3))
    frame = sys._getframe()
    class Service:
        connection = open(os.devnull)
        level = 2
        def __init__(self):
            self.n = 1
        def fine(self):
            return self.n, Service.level
    modules = sys
    def fine(n):
        return n + Service.level, Service().fine(), modules is sys
    def optional(use_it=False):
        if use_it:
            return len(Service.__name__)
        return "not used"
    def lazy_log():
        return hasattr(sys, "argv")
""", """
    value(fine, 1)
    value(Service().fine)
    value(Service)

    value(optional)
    value(optional, True)
    value(lazy_log)

    Service.level = Service.level + 1
    value(fine, 1)
""")

kind("memo", """
    import functools
    seen = {}
    class memoized:
        def __init__(self, function):
            functools.update_wrapper(self, function)
            self.function, self.memory, self.misses = function, {}, 0
        def __call__(self, *args):
            if args not in self.memory:
                self.misses += 1
                self.memory[args] = self.function(*args)
            return self.memory[args], self.misses
    @memoized
    def square(n):
        return n * n
    def plain_memo(n, memory={}):
        if n not in memory:
            memory[n] = len(memory)
        return memory[n]
    def by_global(n):
        if n not in seen:
            seen[n] = len(seen)
        return seen[n], square(n)
    class Account:
        total = 0
        def __init__(self, n):
            self.n = n
            type(self).total += n
    class Special(Account):
        pass
    def accounts(n):
        Account(n)
        Special(n)
        return Account.total, Special.total, "total" in vars(Special)
    def helper(n):
        return "helper", n
    def rebind():
        global helper
        helper = lambda n: ("rebound", n)
    def call(n):
        return helper(n), by_global(n)
""", """
    state(by_global, 1)
    state(by_global, 2)
    state(call, 1)

    state(plain_memo, 5)
    state(plain_memo, 6)
    state(plain_memo, 5)

    state(accounts, 3)
    state(accounts, 4)
    show(Account.total)

    state(rebind)
    state(call, 9)
""")
