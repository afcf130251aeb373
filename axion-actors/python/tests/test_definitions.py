"""Functions and classes taken apart and made again: in a fresh namespace, and in another process."""

import json
import os
import subprocess
import sys
import textwrap
import unittest

from harness import INTERPRETER, PACKAGE, PYTHON_FOLDER, ROOT, environment, runtime_folder

HERE = os.path.dirname(os.path.abspath(__file__))
# A module that goes by name.
SENTINELS = """
MISSING = object()
import functools, typing
T = typing.TypeVar("T")
def kept(function):
    refused = (each for each in ())
    def method(self): return refused and function(self)
    return method
class Kind:
    @kept
    def method(self): return "kept"
    method.__name__ = "method"
NOTHING = Kind()
WITH_STATE = Kind()
WITH_STATE.x = 1
@functools.singledispatch
def show(x): return "other"
@functools.lru_cache()
def cached(x): return [x]
"""


class Process:
    """One `definitions_process`. Its interpreter is that of the workers."""

    def __init__(self, folder, package):
        code = "import sys; sys.path.insert(0, %r); import definitions_process; definitions_process.main()" % HERE
        env = environment({"PYTHONPATH": ROOT, "PYTHONHASHSEED": "0"})
        self._process = subprocess.Popen([INTERPRETER, "-B", "-W", "error", "-c", code, folder, package], env=env,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)

    def ask(self, **request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.communicate()


class Definitions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(ROOT, "sentinels.py"), "w") as file:
            file.write(SENTINELS)
        # The runtime's package has one name for the caller, another for a worker.
        cls.home, cls.away = Process(PYTHON_FOLDER, "axion_worker"), Process(runtime_folder(), PACKAGE)
        cls.version = tuple(map(int, subprocess.check_output(
            [INTERPRETER, "-c", "import sys; print('%d %d' % sys.version_info[:2])"]).split()))

    @classmethod
    def tearDownClass(cls):
        cls.home.close()
        cls.away.close()
        os.unlink(os.path.join(ROOT, "sentinels.py"))

    def same(self, source, expressions):
        """Each line of `expressions` gives the same at home, in a fresh namespace, and in another process."""
        expressions = [line.strip() for line in expressions.strip().splitlines()]
        said = self.home.ask(source=textwrap.dedent(source), expressions=expressions)
        self._no_error(said)
        away = self.away.ask(pickle=said["pickle"], expressions=expressions)
        self._no_error(away)
        for expression, home, here, there in zip(expressions, said["home"], said["here"], away["away"]):
            with self.subTest(expression):
                self.assertEqual(here, home, "in a fresh namespace")
                self.assertEqual(there, home, "in another process")
        return said["home"]

    def _no_error(self, answer):
        if "error" in answer:
            self.fail(answer["error"])

    def check(self, source):
        """Assertions that run in a process of the interpreter under test."""
        said = self.home.ask(source=textwrap.dedent(source))
        self._no_error(said)


class Functions(Definitions):
    def test_a_function_with_all_that_it_has(self):
        self.same('''
            def price(a, b=[1], *rest, c: "int" = 3, **more) -> "str":
                """What it costs."""
                return a, b, rest, c, more, factor
            price.note = {"x": 1}
            factor = 7
        ''', """
            price(1)
            price(1, 2, 3, c=4, d=5)
            price.__doc__
            price.__name__
            price.__qualname__
            price.__module__
            price.__annotations__
            price.__defaults__
            price.__kwdefaults__
            price.note
            price.__code__.co_filename
            price.__code__.co_firstlineno
            price.__globals__ is globals()
            price(1)[1] is price.__defaults__[0]
        """)

    def test_a_changed_default_stays(self):
        self.same("""
            def count(seen=[]):
                seen.append(len(seen))
                return seen
        """, """
            count(), count()
        """)

    def test_closures_share_their_cells(self):
        self.same("""
            def make():
                count = 0
                def increase():
                    nonlocal count
                    count += 1
                    return count
                def value():
                    return count
                return increase, value
            increase, value = make()
        """, """
            increase(), increase(), value()
            increase.__closure__[0] is value.__closure__[0]
        """)

    def test_functions_that_refer_to_themselves(self):
        self.same("""
            import functools
            def make():
                def factorial(n):
                    return 1 if n < 2 else n * factorial(n - 1)
                def even(n):
                    return n == 0 or odd(n - 1)
                def odd(n):
                    return n != 0 and even(n - 1)
                return factorial, even, odd
            factorial, even, odd = make()
            def again(): return again
            again.me = again
            def default(me=None): return me
            default.__defaults__ = (default,)
            def make_cached():
                @functools.lru_cache(None)
                def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
                return fibonacci
            fibonacci = make_cached()
        """, """
            fibonacci(30), fibonacci.__wrapped__.__closure__[0].cell_contents is fibonacci
            factorial(5)
            even(7), odd(7)
            factorial.__closure__[0].cell_contents is factorial
            even.__closure__[0].cell_contents is odd
            again() is again.me is again
            default() is default
        """)

    def test_an_empty_cell_stays_empty_until_it_is_set(self):
        self.same("""
            def make():
                if False: later = 1
                def set_it(value):
                    nonlocal later
                    later = value
                def get_it(): return later
                return set_it, get_it
            set_it, get_it = make()
        """, """
            get_it()
            set_it(4), get_it()
        """)

    def test_coroutines_generators_and_lambdas(self):
        self.same("""
            import asyncio
            async def one(): return 1
            async def several():
                yield await one()
            async def all_of(): return [each async for each in several()]
            def numbers(n): yield from range(n)
            twice = lambda x: 2 * x
            lambdas = [lambda x, n=n: x + n for n in range(3)]
        """, """
            asyncio.run(all_of())
            list(numbers(3))
            twice(4)
            [f(10) for f in lambdas]
        """)

    def test_functions_whose_globals_are_an_exec_d_dict_or_another_module_s(self):
        self.same("""
            import contextlib, functools
            names = {"base": 5}
            exec("def add(x): return base + x", names)
            add = names["add"]
            del names
            @contextlib.contextmanager
            def opened(x):
                yield x + 1
            @functools.wraps(opened)
            def wrapped(*args): return opened(*args)
            def enter(x):
                with opened(x) as y: return y
        """, """
            add(2)
            enter(3)
            opened.__globals__ is vars(contextlib)
            opened.__wrapped__.__globals__ is globals()
            wrapped.__wrapped__ is opened
        """)

    def test_a_function_is_made_with_other_globals(self):
        self.check("""
            def make(cell):
                def function(a, b=1): return a, b, cell, name
                return function
            function = make("cell")
            function.note = 1
            made = definitions.make_function(definitions.function_recipe(function), {"name": "other"})
            assert made(0) == (0, 1, "cell", "other") and made.note == 1 and made.__qualname__ == function.__qualname__
            assert made.__closure__[0] is function.__closure__[0] and made.__dict__ is not function.__dict__
        """)

    def test_a_function_is_updated_in_place(self):
        self.check("""
            def make(kept):
                cell = 1
                def old(a, b=1): return a, b, cell, kept
                def new(a, b=2, *, c=3): return a, b, c, cell, kept
                def set_cell(value):
                    nonlocal cell
                    cell = value
                return old, new, set_cell
            old, new, set_cell = make("k")
            other = make("k")[1]
            other.added = new.added = 1
            old.gone = 1
            attributes = vars(old)
            before = definitions.function_snapshot(old)
            assert not definitions.function_changed(old, before)
            _, new2, set_cell = make("other")
            set_cell(9)
            new2.added = 2
            definitions.update_function(old, definitions.function_recipe(new2))
            assert definitions.function_changed(old, before)
            assert old(0) == (0, 2, 3, 9, "other"), old(0)
            assert attributes is vars(old) and attributes == {"added": 2}
            assert old.__name__ == "new"

            def make_empty(is_empty):
                cell = 1
                def function(): return cell
                if is_empty: del cell
                return function
            full, empty = make_empty(False), make_empty(True)
            definitions.update_function(full, definitions.function_recipe(empty))
            definitions.update_function(empty, definitions.function_recipe(make_empty(True)))
            for function in full, empty:
                try:
                    function()
                except NameError:
                    continue
                assert False
        """)

    def test_each_change_of_a_function_is_seen(self):
        self.check("""
            def make():
                cell = [1]
                def function(a, b=1, *, c=2): return cell
                def assign(value):
                    nonlocal cell
                    cell = value
                def empty():
                    nonlocal cell
                    del cell
                return function, assign, empty
            changes = {
                "code": lambda f, *_: setattr(f, "__code__", make()[0].__code__.replace(co_name="x")),
                "defaults": lambda f, *_: setattr(f, "__defaults__", (9,)),
                "keyword defaults": lambda f, *_: f.__kwdefaults__.update(c=9),
                "attributes": lambda f, *_: setattr(f, "x", 1),
                "annotations": lambda f, *_: f.__annotations__.update(a=int),
                "doc": lambda f, *_: setattr(f, "__doc__", "new"),
                "name": lambda f, *_: setattr(f, "__name__", "new"),
                "cell": lambda f, assign, empty: assign([1]),
                "empty cell": lambda f, assign, empty: empty(),
            }
            for name, change in changes.items():
                function, assign, empty = make()
                snapshot = definitions.function_snapshot(function)
                assert not definitions.function_changed(function, snapshot), name
                change(function, assign, empty)
                assert definitions.function_changed(function, snapshot), name
        """)

    def test_the_same_code_gives_the_same_bytes(self):
        self.check("""
            def make(): return lambda x: ("constant", x, {"key": [x]})
            one, kept = make(), []
            first = definitions.function_structure(one)[0]
            kept.extend([one.__code__, one.__code__.co_consts, one.__code__.co_names] * 3)
            assert definitions.function_structure(one)[0] == first == definitions.function_structure(make())[0]
        """)


