"""More of the corpus in `kinds`: what everyday programs are made of, by the field's own names."""

from kinds import kind

kind("dataclass shapes", """
    import dataclasses
    unit = "kg"
    registry = []
    @dataclasses.dataclass(slots=True)
    class Slotted:
        n: int
        items: list = dataclasses.field(default_factory=list)
        def total(self):
            return self.n + len(self.items), unit
    @dataclasses.dataclass(kw_only=True, frozen=True, order=True)
    class Frozen:
        n: int = 1
        label: str = dataclasses.field(default="x", compare=False)
        def up(self):
            return dataclasses.replace(self, n=self.n + 1)
    @dataclasses.dataclass
    class Checked:
        n: int
        start: dataclasses.InitVar[int] = 5
        total: int = dataclasses.field(init=False, repr=False)
        def __post_init__(self, start):
            self.total = self.n + start
            registry.append
    @dataclasses.dataclass(slots=True, frozen=True)
    class Both(Slotted if False else object):
        a: int
        b: tuple = ()
        def __post_init__(self):
            object.__setattr__(self, "b", (self.a, *self.b))
    @dataclasses.dataclass(slots=True)
    class Child(Slotted):
        extra: int = 0
        def total(self):
            return super(Child, self).total(), self.extra
    Made = dataclasses.make_dataclass("Made", [("x", int), ("y", int, 3)], namespace={"sum": lambda self: self.x + self.y})
    def use(n):
        return (Slotted(n).total(), Frozen(n=n).up(), Checked(n).total, Both(n), Child(n, [1], 2).total(), Made(n).sum(),
                sorted([Frozen(n=2), Frozen(n=1)]), Slotted(1) == Slotted(1), {Frozen(n=1): 1}[Frozen(n=1)])
    def look(it):
        return [(field.name, field.default is dataclasses.MISSING, field.kw_only) for field in dataclasses.fields(it)]
    def freeze(it):
        try:
            it.n = 5
        except dataclasses.FrozenInstanceError as error:
            return str(error)
    def text(it):
        return repr(it), dataclasses.asdict(it), dataclasses.astuple(it)
""", """
    value(use, 3)
    value(look, Slotted)
    value(look, Frozen(n=2))

    value(freeze, Frozen(n=1))
    value(text, Slotted(1, [2]))
    value(text, Made(1))

    value(Slotted(2, ["a"]).total)
    value(Child(2).total)
    value(Frozen(n=4).up)
    value(Both, 1, (2,))

    unit = unit + "!"
    value(Slotted(1).total)

    value(lambda it: (type(it) is Both, it), Both(3))
    value(Checked, 4, start=1) if False else value(lambda: Checked(4, start=1))
""")

kind("generics", """
    import collections.abc, typing
    T, K = typing.TypeVar("T"), typing.TypeVar("K")
    class Box(typing.Generic[T]):
        def __init__(self, it: T):
            self.it = it
        def map(self, function: "typing.Callable[[T], K]") -> "Box[K]":
            return Box(function(self.it))
    class IntBox(Box[int]):
        def up(self):
            return IntBox(self.it + 1)
    class Two(Box[T], typing.Generic[T, K]):
        def __init__(self, it: T, other: K):
            super().__init__(it)
            self.other = other
    @typing.runtime_checkable
    class HasSize(typing.Protocol):
        def size(self) -> int: ...
    class Sized:
        def size(self):
            return 3
    class Own:
        def __class_getitem__(cls, item):
            return "%s of %s" % (cls.__name__, getattr(item, "__name__", item))
    class Table(dict[str, T]):
        pass
    class Items(collections.abc.Sequence[T]):
        def __init__(self, *items):
            self.items = items
        def __getitem__(self, at):
            return self.items[at]
        def __len__(self):
            return len(self.items)
    def use(n):
        return (Box(n).map(lambda it: it * 2), IntBox(n).up().up(), Two(n, "x").other, isinstance(Sized(), HasSize),
                isinstance(Own(), HasSize), Own[int], Own["x"], Table(a=1), list(Items(1, 2)), 2 in Items(1, 2))
    def look():
        return (typing.get_args(IntBox.__orig_bases__[0]), Two.__parameters__ == (T, K), Box[int] == Box[int],
                typing.get_origin(Box[Sized]) is Box, Box[Sized].__args__[0] is Sized, Box[int](4))
    def bound(alias):
        return alias.__origin__ is Box, alias(5)
""", """
    value(use, 2)
    value(look)

    value(bound, Box[str])
    value(IntBox(1).up)
    value(Box(3).map, str)

    value(lambda it: it.map(lambda n: n + 1), Box(1))
    value(lambda: Box[IntBox](IntBox(1)))
    value(Two, 1, 2)
    value(lambda it: (type(it) is Items, it[0]), Items(7))
""")

kind("descriptors", """
    import functools
    log = []
    class Typed:
        def __init__(self, kind, default=None):
            self.kind, self.default = kind, default
        def __set_name__(self, owner, name):
            self.name, self.owner = name, owner
            log.append((owner.__name__, name))
        def __get__(self, it, owner=None):
            return self if it is None else it.__dict__.get(self.name, self.default)
        def __set__(self, it, new):
            if not isinstance(new, self.kind):
                raise TypeError("%s.%s is a %s" % (self.owner.__name__, self.name, self.kind.__name__))
            it.__dict__[self.name] = new
    class classproperty:
        def __init__(self, function):
            self.function = function
        def __get__(self, it, owner=None):
            return self.function(owner)
    class Bound:
        def __init__(self, function):
            functools.update_wrapper(self, function)
            self.function = function
        def __get__(self, it, owner=None):
            return self if it is None else functools.partial(self.function, it)
        def __call__(self, *args):
            return "unbound", args
    class Record:
        n = Typed(int, 1)
        label = Typed(str)
        def __init__(self, n):
            self.n = n
        @classproperty
        def name(cls):
            return cls.__name__.lower()
        @functools.cached_property
        def costly(self):
            return ["made", self.n]
        def scale(self, by, plus=0):
            return self.n * by + plus
        double = functools.partialmethod(scale, 2)
        shifted = functools.partialmethod(scale, 1, plus=100)
        @functools.singledispatchmethod
        def show(self, thing):
            return "thing", self.n
        @show.register
        def _(self, thing: int):
            return "int", thing + self.n
        @show.register(list)
        def show_list(self, thing):
            return [self.show(each) for each in thing]
        @Bound
        def bound(self, n):
            return self.n, n
        def __getattr__(self, name):
            if name.startswith("made_"):
                return name[5:], self.n
            raise AttributeError(name)
    class Lower(Record):
        label = Typed(str, "lower")
        @property
        def scaled(self):
            return self.double()
        @scaled.setter
        def scaled(self, n):
            self.n = n // 2
    class Late(Lower):
        scaled = Lower.scaled.getter(lambda self: "late")
    def use(kind, n):
        it = kind(n)
        it.costly.append(1)
        return (it.n, it.label, it.name, kind.name, it.costly, it.double(), it.shifted(), it.show("x"), it.show(3),
                it.show([1, "y"]), it.bound(5), it.made_up, kind.n.name, kind.n.owner.__name__)
    def wrong(it):
        try:
            it.n = "text"
        except TypeError as error:
            return str(error)
    def scaled(it):
        it.scaled = 20
        return it.n, it.scaled
""", """
    value(use, Record, 2)
    value(use, Lower, 3)

    value(wrong, Record(1))
    value(wrong, Lower(1))
    value(scaled, Lower(1))
    value(scaled, Late(1))

    value(Record(4).double)
    value(Record(4).show, [1])
    value(Record(4).bound, 2)
    value(lambda it: (it.costly, vars(it)), Record(9))

    value(Record.bound, 1)
    value(lambda: sorted(log))
    value(lambda it: type(it).n is Record.n, Record(2))
""")

