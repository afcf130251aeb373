"""A7, A14, A16 and A24: what functions refer to, and that it is the same object in the worker."""

import pytest


def test_a7_cached_functions(program):
    assert program.main("""
        import functools
        import axion
        calls = 0

        @functools.lru_cache(maxsize=32, typed=True)
        def square(n):
            global calls
            calls += 1
            return n * n

        @functools.cache
        def fib(n):
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        class Thing:
            def __init__(self, n):
                self.n = n
            @functools.lru_cache
            def twice(self):
                return 2 * self.n
            @functools.cached_property
            def costly(self):
                return [self.n]
            @functools.singledispatchmethod
            def kind(self, arg):
                return "thing"
            @kind.register
            def _(self, arg: int):
                return "int"

        @functools.singledispatch
        def show(thing):
            return "object"

        @show.register(int)
        def _(thing):
            return "int"

        @show.register(Thing)
        def _(thing):
            return "Thing %d" % thing.n

        def use(n):
            thing = Thing(n)
            return (square(n), fib(n), thing.twice(), thing.costly is thing.costly, thing.kind(1), thing.kind(""),
                    show(1), show(thing), show(""))

        def info():
            return square.cache_info(), calls

        with axion.Executor(1) as ex:
            print(ex.submit(square, 3).result(), ex.submit(fib, 80).result(), ex.submit(show, 4).result())
            print(ex.submit(use, 5).result())
            ex.submit(square, 3).result()
            print(ex.submit(info).result())
            print(ex.submit(square.__wrapped__, 3).result(), list(ex.map(show, [1, "", Thing(2)])))
        print(square.cache_info().currsize, calls)
    """) == ["9 23416728348467685 int", "(25, 5, 10, True, 'int', 'thing', 'int', 'Thing 5', 'object')",
             "(CacheInfo(hits=1, misses=2, maxsize=32, currsize=2), 2)", "9 ['int', 'object', 'Thing 2']", "0 0"]


def test_a7_decorators_of_the_program(program):
    assert program.main("""
        import functools
        import axion

        def cached(function):
            memory = {}
            @functools.wraps(function)
            def call(*args):
                if args not in memory:
                    memory[args] = function(*args), len(memory)
                return memory[args]
            call.memory = memory
            return call

        class Counted:
            def __init__(self, function):
                functools.update_wrapper(self, function)
                self.function, self.count = function, 0
            def __call__(self, *args):
                self.count += 1
                return self.function(*args), self.count

        @cached
        def one(n):
            return n + 1

        @Counted
        def two(n):
            return n + 2

        def use(n):
            return one(n), two(n), one.__name__, two.__wrapped__(n)

        with axion.Executor(1) as ex:
            print(ex.submit(one, 1).result(), ex.submit(one, 2).result(), ex.submit(one, 1).result())
            print(ex.submit(use, 1).result(), ex.submit(use, 1).result(), len(one.memory), two.count)
    """) == ["(2, 0) (3, 1) (2, 0)", "((2, 0), (3, 1), 'one', 3) ((2, 0), (3, 2), 'one', 3) 0 0"]


def test_a14_pickles_and_pools_in_a_task(program):
    assert program.main("""
        import multiprocessing, pickle
        from concurrent.futures import ProcessPoolExecutor
        import axion
        rate = 3

        class Thing:
            def __init__(self, n):
                self.n = n

        def times(n):
            return n * rate

        def copied(n):
            return pickle.loads(pickle.dumps(Thing(n))).n, pickle.loads(pickle.dumps(times))(n)

        def pooled(n):
            with multiprocessing.get_context("fork").Pool(1) as pool:
                first = pool.map(times, [n])
            with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
                return first, pool.submit(times, n).result(), pool.submit(copied, n).result()

        with axion.Executor(1) as ex:
            print(ex.submit(copied, 2).result(), ex.submit(pooled, 2).result())
    """) == ["(2, 6) ([6], 6, (2, 6))"]