class Classes(Definitions):
    def test_a_plain_class(self):
        self.same('''
            class Price:
                """A price."""
                rate = 2
                all_of = []
                total: "int" = 3
                def __init__(self, net):
                    self.net = net
                    self.all_of.append(net)
                def gross(self): return self.net * self.rate
                @property
                def twice(self): return 2 * self.net
                @twice.setter
                def twice(self, value): self.net = value / 2
                @classmethod
                def free(cls): return cls(0)
                @staticmethod
                def unit(): return "EUR"
                class Inner:
                    def name(self): return type(self).__qualname__
            price = Price(4)
        ''', """
            Price.__doc__
            Price.__module__, Price.__qualname__
            price.gross()
            type(price) is Price
            price.twice
            setattr(price, 'twice', 10), price.net
            Price.free().net
            Price.unit()
            Price.Inner().name()
            Price.all_of
            Price.__annotations__
            sorted(set(vars(Price)) - {'__slotnames__'})
            Price.__hash__
            Price.gross.__globals__ is globals()
            Price.__mro__ == (Price, object)
            type(vars(Price)['free'])
        """)

    def test_super_and_the_class_cell(self):
        self.same("""
            class Base:
                def who(self): return ["base"]
                def __init_subclass__(cls, **options): super().__init_subclass__(**options)
            class Left(Base):
                def who(self): return ["left"] + super().who()
            class Right(Base):
                def who(self): return ["right"] + super().who()
            class Both(Left, Right):
                def who(self): return [__class__.__name__] + super().who()
            class Local:
                def make(self):
                    class Child(Local):
                        def make(self): return super().make.__qualname__
                    return Child
        """, """
            Both().who()
            Local().make()().make()
            [c.__name__ for c in Both.__mro__]
            Both.who.__closure__[0].cell_contents is Both
        """)

    def test_slots(self):
        self.same("""
            import weakref
            class A:
                __slots__ = ("x", "__private", "_y")
                def __init__(self): self.x, self.__private = 1, 2
                def private(self): return self.__private
            class B(A):
                __slots__ = ["z", "__dict__"]
            class C(A):
                __slots__ = {"w": "documented", "__weakref__": ""}
            class D(A): pass
            class E(B):
                __slots__ = ()
            class F:
                __slots__ = "only"
            class G(Exception):
                __slots__ = ("g",)
            class H(int):
                __slots__ = ()
            class I(int): pass
            def names(cls):
                import inspect
                return sorted(name for name, value in vars(cls).items() if inspect.isdatadescriptor(value))
            def layout(cls):
                return (cls.__basicsize__, cls.__itemsize__, bool(cls.__dictoffset__), bool(cls.__weakrefoffset__),
                        cls.__base__.__name__, vars(cls).get("__slots__"), names(cls),
                        sorted(set(vars(cls)) - {"__slotnames__"}))
            def assign(cls, name):
                setattr(cls(), name, 1)
                return cls.__name__
            class J:
                __slots__ = ("j",)
            del J.__slots__
            class K: __slots__ = ()
            class L(K, Exception): __slots__ = ()
            everything = [A, B, C, D, E, F, G, H, I, J, L]
        """, """
            [layout(cls) for cls in everything]
            [hasattr(cls(), "__dict__") for cls in everything]
            assign(A, "new")
            assign(D, "new"), assign(E, "new")
            assign(F, "new")
            assign(H, "new")
            assign(B, "z"), assign(C, "w"), assign(F, "only"), assign(G, "g")
            A().private(), A().x, A._A__private.__objclass__ is A
            C.w.__doc__
            weakref.ref(A())
            weakref.ref(C()) and True
        """)

    def test_what_is_made_with_a_class_is_none_of_its_attributes(self):
        self.check("""
            import abc, enum
            class Slotted(abc.ABC):
                __slots__ = ("x", "__dict__", "__weakref__")
                def method(self): pass
            Slotted.alias = Slotted.x
            Slotted().__reduce_ex__(2)
            made_by_python = {"__firstlineno__", "__static_attributes__"}
            found = set(definitions.class_attributes(Slotted)) - made_by_python
            assert found == {"__slots__", "__doc__", "__abstractmethods__", "method", "alias"}, found
            class Color(enum.Flag):
                RED, BLUE = 1, 2
            Color.RED | Color.BLUE
            attributes = definitions.class_attributes(Color)
            assert "_member_map_" not in attributes
            assert attributes["_value2member_map_"] == {1: Color.RED, 2: Color.BLUE}
            assert list(attributes)[0] == definitions.MEMBER_STATES
        """)

    def test_classes_of_builtins_and_exceptions(self):
        self.same("""
            class Table(dict):
                def __missing__(self, key): return key * 2
            class Number(int):
                def half(self): return type(self)(self // 2)
            class Failed(ValueError):
                def __init__(self, code, text):
                    super().__init__(code, text)
                    self.code = code
                def __str__(self): return "%s!" % self.code
            class Both(Failed, KeyError): pass
            table = Table(a=1)
            number = Number(9)
            failed = Failed(3, "no")
            both = Both(4, "yes")
        """, """
            table, table['b'], type(table) is Table
            number.half(), type(number.half()) is Number
            str(failed), failed.args, failed.code
            isinstance(both, KeyError), both.code
            Both.__mro__[1] is Failed
        """)

    def test_attributes_that_are_instances_of_the_class(self):
        self.same("""
            class Node:
                def __init__(self, name): self.name = name
                def __eq__(self, other): return self.name == other.name
                def __hash__(self): return hash(self.name)
                def __reduce__(self): return Node, (self.name,)
            Node.root = Node("root")
            Node.all_of = {Node.root: Node("child")}
            Node.me = Node
        """, """
            Node.root.name
            type(Node.root) is Node is Node.me
            [n.name for n in Node.all_of]
            Node.all_of[Node('root')].name
        """)

    def test_metaclasses(self):
        self.same("""
            class Meta(type):
                made = []
                def __new__(meta, name, bases, names, **options):
                    cls = super().__new__(meta, name, bases, names)
                    meta.made.append(name)
                    return cls
                def __init__(cls, name, bases, names, **options):
                    cls.options = options
                def __setattr__(cls, name, value):
                    if name == "frozen": raise AttributeError(name)
                    super().__setattr__(name, value)
                @property
                def tag(cls): return "of the metaclass"
                def __len__(cls): return 5
                def __call__(cls, *args):
                    made = super().__call__(*args)
                    made.called = True
                    return made
            class A(metaclass=Meta, x=1):
                tag = "of the class"
                frozen = 1
            class B(A): pass
        """, """
            Meta.made
            A.options, B.options
            A.tag, A().tag, B().tag
            len(A)
            A().called
            A.frozen
            type(A) is Meta is type(B)
        """)

    def test_hooks_do_not_run_again(self):
        self.same("""
            log = []
            class Field:
                def __set_name__(self, owner, name):
                    self.name = name
                    log.append(name)
                def __get__(self, instance, owner): return self.name
            class Plugin:
                registry = []
                def __init_subclass__(cls, key=None, **options):
                    super().__init_subclass__(**options)
                    cls.key = key
                    cls.registry.append(cls)
            class One(Plugin, key=1):
                field = Field()
            class Two(One, key=2): pass
            class Slotted(Plugin, key=3): __slots__ = ("s",)
            class Root:
                __slots__ = ("__dict__",)
                made = 0
                def __init_subclass__(cls): Root.made += 1
            class Middle(Root): __slots__ = ("__weakref__",)
            class Leaf(Middle): pass
            class Deep(Leaf): __slots__ = ("d",)
        """, """
            log
            [c.__name__ for c in Plugin.registry]
            Plugin.registry[1] is Two
            One.key, Two.key, Slotted.key
            One.field, Two().field
            [c.__name__ for c in Two.__mro__]
            Two.__bases__ == (One,)
            Root.made, Leaf().__dict__, Deep.__basicsize__
            [c.__name__ for c in Root.__subclasses__()]
            [c.__name__ for c in Plugin.__subclasses__()]
            type('New', (Plugin,), {}).key, len(Plugin.registry)
            type('New', (Leaf,), {}) and Root.made
        """)

    def test_abstract_base_classes(self):
        self.same("""
            import abc, collections.abc
            class Shape(abc.ABC):
                @abc.abstractmethod
                def area(self): ...
                @property
                @abc.abstractmethod
                def name(self): ...
                @classmethod
                def __subclasshook__(cls, other): return True if hasattr(other, "is_shape") else NotImplemented
            class Square(Shape):
                def area(self): return 4
                name = "square"
            @Shape.register
            class Registered: pass
            class Hooked: is_shape = True
            class Another(abc.ABC): pass
            class Row(collections.abc.Sequence):
                def __len__(self): return 2
                def __getitem__(self, at): return [5, 6][at]
        """, """
            Shape()
            Square().area(), Square().name
            sorted(Shape.__abstractmethods__), Square.__abstractmethods__
            [issubclass(c, Shape) for c in (Square, Registered, Hooked, int)]
            isinstance(Registered(), Shape)
            list(Row()), 6 in Row(), isinstance(Row(), collections.abc.Sequence)
            Row().index(6)
            Shape.register(int), issubclass(int, Shape), issubclass(int, Another), issubclass(Registered, Another)
            type(Shape) is abc.ABCMeta
        """)

    def test_abstract_base_classes_without_the_c_part(self):
        self.check("""
            import _py_abc, abc, weakref
            class Shape(metaclass=_py_abc.ABCMeta):
                @abc.abstractmethod
                def area(self): ...
            class Square(Shape):
                def area(self): return 4
            class Other: pass
            Shape.register(Other)
            real = abc._abc_init
            del abc._abc_init
            abc.ABCMeta, kept = _py_abc.ABCMeta, abc.ABCMeta
            try:
                shape, square, other = loads(dumps((Shape, Square, Other)))
                assert shape is not Shape
                assert issubclass(square, shape) and issubclass(other, shape) and not issubclass(int, shape)
                assert isinstance(square(), shape) and shape.__abstractmethods__ == {"area"}
                assert shape._abc_registry is not Shape._abc_registry
            finally:
                abc._abc_init, abc.ABCMeta = real, kept
        """)

    def test_named_tuples(self):
        self.same("""
            import collections, typing
            Point = collections.namedtuple("Point", "x y", defaults=[5])
            class Named(typing.NamedTuple):
                '''Documented.'''
                a: int
                b: "str" = "x"
                def both(self): return self.a, self.b
            class More(Point):
                __slots__ = ()
                def sum(self): return self.x + self.y
            point, named = Point(1), Named(2)
        """, """
            point, point.x, point._asdict(), point._replace(x=3)
            Point._fields, Point._field_defaults
            named, named.both(), type(named) is Named
            Named.__doc__, Named._fields
            typing.get_type_hints(Named)
            More(1, 2), More(1, 2).sum()
            Point(y=1, x=2)
            Point.x.__doc__
        """)

    def test_dataclasses(self):
        self.same("""
            import dataclasses, sys
            from dataclasses import dataclass, field, fields
            @dataclass
            class Item:
                name: str
                tags: list = field(default_factory=list)
                price: float = 1.5
                hidden: int = field(default=3, repr=False, compare=False, metadata={"unit": "EUR"})
                extra: dataclasses.InitVar[int] = 7
                def __post_init__(self, extra): self.sum = self.price + extra
            @dataclass(frozen=True, order=True)
            class Frozen:
                name: str
                last: int = 0
            options = {"slots": True, "kw_only": True} if sys.version_info >= (3, 10) else {}
            @dataclass(**options)
            class Slotted:
                a: int = 1
                def me(self): return __class__ is type(self)
            item, frozen = Item("x"), Frozen("y", last=2)
        """, """
            item, item.sum, item == Item('x')
            frozen, hash(frozen) == hash(Frozen('y', 2))
            Frozen('a') < Frozen('b')
            [(f.name, f.type, f.default is dataclasses.MISSING, dict(f.metadata)) for f in fields(Item)]
            dataclasses.asdict(item), dataclasses.replace(item, name='z', extra=1)
            Item('a').tags is not Item('b').tags
            setattr(frozen, 'last', 1)
            Slotted(a=2), getattr(Slotted, '__slots__', None), Slotted().me()
            Slotted(1)
            [f._field_type.name for f in Item.__dataclass_fields__.values()]
            type(Item.__dataclass_fields__['hidden'].metadata)
            getattr(Item, '__match_args__', None)
            dataclasses.make_dataclass('New', [('q', int, 1)], bases=(Item,))('a').q
        """)

    def test_classes_of_typing(self):
        self.same("""
            import typing
            from typing import Dict, Generic, List, TypeVar
            T = TypeVar("T", bound="Item")
            N = TypeVar("N", int, float)
            C = TypeVar("C", covariant=True)
            K = typing.NewType("K", int)
            D = TypeVar("D", default=int) if hasattr(T, "has_default") else T
            class Item: pass
            class Box(Generic[T]):
                content: "List[Item]"
                def __init__(self, value: T): self.value = value
            class Both(Box[int], Dict[str, N]): pass
            class Movie(typing.TypedDict, total=False):
                name: str
                item: "Item"
            @typing.runtime_checkable
            class Closes(typing.Protocol):
                def close(self) -> None: ...
            class File:
                def close(self): pass
            class Typed(typing.Protocol[C]):
                x: C
        """, """
            Box[int], Box[int](4).value, Box.__parameters__
            Box.__parameters__[0] is T, T.__bound__, N.__constraints__
            C.__covariant__, T.__module__, T
            getattr(D, "__default__", None), hasattr(T, "has_default") and T.has_default()
            Both.__orig_bases__, Both.__mro__
            Both[float]
            Movie(name='x'), Movie.__total__, sorted(Movie.__annotations__)
            sorted(getattr(Movie, '__optional_keys__', ()))
            isinstance(File(), Closes), isinstance(3, Closes), Closes._is_protocol
            Closes()
            Typed[int]
            typing.get_type_hints(Box) == {'content': List[Item]}
            typing.get_type_hints(Movie)['item'] is Item
            K(3), K.__supertype__, K.__name__
            File.__parameters__
        """)

    def test_attributes_that_have_the_names_of_properties_of_types(self):
        self.same("""
            class Fake:
                __name__ = "for instances"
                __qualname__ = "Fake"
                __class__ = property(lambda self: int)
                __mro__ = __bases__ = __base__ = 1
                __text_signature__ = "()"
                __dictoffset__ = 3
            class Named:
                __name__ = property(lambda self: "computed")
            def make(fake): return Fake()
        """, """
            globals().update(fake=make(1))
            fake.__name__, type(fake).__name__, Named().__name__, Named.__name__
            isinstance(fake, int), type(fake) is Fake, type(Fake)
            fake.__mro__, fake.__dictoffset__, Fake.__mro__ == (Fake, object), fake.__text_signature__
            sorted(set(vars(Fake)) - {"__slotnames__"})
        """)

    def test_instances_that_are_made_while_their_class_is_read(self):
        self.same("""
            import collections
            class Address:
                home = constants = None
                _cache, _sizes, _marks = {}, [32], {"a": (1, {2})}
                _width = 32
                _texts = collections.OrderedDict()
                def __init__(self, text):
                    self.text, self.size = self.clean(text), self._width + self._sizes[0] + len(self._marks)
                    self._cache[text] = self.check()
                    self._texts[text] = self.twice()
                def __reduce__(self): return type(self), (self.text,)
                @staticmethod
                def clean(text): return text.strip()
                @classmethod
                def twice(cls): return cls._width * 2
            class Constants:
                home = Address.__new__(Address)
            Address.constants = Constants
            Address.check = lambda self: "checked"
            Address.last = "last"
            Constants.home.__init__("127.0.0.1")
            Address.home = Constants.home
            class Network(Address):
                first = Constants.home
            Constants.network = Network("10.0.0.0")
        """, """
            Address.constants.home.text, Address.constants.home.size, Constants.network.text
            type(Constants.network) is Network, Network.first is Constants.home
            sorted(Address._cache), sorted(Address._texts), Address.home is Constants.home
        """)

    def test_hooks_of_classes_over_classes_that_share_a_layout(self):
        self.same("""
            import random
            class Weak:
                __slots__ = ("__weakref__",)
                made = []
                def __init_subclass__(cls): Weak.made.append(cls.__name__)
            class Mixed: pass
            class Both(Weak, Mixed): pass
            class Child(Both): pass
            class Empty:
                __slots__ = ()
                made = []
                def __init_subclass__(cls): Empty.made.append(cls.__name__)
            class First(Empty): pass
            class Second(First): pass
            class Third(Second, Child): pass
            class OnlyDict(Empty): __slots__ = ("__dict__",)
            class Middle(OnlyDict): __slots__ = ("__weakref__",)
            class Fourth(Middle): pass
            class Dice(random.Random):
                def __init_subclass__(cls): Dice.made = cls.__name__
                def throw(self): return self.randint(1, 6)
            class Loaded(Dice): pass
            def children(cls): return [c.__name__ for c in cls.__subclasses__()]
            classes = Weak, Both, Child, Empty, First, Second, Third, OnlyDict, Middle, Fourth, Dice, Loaded
            for cls in classes: cls.layout = (cls.__basicsize__, cls.__dictoffset__, cls.__weakrefoffset__)
        """, """
            Weak.made, Empty.made, Dice.made
            [children(cls) for cls in classes]
            [(cls.__basicsize__, cls.__dictoffset__, cls.__weakrefoffset__) == cls.layout for cls in classes]
            [[c.__name__ for c in cls.__mro__] for cls in classes]
            Loaded(1).throw() == Dice(1).throw()
        """)

    def test_registrations_of_a_class(self):
        self.check("""
            import collections.abc, copyreg, functools, numbers, sentinels
            class Row: pass
            collections.abc.Sized.register(Row)
            collections.abc.Sequence.register(Row)
            sentinels.show.register(Row, lambda row: "a row")
            copyreg.pickle(Row, lambda row: (Row, ()))
            attributes = definitions.class_attributes(Row)
            found = attributes[definitions.REGISTERED_WITH]
            assert sorted(found, key=str) == [collections.abc.Sequence, collections.abc.Sized], found
            made = loads(dumps(Row))
            assert made is not Row
            assert issubclass(made, collections.abc.Sequence) and issubclass(made, collections.abc.Sized)
            assert not issubclass(made, numbers.Number)
            assert sentinels.show(made()) == "a row" and sentinels.show(1) == "other"
            assert copyreg.dispatch_table[made](made()) == (Row, ())
            class Other: pass
            assert not set(definitions.class_attributes(Other)) & {
                definitions.REGISTERED, definitions.REGISTERED_WITH, definitions.DISPATCHED, definitions.REDUCER}
        """)

    def test_classes_that_cannot_be_copied_are_refused_in_words(self):
        self.check("""
            import ctypes, enum, datetime
            class Listed(list, enum.Enum):
                A = [1]
            class Header(ctypes.Structure):
                _fields_ = [("size", ctypes.c_int)]
            cases = {datetime.date: "the class datetime.date is made by C code", Listed: "Listed is an Enum of list",
                     Header: "the class caller.Header is made by C code"}
            for cls, words in cases.items():
                try:
                    definitions.class_structure(cls)
                except TypeError as error:
                    assert words in str(error), error
                else:
                    assert False, cls
        """)

    def test_attributes_are_set_and_removed_past_the_metaclass(self):
        self.check("""
            class Meta(type):
                def __setattr__(cls, name, value): raise AttributeError(name)
                __delattr__ = __setattr__
                @property
                def tag(cls): return "of the metaclass"
            class Item(metaclass=Meta): pass
            item = Item()
            for name in ("tag", "__name__", "plain", "__len__"):
                assert not hasattr(item, name)
                definitions.set_class_attribute(Item, name, (lambda self: 3) if name == "__len__" else 1)
                assert getattr(item, name) == 1 or len(item) == 3
                definitions.set_class_attribute(Item, name, 2)
                assert getattr(item, name) == 2
                definitions.delete_class_attribute(Item, name)
                assert not hasattr(item, name)
                try:
                    len(item)
                except TypeError:
                    continue
                assert False
            assert Item.tag == "of the metaclass" and Item.__name__ == "Item"
            definitions.delete_class_attribute(Item, definitions.MEMBER_STATES)
            definitions.delete_class_attribute(Item, definitions.REGISTERED_WITH)
        """)

    def test_newer_syntax(self):
        if self.version < (3, 12):
            self.skipTest("from Python 3.12 on")
        self.same("""
            import typing
            class Box[T: int, *Ts, **P]:
                def get[U: (int, str)](self, x: U) -> T: return x
            def first[T](items: list[T]) -> T: return items[0]
            type Pair[A] = tuple[A, A]
            class Child(Box[int, str, [int]]): pass
        """, """
            Box.__type_params__, Box.__orig_bases__
            Box[int, str, [int]]
            Box().get(4), Box.get.__type_params__
            first([3]), first.__type_params__, first.__annotations__
            first.__annotations__['return'] is first.__type_params__[0]
            Pair[int], Pair.__value__, Pair.__type_params__
            Child.__orig_bases__
            Box.__type_params__[0].__bound__
            Box.get.__type_params__[0].__constraints__
        """)