kind("metaclass shapes", """
    import collections
    class Ordered(type):
        members = {}
        @classmethod
        def __prepare__(mcs, name, bases, **options):
            return collections.OrderedDict(prepared=True)
        def __new__(mcs, name, bases, space, prefix="", **options):
            cls = super().__new__(mcs, name, bases, dict(space))
            cls.order = [key for key in space if not key.startswith("_")]
            cls.prefix = prefix
            mcs.members[name] = cls
            return cls
        def __init__(cls, name, bases, space, **options):
            super().__init__(name, bases, space)
        def __iter__(cls):
            return iter(cls.order)
        def __len__(cls):
            return len(cls.order)
        def __contains__(cls, name):
            return name in cls.order
        def __getitem__(cls, name):
            return getattr(cls, name)
        def __call__(cls, *args, **kwargs):
            it = super().__call__(*args, **kwargs)
            it.made_by = cls.__name__
            return it
        def __instancecheck__(cls, it):
            return getattr(it, "quacks", False) or super().__instancecheck__(it)
        def __repr__(cls):
            return "<%s %s>" % (type(cls).__name__, cls.__name__)
        @property
        def title(cls):
            return cls.prefix + cls.__name__
        def describe(cls):
            return cls.title, len(cls)
    class Base(metaclass=Ordered, prefix="a "):
        x = 1
        y = 2
        def __init__(self, n=0):
            self.n = n
    class Child(Base, prefix="the "):
        z = 3
    class Duck:
        quacks = True
    def use(cls):
        return (list(cls), len(cls), "x" in cls, cls.title, cls.describe(), cls(4).made_by, repr(cls), cls["x"],
                isinstance(Duck(), cls), isinstance(3, cls), sorted(Ordered.members))
    def find(name):
        return Ordered.members[name] is Child, Ordered.members[name](2)
""", """
    value(use, Base)
    value(use, Child)

    value(find, "Child")
    value(Base.describe)
    value(Child, 3)

    Base.x = Base.x + 10
    value(use, Child)

    value(lambda: [each.title for each in Ordered.members.values()])
    value(lambda it: (it.made_by, type(it) is Child, type(type(it)) is Ordered), Child(1))
""")

kind("enum shapes", """
    import enum
    class Color(enum.Enum):
        RED = "r"
        GREEN = "g"
        CRIMSON = "r"
        shade_of = lambda self: len(self.value)
        @classmethod
        def default(cls):
            return cls.GREEN
        @property
        def other(self):
            return Color.GREEN if self is Color.RED else Color.RED
        @classmethod
        def _missing_(cls, value):
            return cls.RED if value == "?" else None
    class Access(enum.Flag):
        READ = enum.auto()
        WRITE = enum.auto()
        ALL = READ | WRITE
    class Bits(enum.IntFlag):
        A = 1
        B = 4
    class Text(str, enum.Enum):
        ON = "on"
        OFF = "off"
        def __str__(self):
            return self.value
    class Planet(enum.Enum):
        EARTH = 5.9, 6.3
        MARS = 0.6, 3.3
        def __init__(self, mass, radius):
            self.mass, self.radius = mass, radius
        @property
        def density(self):
            return round(self.mass / self.radius, 2)
    class Coded(int, enum.Enum):
        def __new__(cls, code, text):
            it = int.__new__(cls, code)
            it._value_, it.text = code, text
            return it
        OK = 200, "fine"
        GONE = 410, "gone"
    class Auto(enum.Enum):
        def _generate_next_value_(name, start, count, last):
            return name.lower()
        FIRST = enum.auto()
        SECOND = enum.auto()
    Made = enum.Enum("Made", "ONE TWO", module=__name__)
    class Paint:
        class Shade(enum.IntEnum):
            DARK = 1
            LIGHT = 2
        default = Shade.DARK
    names = {Color.RED: "red", Access.READ: "read", Text.ON: 1}
    def use():
        return (Color("r") is Color.RED, Color("?"), Color.CRIMSON is Color.RED, Color.RED.other, Color.default(),
                Access.READ | Access.WRITE is Access.ALL, Access.READ in Access.ALL, Bits.A | Bits.B, Bits(5), Text.ON == "on",
                str(Text.OFF), Planet.MARS.density, Coded(200).text, Auto.SECOND.value, Made.TWO, names[Color.RED],
                Paint.default is Paint.Shade.DARK, Paint.Shade(2))
    def same(member):
        return member in list(type(member)), member.name, type(member)(member.value) is member, names.get(member)
    def kinds(member):
        return [type(each).__name__ for each in (member, member.value)]
    def combined(flags):
        return flags, Access.WRITE in flags, ~flags, bool(flags & Access.READ)
    def matched(thing):
        match thing:
            case Color.RED:
                return "red"
            case Text.ON | Text.OFF:
                return "text"
            case Access():
                return "access"
        return "other"
""", """
    value(use)
    for each in (Color.RED, Access.ALL, Text.ON, Planet.EARTH, Coded.GONE, Auto.FIRST, Made.ONE, Paint.Shade.LIGHT):
        value(same, each)

    value(combined, Access.READ)
    value(combined, Access.READ | Access.WRITE)
    value(kinds, Coded.OK)

    for each in (Color.RED, Text.OFF, Access.WRITE, 3):
        value(matched, each)

    value(lambda: [Color.RED, Access.READ | Access.WRITE, Bits.A | Bits.B, Planet.EARTH, Text.ON])
    value(Color, "g")
    value(lambda: {each: each.value for each in Color})
""")

kind("decorator counters", """
    import functools
    calls = {}
    def counted(function):
        count = 0
        @functools.wraps(function)
        def call(*args):
            nonlocal count
            count += 1
            calls[function.__name__] = count
            return count, function(*args)
        return call
    def limited(times):
        left = times
        def decorate(function):
            def call(*args):
                nonlocal left
                if left == 0:
                    return "no more"
                left -= 1
                return function(*args)
            return call
        return decorate
    class Traced:
        total = 0
        def __init__(self, function):
            self.function, self.count = function, 0
        def __call__(self, *args):
            self.count += 1
            Traced.total += 1
            return self.count, Traced.total, self.function(*args)
    @counted
    def first(n):
        return n
    @counted
    @counted
    def twice(n):
        return n * 2
    @limited(2)
    def few(n):
        return n
    @Traced
    def traced(n):
        return n + 1
    def all_calls():
        return dict(calls), Traced.total
    def nested():
        def inner():
            global depth
            depth = globals().get("depth", 0) + 1
            return depth
        return inner()
""", """
    state(first, 1)
    state(first, 2)
    state(all_calls)

    state(twice, 1)
    state(all_calls)

    state(few, 1)
    state(few, 1)
    state(few, 1)

    state(traced, 1)
    state(traced, 2)

    state(nested)
    state(nested)
    show((dict(calls), Traced.total))
""")