@pytest.mark.parametrize("makes, uses", [
    ("threading.Lock()", "with thing: pass"),
    ("threading.RLock()", "with thing: pass"),
    ("threading.Condition()", "with thing: thing.notify()"),
    ("threading.Event()", "assert not thing.is_set(); thing.set()"),
    ("threading.Semaphore(2)", "with thing: pass"),
    ("threading.BoundedSemaphore(2)", "with thing: pass"),
    ("threading.Barrier(1)", "thing.wait()"),
    ("threading.local()", "thing.x = 1"),
    ("contextvars.ContextVar('v', default=3)", "assert thing.get() == 3"),
    ("weakref.WeakValueDictionary()", "assert not len(thing)"),
    ("weakref.WeakKeyDictionary()", "assert not len(thing)"),
    ("weakref.WeakSet()", "assert not len(thing)"),
    ("logging.getLogger('mine')", "assert thing is logging.getLogger('mine')"),
    ("queue.Queue()", "thing.put(1)"),
    ("re.compile('a+')", "assert thing.match('aa')"),
    ("itertools.count()", "assert next(thing) == 0"),
    ("random.Random(1)", "thing.random()"),
], ids=lambda text: text.split("(")[0] if "thing" not in text else "")
def test_a16_what_has_no_pickle_is_made_fresh(program, makes, uses):
    source = """
import contextvars, itertools, logging, queue, random, re, threading, weakref
import axion

thing = %s

class Holder:
    thing = thing
    def __init__(self):
        self.n = 1

def use():
    %s
    return Holder().n

with axion.Executor(1) as ex:
    print(ex.submit(use).result(), ex.submit(lambda: Holder.thing is thing).result())
""" % (makes, uses)
    assert program.main(source) == ["1 True"]


@pytest.mark.parametrize("makes", [
    "open(os.devnull)",
    "socket.socket()",
    "sqlite3.connect(':memory:')",
    "(n for n in range(3))",
    "{'inside': [open(os.devnull)]}",
    "subprocess.Popen(['true'])",
    "mmap.mmap(-1, 10)",
], ids=["file", "socket", "database", "generator", "in a container", "process", "map"])
def test_a16_what_cannot_travel_is_refused_with_its_name_and_what_to_do(program, makes):
    source = """
import mmap, os, socket, sqlite3, subprocess
import axion

the_thing = %s

def helper():
    return the_thing

def use():
    return helper()

def other():
    return 1

with axion.Executor(1) as ex:
    print(ex.submit(other).result())
    try:
        print(ex.submit(use).result())
    except axion.AxionError as error:
        print(error.code, "the_thing" in str(error) or str(error))
    print(ex.submit(other).result())
os._exit(0)
""" % makes
    assert program.main(source.replace("os._exit(0)", "__import__('sys').stdout.flush(); os._exit(0)")) == [
        "1", "not_picklable True", "1"]


def test_a16_in_a_closure_a_default_or_an_attribute(program):
    assert program.main("""
        import os
        import axion
        file = open(os.devnull)

        class Holder:
            the_attribute = file
            def fine(self):
                return 1
            def bad(self):
                return Holder.the_attribute

        def closed():
            the_cell = file
            def use():
                return the_cell
            return use

        def with_default(the_default=file):
            return 1

        with axion.Executor(1) as ex:
            for call, name in ((closed(), "the_cell"), (with_default, "the_default"), (Holder().bad, "the_attribute")):
                try:
                    ex.submit(call).result()
                except Exception as error:
                    print(getattr(error, "code", None), name in str(error) or str(error))
            print(ex.submit(Holder().fine).result())
    """) == ["not_picklable True"] * 3 + ["1"]


# A24: one object stays one object.