class Enums(Definitions):
    def test_members_are_singletons(self):
        self.same("""
            import enum, pickle, copy
            class Color(enum.Enum):
                RED = 1
                GREEN = "g"
                BLUE = [3]
                CRIMSON = 1
                def shout(self): return self.name + "!"
                @property
                def lower(self): return self.name.lower()
            @enum.unique
            class Number(enum.IntEnum):
                ONE = 1
                TWO = enum.auto()
            favourites = {Color.RED: [Color.BLUE], "alias": Color.CRIMSON}
        """, """
            Color(1) is Color.RED is Color['RED'] is Color.CRIMSON
            list(Color), len(Color)
            Color.BLUE.value
            Color([3]) is Color.BLUE
            Color.GREEN.shout(), Color.RED.lower
            Color.RED in Color, hash(Color.RED) == hash('RED')
            favourites[Color.RED][0] is Color.BLUE, favourites['alias'] is Color.RED
            dict(Color.__members__)
            Number(2) is Number.TWO, Number.TWO + 1, Number.ONE < Number.TWO, list(Number)
            repr(Number.ONE), str(Color.RED)
            pickle.loads(pickle.dumps(Color.RED)) is Color.RED
            copy.deepcopy(Color.BLUE) is Color.BLUE
            Color(9)
            Color.RED.__class__ is Color
            setattr(Color, 'RED', 2)
            Color.__doc__ is None or type(Color.__doc__)
            type(Color.RED.__objclass__) is enum.EnumMeta
            isinstance(Number.ONE, int), isinstance(Number.ONE, Number)
            Color('g') is Color.GREEN
        """)

    def test_members_with_state(self):
        self.same("""
            import collections, enum, datetime, decimal, functools
            made = []
            class Planet(enum.Enum):
                EARTH = (5.97, 6.37)
                MARS = (0.64, 3.39)
                def __init__(self, mass, radius):
                    self.mass, self.radius, self.near = mass, radius, {}
                    made.append(self.name)
            Planet.EARTH.near[Planet.MARS] = 1
            class Coded(bytes, enum.Enum):
                def __new__(cls, code, label):
                    self = bytes.__new__(cls, [code])
                    self._value_ = code
                    self.label = label
                    return self
                ONE = (1, "one")
                TWO = (2, "two")
            class Operation(enum.Enum):
                ADD = functools.partial(lambda a, b: a + b)
                ME = functools.partial(lambda: Operation)
                def __call__(self, *args): return self.value(*args)
            class Day(datetime.date, enum.Enum):
                FIRST = 2020, 1, 1
            class Amount(decimal.Decimal, enum.Enum):
                HALF = "0.5"
            class Text(str, enum.Enum):
                A = "a"
                def __str__(self): return self.value
            class Point(tuple, enum.Enum):
                ORIGIN = (0, 0)
            class Coordinates(collections.namedtuple("Coordinates", "x y")):
                def __add__(self, other): return type(self)(self.x + other, self.y)
            class Place(Coordinates, enum.Enum):
                HOME = 1, 2
            class Auto(enum.Enum):
                def _generate_next_value_(name, start, count, last): return name.lower()
                X = enum.auto()
                @classmethod
                def _missing_(cls, value): return cls.X
        """, """
            made, Planet.EARTH.mass, Planet.EARTH.near[Planet.MARS]
            Planet((5.97, 6.37)) is Planet.EARTH
            Coded(1) is Coded.ONE, bytes(Coded.ONE), Coded.TWO.label, Coded.TWO.name
            Operation.ADD(1, 2), Operation.ME() is Operation
            Day.FIRST.year, Day.FIRST
            Amount.HALF * 2, Amount.HALF
            str(Text.A), Text.A == 'a', Text('a') is Text.A, 'x' + Text.A
            Point.ORIGIN[0], Point.ORIGIN, Place.HOME.x, Place((1, 2)) is Place.HOME
            Auto.X.value, Auto('unknown') is Auto.X
        """)

    def test_flags(self):
        self.same("""
            import enum, pickle
            class Mode(enum.Flag):
                READ = enum.auto()
                WRITE = enum.auto()
                BOTH = READ | WRITE
                RUN = enum.auto()
            class Bits(enum.IntFlag):
                A = 1
                B = 2
            some = Mode.READ | Mode.RUN
            bits = Bits.A | Bits.B
        """, """
            (Mode.READ | Mode.WRITE) is Mode.BOTH
            some, some is (Mode.READ | Mode.RUN)
            Mode.READ in some, Mode.WRITE in some, ~some
            Mode(0), Mode(3), Mode(5)
            bits, bits == 3, Bits.A | 8
            Mode.READ.value, list(Mode)
            (some & Mode.READ) is Mode.READ
        """)

    def test_enums_that_the_standard_library_has_added(self):
        if self.version < (3, 11):
            self.skipTest("from Python 3.11 on")
        self.same("""
            import enum
            class Text(enum.StrEnum):
                A = enum.auto()
                B = "bb"
            class Kept(enum.Flag, boundary=enum.KEEP):
                ONE = 1
            class Member(enum.Enum):
                @enum.member
                class Inner: x = 1
                @enum.nonmember
                class Not: pass
                name_ = enum.property(lambda self: self.name)
        """, """
            Text.A, Text('bb') is Text.B, str(Text.A), f'{Text.B}'
            Kept(9), ~Kept.ONE
            Member.Inner.value.x, list(Member)
            type(Member.Not)
            Member.Inner.name_
        """)