kind("recursion", """
    import functools
    def fib(n):
        @functools.cache
        def inner(n):
            return n if n < 2 else inner(n - 1) + inner(n - 2)
        return inner(n)
    def is_even(n):
        return n == 0 or is_odd(n - 1)
    def is_odd(n):
        return n != 0 and is_even(n - 1)
    def maker(depth):
        def walk(n):
            return [n] if n >= depth else [n, walk(n + 1)]
        return walk
    walk = maker(3)
    def ping_pong():
        def ping(n):
            return ["ping"] if n == 0 else ["ping", *pong(n - 1)]
        def pong(n):
            return ["pong"] if n == 0 else ["pong", *ping(n - 1)]
        return ping, pong
    ping, pong = ping_pong()
    fix = lambda f: (lambda x: x(x))(lambda x: f(lambda *args: x(x)(*args)))
    factorial = fix(lambda again: lambda n: 1 if n < 2 else n * again(n - 1))
    def logged(function):
        @functools.wraps(function)
        def call(n):
            return ("%s(%d)" % (function.__name__, n), function(n))
        return call
    @logged
    def down(n):
        return "end" if n == 0 else down(n - 1)
    class Tree:
        def __init__(self, *children):
            self.children = children
        def depth(self):
            return 1 + max((child.depth() for child in self.children), default=0)
        def visit(self, function):
            return [function(self), *[each for child in self.children for each in child.visit(function)]]
    tree = Tree(Tree(), Tree(Tree()))
    def flatten(thing):
        if isinstance(thing, list):
            for each in thing:
                yield from flatten(each)
        else:
            yield thing
    table = {"even": is_even, "self": lambda n: n if n == 0 else table["self"](n - 1)}
""", """
    value(fib, 20)
    value(is_even, 6)
    value(walk, 0)

    value(ping, 3)
    value(pong, 2)
    value(factorial, 6)

    value(down, 2)
    value(tree.depth)
    value(tree.visit, lambda it: len(it.children))

    value(lambda: list(flatten([1, [2, [3]], []])))
    value(lambda: table["self"](3))
    value(lambda function: function(2), maker(4))
    value(Tree(tree).depth)
""")

kind("class bodies", """
    import sys
    factor = 3
    def add_methods(cls):
        for name in ("up", "down"):
            setattr(cls, name, lambda self, name=name: (name, self.n))
        cls.by_decorator = classmethod(lambda cls: cls.__name__)
        return cls
    @add_methods
    class Built:
        squares = [n * n for n in range(4)]
        table = {name: len(name) for name in ("a", "bb")}
        for number in range(2):
            locals()["method_%d" % number] = lambda self, number=number: number + self.n
        if sys.version_info > (3,):
            def chosen(self):
                return "new", factor
        else:
            def chosen(self):
                return "old"
        exec("def made(self): return 'made', self.n, factor")
        def __init__(self, n):
            self.n = n
        def helper(n):
            return n + 1
        limit = helper(4)
        key = staticmethod(lambda n: -n)
        def sort(self, items):
            return sorted(items, key=self.key)
    def class_for(base, extra):
        class Local(base):
            plus = extra
            def get(self):
                return self.n, extra, self.plus, __class__ is Local
            @classmethod
            def again(cls, n):
                return cls(n).get()
        return Local
    First, Second = class_for(Built, 1), class_for(Built, [2])
    class Root:
        def __init__(self, **more):
            self.seen = ["root"]
            self.more = more
        def __init_subclass__(cls, tag=None, **more):
            super().__init_subclass__(**more)
            cls.tag = tag
    class Left(Root, tag="left"):
        def __init__(self, left=1, **more):
            super().__init__(**more)
            self.seen.append("left")
    class Right(Root, tag="right"):
        def __init__(self, right=2, **more):
            super().__init__(**more)
            self.seen.append("right")
    class Both(Left, Right, tag="both"):
        def __init__(self, **more):
            super().__init__(**more)
            self.seen.append("both")
    Typed = type("Typed", (Built,), {"name": "typed", "show": lambda self: (self.name, self.n, factor)})
    def use(n):
        it = Built(n)
        return (it.up(), it.down(), it.by_decorator(), it.squares, it.table, it.method_0(), it.method_1(), it.chosen(), it.made(),
                it.limit, it.sort([1, 3, 2]), First(n).get(), Second.again(n), Typed(n).show())
    def diamond():
        it = Both(left=5, extra=6)
        return it.seen, it.more, it.tag, [each.__name__ for each in Both.__mro__]
    def fresh(n):
        class Inside(First):
            tag = n
            def get(self):
                return super().get(), self.tag
        return Inside(n).get()
""", """
    value(use, 2)
    value(diamond)
    value(fresh, 4)

    value(First(1).get)
    value(Second(1).get)
    value(Typed(5).show)

    factor = factor + 1
    value(Built(1).made)
    value(Built(1).chosen)

    Built.up = lambda self: "replaced"
    value(First(1).up)

    value(lambda it: (type(it) is First, it.get()), First(8))
    value(class_for, Root, 4) if False else value(lambda: class_for(Built, 5)(1).get())
    value(Both)
""")

kind("async shapes", """
    import asyncio, contextlib, contextvars
    rate = 2
    current = contextvars.ContextVar("current", default="none")
    class Ticker:
        def __init__(self, n):
            self.n = n
        def __aiter__(self):
            return self
        async def __anext__(self):
            if self.n == 0:
                raise StopAsyncIteration
            self.n -= 1
            await asyncio.sleep(0)
            return self.n * rate
        async def __aenter__(self):
            current.set("inside")
            return self
        async def __aexit__(self, *_):
            current.set("outside")
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return self.n
    async def numbers(n):
        for each in range(n):
            yield each * rate
    async def all_of(n):
        return [each async for each in numbers(n)], {each: 1 async for each in Ticker(n)}
    async def inside():
        async with Ticker(2) as ticker:
            return [each async for each in ticker], current.get(), await ticker
    async def one(n):
        token = current.set("one %d" % n)
        await asyncio.sleep(0)
        try:
            return current.get()
        finally:
            current.reset(token)
    async def together(n):
        return await asyncio.gather(*map(one, range(n))), current.get()
    @contextlib.asynccontextmanager
    async def opened(name):
        yield name + " open"
    async def managed():
        async with opened("it") as it, contextlib.AsyncExitStack() as stack:
            return it, await stack.enter_async_context(opened("other"))
    async def produced():
        queue = asyncio.Queue()
        async def produce():
            for each in range(3):
                await queue.put(each * rate)
            await queue.put(None)
        task = asyncio.create_task(produce())
        found = []
        while (each := await queue.get()) is not None:
            found.append(each)
        await task
        return found
    async def failing():
        try:
            async with asyncio.timeout(5):
                raise KeyError("it")
        except KeyError as error:
            return error.args
    class Service:
        def __init__(self, n):
            self.n = n
        async def get(self, m):
            await asyncio.sleep(0)
            return self.n * m * rate
""", """
    value(all_of, 3)
    value(inside)
    value(together, 3)

    value(managed)
    value(produced)
    value(failing)

    rate = rate + 1
    value(all_of, 2)
    value(produced)
""")