def test_a24_sentinels_and_defaults(program):
    assert program.main("""
        import dataclasses, enum, inspect
        import axion
        MISSING = object()

        class Unset:
            def __repr__(self):
                return "UNSET"
        UNSET = Unset()

        class Single:
            _it = None
            def __new__(cls):
                if cls._it is None:
                    cls._it = super().__new__(cls)
                return cls._it
        SINGLE = Single()

        @dataclasses.dataclass
        class D:
            a: int
            b: int = dataclasses.field(default=3)
            c: object = MISSING

        def f(x=MISSING, *, y=UNSET):
            return x is MISSING, y is UNSET

        def through(x):
            return x is MISSING, x is UNSET, x is SINGLE

        def give(name):
            return {"missing": MISSING, "unset": UNSET, "single": SINGLE, "both": [MISSING, UNSET]}[name]

        def fields():
            first, second, third = dataclasses.fields(D)
            return first.default is dataclasses.MISSING, second.default, third.default is MISSING, D(1).c is MISSING

        with axion.Executor(1) as ex:
            print(ex.submit(f).result(), ex.submit(f, MISSING, y=UNSET).result(), ex.submit(f, 1, y=2).result())
            print([ex.submit(through, each).result() for each in (MISSING, UNSET, SINGLE)])
            print([ex.submit(through, each).result() for each in ([MISSING], {"a": UNSET}.get("a"), D(1).c)])
            print(ex.submit(give, "missing").result() is MISSING, ex.submit(give, "unset").result() is UNSET,
                  ex.submit(give, "single").result() is SINGLE, ex.submit(give, "both").result()[0] is MISSING)
            print(ex.submit(fields).result())
            print(ex.submit(lambda d: (d.c is MISSING, type(d) is D), D(1)).result())
            print(ex.submit(lambda: inspect.signature(f).parameters["x"].default is MISSING).result())
    """) == ["(True, True) (True, True) (False, False)",
             "[(True, False, False), (False, True, False), (False, False, True)]",
             "[(False, False, False), (False, True, False), (True, False, False)]",
             "True True True True", "(True, 3, True, True)", "(True, True)", "True"]


def test_a24_one_list_under_two_names(program):
    assert program.main("""
        import axion
        items = [1]
        also = items
        table = {"items": items}

        class Holder:
            shared = items

        def closing():
            mine = items
            def same():
                return mine is items
            return same
        same = closing()

        def default(it=items):
            return it is items

        def read():
            return also is items, table["items"] is items, Holder.shared is items, same(), default(), list(also)

        def grow():
            items.append(len(items) + 1)
            return list(also), table

        with axion.Executor(1) as ex:
            print(ex.submit(read).result())
            print(ex.submit(grow).result(), ex.submit(grow).result())
            print(ex.submit(read).result())
            items.append("caller")
            print(ex.submit(read).result())
            also = [5]
            print(ex.submit(read).result())
    """) == ["(True, True, True, True, True, [1])",
             "([1, 2], {'items': [1, 2]}) ([1, 2, 3], {'items': [1, 2, 3]})",
             "(True, True, True, True, True, [1, 2, 3])",
             "(True, True, True, True, True, [1, 'caller'])",
             "(False, True, True, True, True, [5])"]


def test_a24_classes_of_all_kinds(program):
    assert program.main("""
        import abc, collections, dataclasses, enum, functools, typing
        import axion

        class Base:
            __slots__ = ("a", "__dict__")
        class Slotted(Base):
            __slots__ = ("b", "_c", "__weakref__")
            def __init__(self):
                self.a, self.b, self._c, self.d = 1, 2, 3, 4
        class Private:
            __slots__ = ("__x",)
            def __init__(self, x):
                self.__x = x
            def x(self):
                return self.__x

        class Color(enum.Enum):
            RED = 1
            GREEN = 2
            ALIAS = 1
            def next(self):
                return Color.GREEN if self is Color.RED else Color.RED
        class Perm(enum.Flag):
            R = enum.auto()
            W = enum.auto()
            RW = R | W
        class Auto(enum.StrEnum):
            ONE = enum.auto()
        class Planet(enum.Enum):
            EARTH = (5.9, 6.3)
            def __init__(self, mass, radius):
                self.mass, self.radius = mass, radius

        class Shape(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
            @property
            def double(self):
                return 2 * self.area()
        class Square(Shape):
            def __init__(self, a):
                super().__init__()
                self.a = a
            def area(self):
                return self.a ** 2
        class Virtual:
            pass
        Shape.register(Virtual)

        class Child(Square):
            def area(self):
                return super().area() + __class__.extra
            extra = 1
            @classmethod
            def make(cls, a):
                return cls(a)
            @staticmethod
            def name():
                return "child"

        class Descriptor:
            def __set_name__(self, owner, name):
                self.name = name
            def __get__(self, obj, owner=None):
                return self if obj is None else (self.name, obj.__dict__.get(self.name))
        class Described:
            field = Descriptor()

        Point = collections.namedtuple("Point", "x y")
        class Row(typing.NamedTuple):
            n: int
            def twice(self):
                return 2 * self.n
        @dataclasses.dataclass(order=True, frozen=True, slots=True)
        class Frozen:
            n: int
            m: int = 2

        def slots():
            s, b = Slotted(), Base()
            try:
                Private(1).other = 2
            except AttributeError:
                return s.a, s.b, s._c, s.d, Private(7).x(), hasattr(b, "__dict__")
        def enums():
            return (Color(1) is Color.RED, Color.ALIAS is Color.RED, Color["GREEN"].next().name, len(Color),
                    Perm.R | Perm.W is Perm.RW, Perm.RW.value, Auto.ONE == "one", Planet.EARTH.mass, list(Color.__members__))
        def abcs():
            try:
                Shape()
            except TypeError:
                return (isinstance(Virtual(), Shape), isinstance(Square(1), Shape), issubclass(int, Shape),
                        Child(2).area(), Child.make(3).double, Child.name(), type(Child.make(1)) is Child)
        def tuples():
            return (Point(1, 2)._replace(x=3), Row(4).twice(), Frozen(1) < Frozen(2), Point(1, 2)._fields,
                    {Frozen(1): 2}[Frozen(1)], dataclasses.replace(Frozen(1), m=5).m)
        def described():
            d = Described()
            d.__dict__["field"] = 5
            return d.field, Described.field.name

        with axion.Executor(1) as ex:
            for call in (slots, enums, abcs, tuples, described):
                here, there = call(), ex.submit(call).result()
                print(here == there or (here, there))
            for thing in (Slotted(), Color.ALIAS, Perm.RW, Child(2), Point(1, 2), Row(1), Frozen(3), Planet.EARTH):
                kind, back = ex.submit(lambda it: (type(it), it), thing).result()
                print(kind is type(thing), type(back) is type(thing), back is thing, back == thing)
    """) == ["True"] * 5 + ["True True False False", "True True True True", "True True True True",
                            "True True False False"] + ["True True False True"] * 3 + ["True True True True"]