class Special(Definitions):
    def test_locks_and_the_like_are_made_anew(self):
        self.same("""
            import threading, contextvars, functools, queue, logging
            lock, rlock, event, local = threading.Lock(), threading.RLock(), threading.Event(), threading.local()
            condition, semaphore, barrier = threading.Condition(lock), threading.Semaphore(3), threading.Barrier(2)
            bounded = threading.BoundedSemaphore(2)
            variable = contextvars.ContextVar("variable", default=4)
            bare = contextvars.ContextVar("bare")
            class Local(threading.local):
                def __init__(self): self.x = 1
            own = Local()
            waiting, simple = queue.Queue(3), queue.SimpleQueue()
            waiting.put(1)
            log = logging.getLogger("some.name")
            adapter = logging.LoggerAdapter(log, {"x": 1})
            class Pool:
                lock = threading.Lock()
                def __init__(self): self.lock = threading.RLock()
            pool = Pool()
        """, """
            lock.locked(), lock.acquire(), lock.locked(), lock.release()
            rlock.acquire(), rlock.release()
            event.is_set(), event.set(), event.wait(0)
            hasattr(local, 'x'), setattr(local, 'x', 1), local.x
            condition._lock is lock
            [semaphore.acquire(False) for _ in range(4)]
            bounded.release()
            barrier.parties, barrier.n_waiting
            variable.get(), variable.name
            bare.get(5), bare.name
            own.x, type(own) is Local
            waiting.get(), waiting.maxsize, waiting.empty(), waiting.put(1)
            simple.put(1), simple.get()
            type(Pool.lock), type(pool.lock)
            log is logging.getLogger('some.name'), adapter.logger is log, adapter.extra
        """)

    def test_what_is_in_use_is_made_anew(self):
        self.check("""
            import contextvars, functools, threading, weakref
            lock, rlock, event, local = threading.Lock(), threading.RLock(), threading.Event(), threading.local()
            lock.acquire(), rlock.acquire(), event.set(), setattr(local, "x", 1)
            variable = contextvars.ContextVar("variable", default=4)
            variable.set(5)
            made = loads(dumps([lock, rlock, event, local, variable, lock]))
            assert not made[0].locked() and made[5] is made[0]
            assert not made[1]._is_owned() and not made[2].is_set() and not hasattr(made[3], "x")
            assert made[4].get() == 4
            class Key: pass
            key = Key()
            for weak in (weakref.WeakKeyDictionary({key: 1}), weakref.WeakValueDictionary({1: key}),
                         weakref.WeakSet([key])):
                assert len(weak) == 1 and len(loads(dumps(weak))) == 0
            @functools.lru_cache(maxsize=3)
            def cached(x): return [x]
            cached(1)
            again = loads(dumps(cached))
            assert again.cache_info() == (0, 0, 3, 0), again.cache_info()
        """)

    def test_functools(self):
        self.same("""
            import functools, sys
            calls = []
            @functools.lru_cache(maxsize=2, typed=sys.version_info >= (3, 9))
            def cached(x):
                "Cached."
                calls.append(x)
                return [x]
            class Item:
                @functools.lru_cache(None)
                def slow(self, x): return [x]
                @functools.cached_property
                def once(self): return [1]
                @functools.singledispatchmethod
                def show(self, x): return "other"
                @show.register
                def _(self, x: int): return "int"
                add = functools.partialmethod(lambda self, a, b: (a, b), 1)
            @functools.singledispatch
            def name(x): return "other"
            @name.register(int)
            def name_of_int(x): return "int"
            @name.register(Item)
            def name_of_item(x): return "item"
            name([]), name(1)
            partial = functools.partial(cached, 5)
            item = Item()
            @functools.total_ordering
            class Ordered:
                def __init__(self, x): self.x = x
                def __eq__(self, other): return self.x == other.x
                def __lt__(self, other): return self.x < other.x
        """, """
            cached(1) is cached(1), cached(1.0) is cached(1), calls
            cached.cache_info(), cached.__doc__, cached.__name__
            cached.__wrapped__.__name__, cached.cache_clear(), cached.cache_info()
            cached.__wrapped__.__globals__ is globals()
            item.slow(3) is item.slow(3)
            item.once is item.once
            item.show(1), item.show('')
            item.add(2)
            name(2), name(''), name(item), name(True)
            name.registry[int] is name_of_int, type(name.registry)
            name.register(str, lambda x: 'str') and name('')
            partial(), partial.func is cached
            Ordered(1) >= Ordered(0)
        """)

    def test_descriptors_and_methods(self):
        self.same("""
            import abc, types
            class Upper(property):
                "A subclass with another signature."
                def __init__(self, function, note):
                    super().__init__(function)
                    self.note = note
                def __get__(self, instance, owner=None):
                    return self if instance is None else super().__get__(instance, owner).upper()
            class Slotted(property):
                __slots__ = ("__doc__", "note", "unset")
                def __init__(self, function, note):
                    super().__init__(function)
                    self.note = note
            class Item:
                __slots__ = ("x", "y")
                def __init__(self): self.x = "ab"
                def _getter(self): return self.x
                value = property(_getter, doc="Documented.")
                loud = Upper(_getter, "note")
                slotted = Slotted(_getter, "in a slot")
                renamed = (lambda self: "renamed")
                free = staticmethod(len)
                make = classmethod(lambda cls: cls.__name__)
                def plain(self): return "plain"
            Item.alias = Item.x
            item = Item()
            bound, renamed, made, appended = item.plain, item.renamed, Item.make, [1].append
            upper, native_new, init, code_of = str.upper, int.__new__, object.__init__, types.FunctionType.__code__
            hidden = abc.abstractmethod(lambda self: 1)
        """, """
            item.value, Item.value.__doc__, Item.value.fget is Item._getter
            item.loud, Item.loud.note, type(Item.loud) is Upper
            item.slotted, Item.slotted.note, hasattr(Item.slotted, "unset")
            item.alias, Item.alias is Item.x
            item.renamed(), renamed(), bound(), made()
            item.free([1, 2])
            bound.__self__ is item
            upper('a'), native_new(int, 3), init, code_of
            hidden.__isabstractmethod__
            item.y
            appended(2)
        """)

    def test_views_and_other_values(self):
        self.same("""
            import collections, collections.abc, io, itertools, operator, re, struct, sys, types
            names = {"a": 1}
            proxy, keys, values, items = types.MappingProxyType(names), names.keys(), names.values(), names.items()
            odict = collections.OrderedDict(b=2)
            okeys = odict.keys()
            view, typed, writable = memoryview(b"abc"), memoryview(bytes(8)).cast("i"), memoryview(bytearray(b"x"))
            part = memoryview(b"abcdef")[::2]
            pattern = re.compile("a+", re.I)
            kinds = [types.FunctionType, types.MappingProxyType, type(None), type(...), types.CodeType, types.CellType]
            code = compile("1 + 1", "x", "eval")
            def add(): names["c"] = 3
            alias = list if sys.version_info < (3, 9) else list[int]
            getters = operator.itemgetter(1), operator.methodcaller("upper")
            module, streams = collections.abc, (sys.stdout, sys.stderr)
            counted = collections.defaultdict(lambda: 5, a=1)
            numbers = iter([1, 2])
            space = types.SimpleNamespace(me=1)
            buffer, text = io.BytesIO(b"ab"), io.StringIO("cd")
            buffer.read(1)
            header, counter, steps = struct.Struct("<IH"), itertools.count(3), itertools.count(1.5, -2)
            next(counter)
            def version(of=sys.version_info, flags=sys.flags): return of is sys.version_info, flags is sys.flags
            fromkeys, mro = dict.__dict__["fromkeys"], type.__dict__["__mro__"]
            of_class = type.__dict__["__dict__"].__get__
        """, """
            add(), dict(proxy), list(keys), list(values), list(items)
            list(okeys), type(okeys)
            bytes(view), typed.tolist(), typed.format
            writable.readonly, view.readonly, bytes(part)
            pattern.match('AA'), pattern.flags
            kinds
            eval(code)
            alias
            [g('ab') for g in getters]
            module is collections.abc, streams == (sys.stdout, sys.stderr)
            counted['z'], counted['a']
            next(numbers)
            space
            buffer.read(), text.read()
            header.size, header.format, next(counter), next(counter), next(steps), next(steps)
            version()
            fromkeys, mro, of_class(int)["real"]
        """)

    def test_singletons_of_modules_stay_what_they_are(self):
        self.same("""
            import dataclasses, inspect, sys, os
            from sentinels import MISSING, Kind, NOTHING, T, cached
            method = NOTHING.method
            def default(x=MISSING, y=dataclasses.MISSING, z=inspect.Parameter.empty, kind=NOTHING): return x, y, z, kind
            environment = os.environ
            values = [MISSING, NOTHING, Kind(), NotImplemented, ...]
        """, """
            default()[0] is MISSING is sys.modules['sentinels'].MISSING
            default()[1] is dataclasses.MISSING
            default()[2] is inspect._empty
            default()[3] is NOTHING, type(values[2]) is Kind, values[2] is NOTHING
            environment is os.environ
            cached is sys.modules["sentinels"].cached
            values[3] is NotImplemented, values[4] is ...
        """)

    def test_what_belongs_to_its_process_is_refused_in_words(self):
        self.check("""
            import asyncio, concurrent.futures, mmap, os, socket, sqlite3, subprocess, sys, threading, weakref, queue
            def generator(): yield
            async def coroutine(): pass
            async def agenerator(): yield
            waiting = coroutine()
            loop = asyncio.new_event_loop()
            filled = queue.SimpleQueue()
            filled.put(1)
            thread = threading.Thread(target=len, args=((),))
            thread.start()
            try: 1 / 0
            except ZeroDivisionError as error: caught = error.__traceback__
            process = subprocess.Popen([sys.executable, "-c", ""])
            executor = concurrent.futures.ThreadPoolExecutor(1)
            files = [open(os.devnull), open(os.devnull, "rb"), open(os.devnull, "rb", 0)]
            plain, database, mapped = socket.socket(), sqlite3.connect(":memory:"), mmap.mmap(-1, 1)
            things = {
                "an open file (%s)" % os.devnull: files,
                "a socket": [plain],
                "a database connection": [database, database.cursor()],
                "a memory map": [mapped],
                "a generator": [generator(), agenerator()],
                "a coroutine": [waiting],
                "a frame": [sys._getframe()],
                "a traceback": [caught],
                "a thread": [thread],
                "a running process": [process],
                "an event loop": [loop],
                "an asyncio future": [loop.create_future()],
                "an executor": [executor],
                "a future without a result": [concurrent.futures.Future()],
                "a weak reference": [weakref.ref(generator)],
                "a SimpleQueue with items": [filled],
            }
            for what, each in things.items():
                for thing in each:
                    try:
                        dumps([thing])
                    except specials.Refused as error:
                        assert error.what == what, (error.what, what)
                        assert str(error).startswith(what + " cannot be sent to another process: "), error
                        assert error.advice.endswith(".") and loads(dumps(error.args)) == error.args
                    else:
                        assert False, what
            waiting.close(), loop.close(), thread.join(), process.wait(), executor.shutdown()
            [each.close() for each in files + [plain, database, mapped]]
            done = concurrent.futures.Future()
            done.set_result(3)
            assert loads(dumps(done)).result() == 3
        """)