kind("matching", """
    import dataclasses
    @dataclasses.dataclass
    class Circle:
        r: float
    class Rect:
        __match_args__ = ("w", "h")
        def __init__(self, w, h):
            self.w, self.h = w, h
    class Square(Rect):
        def __init__(self, side):
            super().__init__(side, side)
    LIMIT = 10
    class Names:
        STOP = "stop"
    def area(shape):
        match shape:
            case Circle(r=0) | Rect(0, _):
                return 0
            case Circle(r) if r > LIMIT:
                return "large"
            case Circle(r):
                return 3 * r * r
            case Square(w=side):
                return "square", side
            case Rect(w, h):
                return w * h
            case {"kind": "circle", "r": r, **rest}:
                return area(Circle(r)), rest
            case [first, *others]:
                return [area(first), *map(area, others)]
            case Names.STOP:
                return "stopped"
            case str() as text:
                return text
            case None:
                return "none"
            case int(n) | float(n):
                return -n
        return "unknown"
    shapes = [Circle(1), Rect(2, 3), Square(4), {"kind": "circle", "r": 2, "x": 1}, "stop", "text", None, 5, 2.5, (), Circle(20)]
""", """
    for each in shapes:
        value(area, each)

    value(area, shapes[:3])
    value(lambda: [area(each) for each in shapes])

    LIMIT = LIMIT + 20
    value(area, Circle(20))

    Rect.__match_args__ = ("h", "w")
    value(area, Rect(5, 1))
    value(area, Rect(1, 0))
""")

kind("exceptions shapes", """
    class Coded(Exception):
        def __init__(self, code, *, hint=None):
            super().__init__("code %d" % code)
            self.code, self.hint = code, hint
        def __reduce__(self):
            return rebuild, (self.code, self.hint)
    def rebuild(code, hint):
        return Coded(code, hint=hint)
    class Twice(ValueError):
        def __init__(self, a, b):
            super().__init__(a, b)
            self.total = a + b
    class Slotted(Exception):
        __slots__ = ("n",)
        def __init__(self, n):
            super().__init__(n)
            self.n = n
    class Base(Exception):
        def __str__(self):
            return "%s: %s" % (type(self).__name__, self.args)
    class Derived(Base, KeyError):
        pass
    class Context(Exception):
        def __init__(self, message, **context):
            super().__init__(message)
            self.context = context
        def __reduce_ex__(self, protocol):
            return type(self), self.args, {"context": self.context}
    def fail(kind, *args, **kwargs):
        raise kind(*args, **kwargs)
    def fail_coded():
        raise Coded(4, hint=["it"])
    def fail_context():
        raise Context("text", n=1)
    def caught(kind, *args):
        try:
            fail(kind, *args)
        except Base as error:
            return "base", str(error)
        except Exception as error:
            return type(error).__name__, str(error), error.args, isinstance(error, kind)
    def chained():
        try:
            try:
                fail(Twice, 1, 2)
            except Twice as error:
                raise Derived("from it") from error
        except Derived as error:
            return str(error), type(error.__cause__) is Twice, error.__cause__.total
    def noted():
        error = Base("it")
        error.add_note("a note")
        raise error
    def grouped():
        try:
            raise ExceptionGroup("several", [Twice(1, 2), Derived("x"), Coded(1)])
        except* Base as group:
            found = [str(each) for each in group.exceptions]
        except* ValueError as group:
            found = ["values"]
        except* Coded:
            pass
        return found
    def cleaned(steps):
        try:
            steps.append("try")
            return steps
        finally:
            steps.append("finally")
    def returned():
        return [Coded(1, hint=2), Twice(1, 2), Derived(3), Context("m", n=[1])]
""", """
    value(fail_coded)
    value(fail_context)
    value(fail, Twice, 1, 2)
    value(fail, Derived, "x")

    value(caught, Twice, 3, 4)
    value(caught, Derived, "y")
    value(caught, Slotted, 5)

    value(chained)
    value(noted)
    value(grouped)

    value(cleaned, [])
    value(returned)
    value(lambda error: (error.code, error.hint), Coded(7, hint="h"))
    value(lambda: fail(Base, 1))
""")

kind("mangling", """
    class Account:
        __total = 0
        __slots__ = ("__n", "_label")
        def __init__(self, n):
            self.__n, self._label = n, "account"
        def __check(self):
            return self.__n > 0
        def check(self):
            return self.__check(), self.__n, Account.__total, _Account__helper()
        @classmethod
        def __make(cls, n):
            return cls(n)
        @classmethod
        def make(cls, n):
            return cls.__make(n)
        @property
        def __private(self):
            return self.__n * 2
        def reveal(self):
            return self.__private, getattr(self, "_Account__n")
    def _Account__helper():
        return "helper", __dunder__
    __dunder__ = "dunder"
    class Savings(Account):
        __total = 100
        def __check(self):
            return "savings"
        def both(self):
            return self.__check(), self.check(), self.__total
    class __Hidden:
        it = 5
    hidden = __Hidden
    class _(Account):
        def under(self):
            return "underscore", self.check()
    underscore = _
    def names():
        return sorted(name for name in vars(Account) if "Account__" in name)
""", """
    value(Account(1).check)
    value(Savings(2).both)
    value(Account(3).reveal)

    value(Account.make, 4)
    value(Savings.make, 5)
    value(names)

    value(lambda: hidden().it)
    value(underscore(6).under)

    Account._Account__total = Account._Account__total + 1
    value(Savings(2).both)

    value(lambda it: (type(it) is Savings, it.both()), Savings(7))
""")