def test_a24_decorators_and_helpers_of_the_standard_library(program):
    assert program.main("""
        import collections, contextlib, functools, operator
        import axion
        log = []

        @contextlib.contextmanager
        def managed(n):
            log.append(n)
            try:
                yield n + 1
            finally:
                log.append(-n)

        class Managed(contextlib.ContextDecorator):
            def __enter__(self):
                return self
            def __exit__(self, *exc):
                log.append("exit")

        @Managed()
        def decorated(n):
            return n

        @functools.total_ordering
        class Version:
            def __init__(self, n):
                self.n = n
            def __eq__(self, other):
                return self.n == other.n
            def __lt__(self, other):
                return self.n < other.n
            __hash__ = None

        def traced(function):
            @functools.wraps(function)
            def call(*args, **kwargs):
                return function.__name__, function(*args, **kwargs)
            return call

        @traced
        def add(a, b=2):
            "adds"
            return a + b

        def even(n):
            return True if n == 0 else odd(n - 1)
        def odd(n):
            return False if n == 0 else even(n - 1)

        table = {"add": lambda a, b: a + b, "neg": operator.neg}
        plus = functools.partial(add, b=10)
        compose = lambda *fs: functools.reduce(lambda f, g: lambda x: g(f(x)), fs)
        both = compose(lambda x: x + 1, lambda x: x * 2)
        recursive = lambda n: 1 if n == 0 else n * recursive(n - 1)

        def all_of_it():
            with managed(1) as m:
                pass
            return (m, decorated(2), list(log), Version(1) >= Version(0), add(1), add.__doc__, add.__wrapped__(1),
                    even(10), odd(7), table["add"](1, 2), table["neg"](1), plus(1), both(3), recursive(5))

        class Method:
            n = 3
            def get(self, m): return self.n + m
            @classmethod
            def cls(cls, m): return cls.n * m
            @staticmethod
            def static(m): return m
            def __call__(self, m): return -m

        with axion.Executor(1) as ex:
            there = ex.submit(all_of_it).result()
            here = all_of_it()
            print(here == there or (here, there))
            print([ex.submit(call, 4).result() for call in (Method().get, Method.cls, Method.static, Method(), plus, both,
                                                             Method().cls, recursive, even, table["neg"])])
    """) == ["True", "[7, 12, 4, -4, ('add', 14), 10, 12, 24, True, -4]"]