class Needed(Definitions):
    def needs(self, source, names, everything=False):
        self.check("""
            namespace = {}
            exec(compile(%r, "needs.py", "exec"), namespace)
            found = needs.names_needed(namespace["f"].__code__)
            assert (sorted(found.names), found.everything) == (%r, %r), (sorted(found.names), found.everything)
        """ % (textwrap.dedent(source), sorted(names.split()), everything))

    def test_globals_and_not_attributes(self):
        self.needs("""
            def f(x):
                import json
                global counter, gone
                counter += 1
                del gone
                later = lambda y: [z + offset for z in other(y)]
                class Local(Base):
                    size: "Price" = Width
                    def method(self): return inner
                return x.attribute, helper.eval(x), later, vars(), dir()
        """, "counter gone offset other Base Price Width inner helper vars dir __name__ __annotations__")

    def reaches_everything(self, expression):
        said = self.home.ask(source=textwrap.dedent("""
            names = {}
            exec("def f(x): return %s", names)
            assert needs.names_needed(names["f"].__code__).everything
        """ % expression))
        return "error" not in said

    def test_code_that_can_reach_any_global(self):
        for expression in ("eval('a')", "exec('a')", "globals()", "vars(x)", "dir(x)", "[eval(y) for y in x]",
                           "f.__globals__", "sys._getframe().f_globals", "sys.modules['__main__']",
                           "sys.modules[__name__]", "__import__('__main__')", "import_module('__main__')"):
            self.assertTrue(self.reaches_everything(expression), expression)
        for expression in ("x.eval(1)", "locals()", "vars()", "dir()", "x.vars(1)", "getattr(x, 'globals')",
                           "log(__name__)"):
            self.assertFalse(self.reaches_everything(expression), expression)
        self.needs("def f():\n import __main__", "", True)
        self.needs("def f():\n from __main__ import x", "", True)

    def test_annotations_that_are_text(self):
        self.needs("""
            def f(c):
                def inner(a: "Price", b: "List[Item]" = 1) -> "mod.Result": return c
                async def other(a: "Fourth") -> "not an expression": pass
        """, "Price List Item mod Fourth" if self.version >= (3, 10) else "")
        self.needs("""
            from __future__ import annotations
            def f():
                class Local:
                    x: Width
                    y: List[Item] = 1
                    def method(self): return Local
        """, "List Item Width __name__ __annotations__")
        self.check("""
            from typing import List, Dict, Optional
            def f(a: "Price", b: List["Item"], c: Dict[str, Optional["mod.Thing[Other]"]], d: int, e: "1 +"): pass
            found = needs.names_in_annotations(f.__annotations__)
            assert found == {"Price", "Item", "mod", "Other"}, found
        """)

    def test_submodules_that_are_reached_as_attributes(self):
        self.check("""
            import xml.etree.ElementTree, xml.sax, os.path, json
            def f(): return xml.etree.ElementTree.parse, [json.decoder]
            found = needs.submodules_needed(f.__code__, [xml, json, os, 3])
            assert found == ["json.decoder", "xml.etree", "xml.etree.ElementTree"], found
        """)


if __name__ == "__main__":
    unittest.main()