kind("containers of the program", """
    import collections
    class Attributes(dict):
        def __getattr__(self, name):
            try:
                return self[name]
            except KeyError:
                raise AttributeError(name) from None
        def __setattr__(self, name, new):
            self[name] = new
        def __missing__(self, key):
            return "missing " + key
    class Stack(list):
        limit = 3
        def __init__(self, *items):
            super().__init__(items)
            self.label = "stack"
        def push(self, it):
            self.append(it)
            return self[-self.limit:]
    class Tagged(str):
        def __new__(cls, text, tag=None):
            it = super().__new__(cls, text)
            it.tag = tag
            return it
        def __getnewargs__(self):
            return str(self), self.tag
    class Money(int):
        currency = "EUR"
        def __add__(self, other):
            return Money(int(self) + int(other))
        def __repr__(self):
            return "%d %s" % (int(self), self.currency)
    class Bag(collections.Counter):
        def total_of(self, *names):
            return sum(self[name] for name in names)
    class Lower(collections.UserDict):
        def __setitem__(self, key, new):
            super().__setitem__(key.lower(), new)
    class Path(collections.UserList):
        def __truediv__(self, part):
            return Path([*self.data, part])
    class Pair(tuple):
        __slots__ = ()
        def __new__(cls, a, b):
            return super().__new__(cls, (a, b))
        first = property(lambda self: self[0])
        def __getnewargs__(self):
            return tuple(self)
    class Unique(set):
        def add(self, it):
            super().add(str(it))
    class Recent(collections.OrderedDict):
        size = 2
        def __setitem__(self, key, new):
            super().__setitem__(key, new)
            while len(self) > self.size:
                self.popitem(last=False)
    default = collections.defaultdict(lambda: Stack(0), a=Stack(1))
    chain = collections.ChainMap({"a": 1}, Attributes(b=2))
    settings = Attributes(level=1, nested=Attributes(deep=2))
    def use():
        recent = Recent(a=1)
        recent["b"], recent["c"] = 2, 3
        unique = Unique()
        unique.add(1)
        return (settings.level, settings.nested.deep, settings["zzz"], Stack(1, 2).push(3), Tagged("x", 5).tag, Money(1) + 2,
                sum([Money(1), Money(2)]), Bag("abca").total_of("a", "b"), Lower(A=1)["a"], Path(["a"]) / "b", Pair(1, 2).first,
                unique, recent, chain["b"], default["a"])
    def kinds(*things):
        return [type(each).__name__ for each in things], things
    def change(it):
        it.level = 9
        return it
    def grow(n):
        return Stack(*default[n]).push(n), type(default[n]) is Stack
""", """
    value(use)
    value(kinds, Stack(1), Tagged("y", [1]), Money(4), Bag("aab"))

    value(kinds, Lower(B=2), Path(["a"]), Pair(3, 4), Attributes(x=1))
    value(change, Attributes(level=1))
    value(grow, "a")

    value(Stack(1, 2, 3).push, 4)
    value(lambda it: (it.label, len(it)), Stack(1))
    value(Money(3).__add__, 4)

    settings.level = settings.level + 1
    value(use)

    settings.nested.deep = Stack(7)
    value(lambda: settings.nested.deep[-1])
""")

kind("callables of functools", """
    import functools, operator
    base = 10
    def add(a, b=0, *, c=0):
        return a + b + c + base
    class Item:
        def __init__(self, n, parts=()):
            self.n, self.parts = n, parts
        def scaled(self, by=1, plus=0):
            return self.n * by + plus
        def __lt__(self, other):
            return self.n < other.n
        def __eq__(self, other):
            return self.n == other.n
    Item = functools.total_ordering(Item)
    plus_one = functools.partial(add, 1)
    nested = functools.partial(functools.partial(add, 1, c=5), 2)
    of_method = functools.partial(Item.scaled, by=3)
    of_bound = functools.partial(Item(4).scaled, plus=1)
    get_n, call_scaled, first = operator.attrgetter("n"), operator.methodcaller("scaled", 2, plus=1), operator.itemgetter(0, -1)
    by_length = functools.cmp_to_key(lambda a, b: len(a) - len(b))
    table = {"+": operator.add, "add": add, "one": plus_one, "len": len, "key": str.lower, "make": Item}
    pipeline = [plus_one, functools.partial(operator.mul, 2), str, len]
    def run(n):
        for each in pipeline:
            n = each(n)
        return n
    def use():
        items = [Item(3), Item(1), Item(2)]
        return (plus_one(5), nested(), of_method(Item(2)), of_bound(2), [get_n(each) for each in sorted(items)], call_scaled(items[0]),
                first([1, 2, 3]), sorted(["aaa", "b", "cc"], key=by_length), Item(1) >= Item(0), max(items).n,
                functools.reduce(lambda a, b: a + b.n, items, 0))
    def call(name, *args):
        return table[name](*args)
    def look(it):
        return it.func is add, it.args, it.keywords
""", """
    value(use)
    value(run, 3)
    value(call, "+", 1, 2)
    value(call, "one", 5)

    value(plus_one, 2)
    value(nested)
    value(of_method, Item(5))
    value(of_bound, 3)

    value(look, plus_one)
    value(call_scaled, Item(9))
    value(get_n, Item(9))
    value(table["key"], "ABC")

    base = base + 1
    value(plus_one, 2)
    value(run, 1)

    value(functools.partial(lambda a, b: (a, b.n), b=Item(6)), 1)
    value(lambda function: function(4), functools.partial(add, c=100))
    value(table["make"], 3)
""")

kind("context managers", """
    import contextlib
    trace = []
    level = 0
    @contextlib.contextmanager
    def raised(by):
        global level
        level += by
        try:
            yield level
        finally:
            level -= by
    class Timer(contextlib.ContextDecorator):
        def __init__(self, name="timer"):
            self.name, self.events = name, []
        def __enter__(self):
            self.events.append("start")
            return self
        def __exit__(self, kind, error, trace):
            self.events.append(kind.__name__ if kind else "end")
            return kind is KeyError
    timer = Timer("shared")
    @Timer("decorated")
    def decorated(n):
        return n * 2
    @raised(5)
    def lifted():
        return level
    class Base(contextlib.AbstractContextManager):
        def __exit__(self, *_):
            return None
    class Nested(Base):
        def __enter__(self):
            self.stack = contextlib.ExitStack()
            self.stack.enter_context(raised(1))
            return level
        def __exit__(self, *_):
            self.stack.close()
    def use():
        with raised(2) as one, raised(3) as two, Nested() as three:
            inside = level
        with contextlib.suppress(ZeroDivisionError):
            1 / 0
        with Timer() as own:
            raise KeyError
        return one, two, three, inside, level, own.events
    def stacked(names):
        seen = []
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.callback(seen.append, name)
        return seen
    def closing():
        class Thing:
            closed = False
            def close(self):
                self.closed = True
        with contextlib.closing(Thing()) as it:
            pass
        return it.closed
""", """
    value(use)
    value(lifted)
    value(decorated, 4)

    value(stacked, ["a", "b"])
    value(closing)
    value(lambda: timer.name)

    level = level + 10
    value(use)
    value(lifted)
""")