def test_a24_hooks_of_pickles(program):
    assert program.main("""
        import copyreg, weakref
        import axion

        class State:
            def __init__(self, n):
                self.n, self.cache = n, object()
            def __getstate__(self):
                return {"n": self.n}
            def __setstate__(self, state):
                self.__dict__.update(state, cache="made again")

        class Reduced:
            def __init__(self, n):
                self.n = n
            def __reduce__(self):
                return rebuild, (self.n,)

        def rebuild(n):
            return Reduced(n * 10)

        class Registered:
            def __init__(self, n):
                self.n = n

        copyreg.pickle(Registered, lambda it: (Registered, (it.n + 1,)))

        class Node:
            def __init__(self, parent=None):
                self.children, self._parent = [], parent and weakref.ref(parent)
                if parent:
                    parent.children.append(self)
            def __getstate__(self):
                return self.children
            def __setstate__(self, children):
                self.children, self._parent = children, None
                for child in children:
                    child._parent = weakref.ref(self)

        class New:
            def __new__(cls, n):
                it = super().__new__(cls)
                it.n = n
                return it
            def __getnewargs__(self):
                return (self.n,)

        def seen(it):
            return it.n, getattr(it, "cache", None)

        def parents(node):
            return [child._parent() is node for child in node.children]

        with axion.Executor(1) as ex:
            root = Node()
            Node(root), Node(root)
            print([ex.submit(seen, it).result() for it in (State(1), Reduced(2), Registered(3), New(4))])
            print(ex.submit(parents, root).result())
            print([ex.submit(lambda kind: kind(1), kind).result().n for kind in (State, Reduced, Registered, New)])
    """) == ["[(1, 'made again'), (20, None), (4, None), (4, None)]", "[True, True]", "[1, 10, 2, 1]"]


STARTS = {
    "file": ["main.py"],
    "-m module": ["-m", "main"],
    "-m package": ["-m", "pkg"],
    "-m package.module": ["-m", "pkg.mod"],
    "cProfile": ["-m", "cProfile", "-o", "/dev/null", "main.py"],
    "profile of -m": ["-m", "cProfile", "-o", "/dev/null", "-m", "main"],
    "runpy": ["-c", "import runpy; runpy.run_path('main.py', run_name='__main__')"],
    "runpy module": ["-c", "import runpy; runpy.run_module('main', run_name='__main__', alter_sys=True)"],
    "exec": ["-c", "exec(compile(open('main.py').read(), 'main.py', 'exec'), {'__name__': '__main__'})"],
    "exec without a name": ["-c", "exec(open('main.py').read(), {})"],
    "trace": ["-m", "trace", "--count", "-C", "trace", "main.py"],
}
STARTED = """
import axion
from collections import namedtuple
rate = 3
Point = namedtuple("Point", "x y")

class Thing:
    def __init__(self, n):
        self.n = n
    def total(self):
        return self.n * rate

def helper(n):
    return Thing(n)

def work(n):
    return helper(n)

def total(thing):
    return thing.total(), type(thing) is Thing

with axion.Executor(1) as ex:
    thing = ex.submit(work, 2).result()
    print(type(thing) is Thing, thing.total(), ex.submit(total, thing).result())
    rate = 4
    print(thing.total(), ex.submit(total, Thing(2)).result())
    print(type(ex.submit(lambda: Point(1, 2)).result()) is Point)
"""
STARTED_PRINTS = ["True 6 (6, True)", "8 (8, True)", "True"]


@pytest.mark.parametrize("start", STARTS)
def test_a24_however_the_program_is_started(program, start):
    for name in ("main.py", "pkg/mod.py", "pkg/__main__.py"):
        program.write(name, STARTED)
    program.write("pkg/__init__.py", "")
    assert program.run(*STARTS[start])[:3] == STARTED_PRINTS


def test_a24_a_module_that_starts_an_engine_while_it_is_imported_starts_no_other_in_its_workers(program):
    program.write("module.py", STARTED)
    done = program.start("-c", "import module", timeout=30)
    if done.returncode == 0:
        assert done.stdout.splitlines() == STARTED_PRINTS
    else:
        assert "axion.errors." in done.stderr or "RuntimeError" in done.stderr, done.stderr


def test_a24_the_program_comes_from_stdin_or_the_command_line(program):
    assert program.run("-c", STARTED) == STARTED_PRINTS
    assert program.run("-", stdin=STARTED) == STARTED_PRINTS
    assert program.run(stdin=STARTED) == STARTED_PRINTS
    lines = program.run("-i", stdin=STARTED.replace("\n\n", "\n").replace("\ndef ", "\n\ndef ").replace(
        "\nclass ", "\n\nclass ").replace("\nwith", "\n\nwith") + "\n")
    assert lines == STARTED_PRINTS