kind("abstract shapes", """
    import abc, collections.abc, numbers
    class Shape(abc.ABC):
        @property
        @abc.abstractmethod
        def area(self): ...
        @classmethod
        @abc.abstractmethod
        def make(cls, n): ...
        @staticmethod
        @abc.abstractmethod
        def unit(): ...
        def text(self):
            return "%s of %s %s" % (type(self).__name__, self.area, self.unit())
    class Square(Shape):
        def __init__(self, n):
            self.n = n
        area = property(lambda self: self.n ** 2)
        @classmethod
        def make(cls, n):
            return cls(n)
        @staticmethod
        def unit():
            return "m2"
    class Half(Square):
        @property
        def area(self):
            return super().area / 2
    class Partial(Shape):
        area = 4
    class Hooked(abc.ABC):
        @classmethod
        def __subclasshook__(cls, other):
            return hasattr(other, "quack") or NotImplemented
    class Duck:
        quack = True
    class Foreign:
        pass
    Shape.register(Foreign)
    class Number(numbers.Number):
        pass
    class Bag(collections.abc.MutableSet):
        def __init__(self, items=()):
            self.items = list(items)
        def __contains__(self, it):
            return it in self.items
        def __iter__(self):
            return iter(self.items)
        def __len__(self):
            return len(self.items)
        def add(self, it):
            if it not in self.items:
                self.items.append(it)
        def discard(self, it):
            if it in self.items:
                self.items.remove(it)
    def use(n):
        return (Square.make(n).text(), Half(n).text(), isinstance(Foreign(), Shape), issubclass(Duck, Hooked),
                isinstance(Foreign(), Hooked), isinstance(Number(), numbers.Number), sorted(Bag([1, 2]) | Bag([3])), Bag([1]) == Bag([1]))
    def refused(kind):
        try:
            return kind()
        except TypeError as error:
            return "abstract" in str(error), sorted(kind.__abstractmethods__)
    def register(cls):
        Hooked.register(cls)
        return issubclass(cls, Hooked)
""", """
    value(use, 3)
    value(refused, Shape)
    value(refused, Partial)

    value(Square.make, 2)
    value(Half(3).text)
    value(register, Square) if False else value(lambda it: isinstance(it, Hooked), Duck())

    Hooked.register(Foreign)
    value(lambda: isinstance(Foreign(), Hooked))

    value(lambda it: (type(it) is Bag, sorted(it)), Bag([3, 1]))
    value(Bag([1]).__or__, Bag([2]))
""")

kind("constants", """
    import datetime, decimal, fractions, math, re, uuid
    NAN, INF, BIG = float("nan"), math.inf, 10 ** 30
    NANS = [NAN, 1.0]
    UNSET = "no value has been set"
    WORDS = re.compile(r"(?P<word>[a-z]+)(?P<n>[0-9]*)", re.I)
    PRICE, PART, DAY = decimal.Decimal("1.10"), fractions.Fraction(1, 3), datetime.date(2024, 2, 29)
    ZONE = datetime.timezone(datetime.timedelta(hours=2), "here")
    WHEN = datetime.datetime(2024, 1, 1, 12, tzinfo=ZONE)
    ID = uuid.UUID(int=5)
    PAIR = (1, [2])
    EMPTY = ()
    SPAN, RAW, WIDE = range(0, 10, 3), b"bytes" * 3, slice(1, 5, 2)
    class Offset(datetime.tzinfo):
        def __init__(self, hours=1):
            self.hours = hours
        def utcoffset(self, when):
            return datetime.timedelta(hours=self.hours)
        def dst(self, when):
            return datetime.timedelta(0)
        def tzname(self, when):
            return "+%d" % self.hours
    class Day(datetime.date):
        def next(self):
            return self + datetime.timedelta(days=1)
    def f(a=UNSET, b=NAN, c=BIG, d=PAIR):
        return a is UNSET, b is NAN, c is BIG, d is PAIR, NANS[0] == NANS[0]
    def words(text):
        return [found["word"] for found in WORDS.finditer(text)], WORDS.sub(lambda found: found["n"] or "-", text)
    def money(n):
        return PRICE * n, PART * n, DAY + datetime.timedelta(n), WHEN.utcoffset(), ID.int, list(SPAN), RAW[:6], [0, 1, 2, 3, 4, 5][WIDE]
    def zones():
        return datetime.datetime(2024, 1, 1, tzinfo=Offset(3)).isoformat(), Day(2024, 1, 31).next(), math.isnan(NAN), INF > BIG
    def same(*things):
        return [each is other for each, other in zip(things, (UNSET, BIG, PAIR))]
""", """
    value(f)
    value(words, "ab1 c")
    value(money, 3)

    value(zones)
    value(lambda it: it.next(), Day(2024, 2, 28))
    value(lambda: (PAIR, EMPTY, NANS[1], WHEN, ZONE, ID))

    PAIR[1].append(len(PAIR[1]))
    value(f)
    value(lambda: PAIR)

    value(WORDS.match, "x1") if False else value(lambda: WORDS.match("x1")["n"])
    value(Day, 2024, 1, 1)
""")

kind("threads in tasks", """
    import concurrent.futures, queue, threading
    factor = 2
    results = {}
    lock = threading.Lock()
    class Worker(threading.Thread):
        def __init__(self, tasks):
            super().__init__(daemon=True)
            self.tasks, self.done = tasks, []
        def run(self):
            while (task := self.tasks.get()) is not None:
                self.done.append(task(factor))
    def square(n):
        return n * n * factor
    def pooled(n):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(square, range(n)))
    def own(n):
        tasks = queue.Queue()
        worker = Worker(tasks)
        worker.start()
        for each in range(n):
            tasks.put(lambda by, each=each: by * each)
        tasks.put(None)
        worker.join()
        return worker.done
    def locked(n):
        found = []
        def add(each):
            with lock:
                found.append(square(each))
        threads = [threading.Thread(target=add, args=(each,)) for each in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(found)
    local = threading.local()
    def separate():
        local.n = 1
        seen = []
        thread = threading.Thread(target=lambda: seen.append(hasattr(local, "n")))
        thread.start()
        thread.join()
        return seen, local.n
""", """
    value(pooled, 4)
    value(own, 3)
    value(locked, 3)

    value(separate)
    factor = factor + 1
    value(pooled, 2)
    value(own, 2)
""")

kind("weak references", """
    import gc, weakref
    class Node:
        instances = weakref.WeakSet()
        by_name = weakref.WeakValueDictionary()
        def __init__(self, name, parent=None):
            self.name = name
            self._parent = weakref.ref(parent) if parent is not None else None
            Node.instances.add(self)
            Node.by_name[name] = self
        @property
        def parent(self):
            return self._parent and self._parent()
        def __getstate__(self):
            return {"name": self.name, "_parent": None}
    class Cache:
        def __init__(self):
            self._made = weakref.WeakKeyDictionary()
        def of(self, it):
            if it not in self._made:
                self._made[it] = it.name.upper()
            return self._made[it], len(self._made)
    cache = Cache()
    def use(name):
        root = Node(name)
        child = Node(name + "/child", root)
        return child.parent is root, sorted(each.name for each in Node.instances), Node.by_name[name] is root, cache.of(root)
    def ended():
        seen = []
        it = Node("ended")
        weakref.finalize(it, seen.append, "gone")
        del it
        gc.collect()
        return seen, [each.name for each in Node.instances]
    def methods():
        it = Node("m")
        method = weakref.WeakMethod(it.__getstate__)
        return method()()["name"]
""", """
    value(use, "a")
    value(ended)
    value(methods)

    value(lambda it: (it.name, it.parent, it in Node.instances), Node("b")) if False else value(lambda it: it.name, Node("b"))
    value(lambda: type(cache) is Cache)
""")

kind("generators", """
    import itertools
    step = 2
    def numbers(n):
        total = 0
        for each in range(n):
            got = yield each * step
            total += got or 0
        return total
    def outer(n):
        total = yield from numbers(n)
        yield "total", total
    class Countdown:
        def __init__(self, n):
            self.n = n
        def __iter__(self):
            return self
        def __next__(self):
            if self.n == 0:
                raise StopIteration
            self.n -= 1
            return self.n
    class Pages:
        size = 2
        def __init__(self, items):
            self.items = items
        def __iter__(self):
            for at in range(0, len(self.items), self.size):
                yield self.items[at:at + self.size]
        def __reversed__(self):
            return iter(list(self)[::-1])
        def __contains__(self, it):
            return it in self.items
    class Guarded:
        def run(self):
            try:
                yield 1
            except ValueError as error:
                yield "caught %s" % error
            finally:
                self.ended = True
    def driven(n):
        it = outer(n)
        found = [next(it)]
        for each in range(n - 1):
            found.append(it.send(each))
        return found, list(it)
    def thrown():
        guarded = Guarded()
        it = guarded.run()
        found = [next(it), it.throw(ValueError("it"))]
        it.close()
        return found, guarded.ended
    def piped(n):
        squares = (each * each for each in numbers(n))
        return list(itertools.islice(itertools.accumulate(squares), 3)), dict(zip("abc", numbers(3)))
    def all_of(it):
        return list(it)
    def grouped(words):
        return {key: list(group) for key, group in itertools.groupby(sorted(words, key=len), key=len)}
""", """
    value(driven, 4)
    value(thrown)
    value(piped, 5)

    value(all_of, Countdown(3))
    value(all_of, Pages([1, 2, 3]))
    value(lambda pages: (list(reversed(pages)), 2 in pages), Pages([1, 2, 3]))

    value(grouped, ["a", "bb", "c"])
    step = step + 1
    value(driven, 3)
    value(all_of, range(3))
""")

kind("tables of things", """
    def greet(name):
        return "hello " + name
    class Greeter:
        def __call__(self, name):
            return greet(name).upper()
        @staticmethod
        def shy(name):
            return "..."
    handlers = {"greet": greet, "class": Greeter, "object": Greeter(), "static": Greeter.shy, "bound": Greeter().__call__,
                "lambda": lambda name: greet(name) + "!", "builtin": str.title, "self": None}
    handlers["self"] = lambda name: handlers["greet"](name)
    config = {"sizes": [1, 2], "nested": {"on": True, "rules": [{"name": "a", "check": lambda n: n > 1}]}}
    config["again"] = config["nested"]
    config["itself"] = config
    matrix = [[0] * 2] * 2
    plugins = []
    def plugin(function):
        plugins.append(function)
        return function
    @plugin
    def first(n):
        return n + 1
    @plugin
    def second(n):
        return n * len(plugins)
    steps = ((1, greet), (2, Greeter.shy))
    def call(name, *args):
        return handlers[name](*args)
    def run(n):
        for each in plugins:
            n = each(n)
        return n
    def check(n):
        rule, = config["nested"]["rules"]
        return rule["check"](n), config["again"] is config["nested"], config["itself"] is config, matrix[0] is matrix[1]
    def order():
        return [function("x") for _, function in sorted(steps, key=lambda step: -step[0])]
""", """
    for each in ("greet", "object", "static", "bound", "lambda", "builtin", "self"):
        value(call, each, "you")

    value(run, 3)
    value(check, 2)
    value(order)

    handlers["greet"] = lambda name: "other " + name
    value(call, "self", "you")

    def greet(name):
        return "new " + name
    value(call, "lambda", "you")
    value(call, "object", "you")

    config["nested"]["on"] = not config["nested"]["on"]
    value(lambda: (config["again"]["on"], config["nested"]["on"]))
    value(check, 1)

    @plugin
    def third(n):
        return -n
    value(run, 3)
    plugins.remove(third)

    matrix[0][0] = matrix[0][0] + 1
    value(lambda: matrix)
    value(handlers["bound"], "me")
""")

kind("copies", """
    import copy
    class Deep:
        def __init__(self, n, shared=None):
            self.n, self.shared, self.made = n, shared, []
        def __copy__(self):
            it = Deep(self.n, self.shared)
            it.made = ["copied"]
            return it
        def __deepcopy__(self, memo):
            it = Deep(copy.deepcopy(self.n, memo), self.shared)
            it.made = ["deep"]
            return it
    class Slots:
        __slots__ = ("a", "b", "__weakref__")
        def __init__(self, a):
            self.a = a
        def __getstate__(self):
            return {"a": self.a}
        def __setstate__(self, state):
            self.a = state["a"]
    class Lazy:
        def __init__(self, n):
            self.n = n
        def __getattr__(self, name):
            if name == "cost":
                self.cost = self.n * 100
                return self.cost
            raise AttributeError(name)
    class Proxy:
        def __init__(self, it):
            object.__setattr__(self, "_it", it)
        def __getattr__(self, name):
            return getattr(object.__getattribute__(self, "_it"), name)
        def __reduce__(self):
            return Proxy, (self._it,)
    class Link:
        def __init__(self):
            self.me = self
        def __eq__(self, other):
            return type(other) is Link
        def __hash__(self):
            return 7
    shared = [1]
    prototype = Deep([1], shared)
    def use():
        one, two = copy.copy(prototype), copy.deepcopy(prototype)
        return one.made, two.made, one.shared is shared, two.shared is shared, one.n is prototype.n, two.n is prototype.n
    def look(it):
        return it.a, getattr(it, "b", "none")
    def lazy(it):
        return it.cost, sorted(vars(it))
    def linked(it):
        return it.me is it, {it: 1}[Link()]
""", """
    value(use)
    value(look, Slots(4))
    value(lazy, Lazy(2))

    value(lambda it: (it.n, type(it) is Proxy), Proxy(Deep(1)))
    value(linked, Link())
    value(copy.copy, prototype) if False else value(lambda it: copy.copy(it).made, Deep(3))

    value(lambda it: (it, copy.deepcopy(it)), Slots(1))
    value(Deep, 1)
    value(copy.deepcopy, [Link(), Slots(2)])
""")

kind("numpy", """
    import functools
    import numpy
    table = numpy.arange(6).reshape(2, 3)
    view = table[1]
    kinds = numpy.dtype([("n", "i4"), ("label", "U3")])
    rows = numpy.array([(1, "a"), (2, "b")], dtype=kinds)
    masked = numpy.ma.masked_array([1, 2, 3], mask=[0, 1, 0])
    names = numpy.array(["a", None, {"k": 1}], dtype=object)
    fortran = numpy.asfortranarray(table * 2.0)
    class Unit(numpy.ndarray):
        def __new__(cls, items, unit="m"):
            it = numpy.asarray(items).view(cls)
            it.unit = unit
            return it
        def __array_finalize__(self, it):
            self.unit = getattr(it, "unit", None)
    double = numpy.vectorize(lambda n: n * 2)
    checked = numpy.frompyfunc(lambda a, b: a + b, 2, 1) if False else None
    def use(n):
        return table.sum() + n, view.tolist(), rows["n"].sum(), rows[1]["label"], masked.sum(), names[2], fortran.flags.f_contiguous
    def shape(array):
        return array.shape, array.dtype.str, array.tolist(), array.flags.writeable
    def write(array):
        array[0] = 7
        return array.tolist()
    def unit():
        it = Unit([1, 2], "kg")
        return type(it[:1]).__name__, it[:1].unit, double(numpy.array([1, 2])).tolist()
    def seeded(n):
        return numpy.random.default_rng(n).integers(100, size=3).tolist()
""", """
    value(use, 1)
    value(unit)
    value(seeded, 3)

    for each in (table, view, rows, fortran, numpy.float32(2.5), numpy.zeros((0, 2)), table[:, ::2]):
        value(shape, numpy.asarray(each))

    value(write, numpy.ones(2))
    value(lambda: table * 2)

    table[0, 0] = table[0, 0] + 10
    value(use, 2)

    table = table + 1
    value(lambda: table.tolist())
    value(numpy.add, 1, 2)
    value(lambda: numpy.float64(1.5))
""")