def test_a24_a_package_with_relative_imports(program):
    program.write("pkg/__init__.py", "base = 1")
    program.write("pkg/other.py", "def twice(n): return 2 * n")
    program.write("pkg/__main__.py", """
        import axion
        from . import base, other
        from .other import twice as double

        def work(n):
            from . import other as late
            return base, other.twice(n), double(n), late is other, __package__, __spec__.name

        if __name__ == "__main__":
            with axion.Executor(1) as ex:
                print(ex.submit(work, 2).result())
    """)
    assert program.run("-m", "pkg") == ["(1, 4, 4, True, 'pkg', 'pkg.__main__')"]


def test_a24_imports_of_all_kinds(program):
    program.write("lib/__init__.py", "")
    program.write("lib/deep/__init__.py", "")
    program.write("lib/deep/leaf.py", "value = 5\ndef get(): return value\n__all__ = ['get', 'value']")
    assert program.main("""
        import os.path as p, lib.deep.leaf, xml.etree.ElementTree as ET, collections.abc
        from lib.deep import leaf as aliased
        from lib.deep.leaf import *
        from lib.deep.leaf import get as got
        import axion
        try:
            import missing_module as fast
        except ImportError:
            fast = None
        modules = {"json": __import__("json")}

        def work():
            import json as late
            import lib.deep.leaf as again
            return (p.join("a", "b"), lib.deep.leaf.value, ET.fromstring("<a/>").tag, aliased.get(), get(), value, got(),
                    fast, modules["json"] is late, again is aliased, isinstance([], collections.abc.Sequence))

        with axion.Executor(1) as ex:
            print(work() == ex.submit(work).result(), ex.submit(lambda: p is os.path).exception() is not None)
    """) == ["True True"]


def test_a24_doctest(program):
    program.write("documented.py", '''
        """
        >>> import axion
        >>> rate = 3
        >>> def work(n):
        ...     return twice(n) * rate
        >>> with axion.Executor(1) as ex:
        ...     ex.submit(work, 2).result()
        ...     rate = 4
        ...     ex.submit(work, 2).result()
        12
        16
        """

        def twice(n):
            return 2 * n
    ''')
    assert program.run("-m", "doctest", "documented.py") == []


def test_a24_a_module_without_a_file(program):
    program.write("source.txt", """
        rate = 3
        class Thing:
            def __init__(self, n):
                self.n = n
            def total(self):
                return self.n * rate
        def work(n):
            return Thing(n)
        def total(thing):
            return thing.total(), type(thing) is Thing
    """)
    assert program.main("""
        import sys, types
        import axion
        made = types.ModuleType("made")
        exec(open("source.txt").read(), vars(made))
        sys.modules["made"] = made

        def through(n):
            import made as late
            return late.work(n).total(), late is made

        with axion.Executor(1) as ex:
            thing = ex.submit(made.work, 2).result()
            print(type(thing) is made.Thing, thing.total(), ex.submit(made.total, thing).result())
            made.rate = 4
            print(thing.total(), ex.submit(made.total, made.Thing(2)).result(), ex.submit(through, 2).result())
    """) == ["True 6 (6, True)", "8 (8, True) (8, True)"]


def test_e5_exceptions_that_are_frozen_or_falsy(program):
    assert program.main("""
        import dataclasses
        import axion

        @dataclasses.dataclass(frozen=True)
        class Frozen(Exception):
            reason: str

        class Falsy(Exception):
            def __bool__(self):
                return False

        class Picky(Exception):
            def __init__(self, a, b, *, c=1):
                super().__init__("%s and %s" % (a, b))
                self.a, self.b = a, b

        def fail(kind, *args):
            raise kind(*args)

        with axion.Executor(1) as ex:
            for kind, *args in ((Frozen, "it"), (Falsy, 1)):
                error = ex.submit(fail, kind, *args).exception()
                print(type(error) is kind, error.args)
            print("1 and 2" in str(ex.submit(fail, Picky, 1, 2).exception()))
    """) == ["True ('it',)", "True (1,)", "True"]