kind("bases change", """
    class First:
        def name(self):
            return "first"
    class Second:
        def name(self):
            return "second"
    class Mixed(First):
        def __init__(self, n):
            self.n = n
        def both(self):
            return self.name(), super().name(), [base.__name__ for base in Mixed.__mro__]
    class Changed:
        def __init__(self, n):
            self.n = n
    class Other:
        def __init__(self, n):
            self.n = -n
        def show(self):
            return "other", self.n
    def use(n):
        return Mixed(n).both(), isinstance(Mixed(1), Second)
    def turned(n):
        it = Changed(n)
        it.__class__ = Other
        return it.show()
""", """
    value(use, 1)
    value(turned, 2)

    Mixed.__bases__ = (Second,) if Mixed.__bases__ == (First,) else (First,)
    value(use, 2)
    value(Mixed(3).both)

    Mixed.__bases__ = (Second, First)
    value(use, 2)

    Mixed.__name__ = Mixed.__name__ + "x" if len(Mixed.__name__) < 8 else "Mixed"
    value(lambda: Mixed.__name__)
""")

kind("library objects", """
    import argparse, configparser, csv, ctypes, io, ipaddress, json, logging, pathlib, random, string, textwrap, types
    import xml.etree.ElementTree as tree
    parser = argparse.ArgumentParser(prog="it", argument_default=argparse.SUPPRESS)
    parser.add_argument("--level", type=int)
    parser.add_argument("--name", default=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*")
    settings = configparser.ConfigParser()
    settings.read_string("[a]" + chr(10) + "n = 5" + chr(10))
    log = logging.getLogger("of the program")
    network = ipaddress.ip_network("10.0.0.0/30")
    space = types.SimpleNamespace(n=1, inner=types.SimpleNamespace(m=2))
    proxy = types.MappingProxyType({"a": 1})
    template = string.Template("$a and $b")
    generator = random.Random(5)
    wrapper = textwrap.TextWrapper(width=5)
    document = tree.fromstring("<a><b n='1'/></a>")
    folder = pathlib.PurePosixPath("/a/b")
    encoder = json.JSONEncoder(sort_keys=True, default=lambda it: "default " + type(it).__name__)
    class Dialect(csv.excel):
        delimiter = ";"
    class Adapter(logging.LoggerAdapter):
        def process(self, message, options):
            return "%s: %s" % (self.extra["who"], message), options
    adapter = Adapter(log, {"who": "me"})
    def parse(*args):
        return sorted(vars(parser.parse_args(args)).items())
    def use():
        out = io.StringIO()
        csv.writer(out, Dialect).writerow([1, 2])
        return (settings["a"].getint("n"), [str(each) for each in network.hosts()], space.inner.m, proxy["a"], template.substitute(a=1, b=2),
                wrapper.wrap("aaa bbb"), document.find("b").get("n"), str(folder / "c"), encoder.encode({"b": {1}, "a": 1}), out.getvalue(),
                adapter.process("text", {})[0], log.name, adapter.logger is log)
    def drawn():
        return random.Random(3).random(), generator.getstate()[0]
""", """
    value(parse, "--level", "3", "x")
    value(parse)
    value(use)

    value(drawn)
    value(lambda it: (it.n, it.inner.m), space)
    value(lambda it: it.substitute(a=5, b=6), template)

    space.n = space.n + 1
    value(lambda: space.n)
    value(lambda it: list(it), network)
    value(lambda it: it.find("b").attrib, document)
""")

kind("late names", """
    import sys
    def use():
        return helper_of_late(1), LATE
    def helper_of_late(n):
        return n, LATE
    LATE = "late"
    def asked(name):
        return getattr(sys.modules[__name__], name)
    def listed():
        return sorted(name for name in globals() if name.endswith("_late")), "LATE" in dir(sys.modules[__name__])
    def defined(name):
        return name in globals(), eval("LATE"), eval("helper_of_late")(2)
    def executed(text):
        space = {}
        exec(text, globals(), space)
        return sorted(space), space["made"](3)
    def local_names():
        one, two = 1, 2
        return sorted(vars()), sorted(locals()), dir()
""", """
    value(use)
    value(defined, "use")
    value(listed)

    value(executed, "def made(n): return n, LATE")
    value(local_names)
    value(asked, "LATE")

    LATE = LATE + "r"
    value(use)
    value(defined, "LATE")
    value(executed, "made = lambda n: helper_of_late(n)")
""")

kind("kept things", """
    import enum
    def make_kept(n):
        class Kept:
            size = n
            def __init__(self, n=0):
                self.n = n
            def __eq__(self, other):
                return type(self) is type(other) and self.n == other.n
        return Kept
    Alone = make_kept(1)
    kept = [make_kept(2), make_kept(3)]
    actions = {"one": lambda n: n + 1, "two": {"deep": [make_kept(4), lambda n: -n]}}
    class Keeper:
        kind = make_kept(5)
        class Inner:
            others = (make_kept(6), lambda n: 2 * n)
    class Tones(enum.Enum):
        class Tone:
            def __init__(self, n=0):
                self.n = n
        DARK = 1
    def all_kept():
        deep = actions["two"]["deep"]
        return [Alone, *kept, deep[0], Keeper.kind, Keeper.Inner.others[0], getattr(Tones.Tone, "value", Tones.Tone)]
    def are_kept(things):
        return [type(thing) is each for thing, each in zip(things, all_kept())]
    def new_kept(n):
        return [each(n) for each in all_kept()]
    def which(action):
        return [action is each for each in (actions["one"], actions["two"]["deep"][1], Keeper.Inner.others[1])]
    def action(n):
        return (actions["one"], actions["two"]["deep"][1], Keeper.Inner.others[1])[n]
    def sizes_of(kinds):
        return [each.size for each in kinds if hasattr(each, "size")]
""", """
    value(all_kept)

    value(new_kept, 3)

    value(are_kept, new_kept(1))

    value(which, action(0))
    value(which, action(1))
    value(which, action(2))

    value(action, 0)
    value(action, 2)

    value(sizes_of, all_kept())

    value(lambda: new_kept(1) == new_kept(1))
    value(lambda things: things == new_kept(2), new_kept(2))

    kept.append(make_kept(7))
    value(sizes_of, kept)
""")
