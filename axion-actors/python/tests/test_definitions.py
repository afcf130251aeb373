"""Functions and classes taken apart and made again: in a fresh namespace, and in another process."""

import json
import subprocess
import sys
import textwrap
import unittest

from harness import INTERPRETER, PACKAGE, PYTHON_FOLDER, environment, runtime_folder

HERE = __file__.rsplit("/", 1)[0]


class Process:
    """One `definitions_process`. Its interpreter is that of the workers."""

    def __init__(self, folder, package):
        code = "import sys; sys.path.insert(0, %r); import definitions_process; definitions_process.main()" % HERE
        self._process = subprocess.Popen([INTERPRETER, "-B", "-c", code, folder, package], env=environment(),
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
        # The runtime's package has one name for the caller, another for a worker.
        cls.home, cls.away = Process(PYTHON_FOLDER, "axion_worker"), Process(runtime_folder(), PACKAGE)
        cls.version = tuple(map(int, subprocess.check_output(
            [INTERPRETER, "-c", "import sys; print('%d %d' % sys.version_info[:2])"]).split()))

    @classmethod
    def tearDownClass(cls):
        cls.home.close()
        cls.away.close()

    def same(self, source, *expressions):
        """Each expression gives the same at home, in a fresh namespace, and in another process."""
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
        ''', "price(1)", "price(1, 2, 3, c=4, d=5)", "price.__doc__", "price.__name__", "price.__qualname__",
            "price.__module__", "price.__annotations__", "price.__defaults__", "price.__kwdefaults__", "price.note",
            "price.__code__.co_filename", "price.__code__.co_firstlineno", "price.__globals__ is globals()",
            "price(1)[1] is price.__defaults__[0]")

    def test_a_changed_default_stays(self):
        self.same("""
            def count(seen=[]):
                seen.append(len(seen))
                return seen
        """, "count(), count()")

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
        """, "increase(), increase(), value()", "increase.__closure__[0] is value.__closure__[0]")

    def test_functions_that_refer_to_themselves(self):
        self.same("""
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
        """, "factorial(5)", "even(7), odd(7)", "factorial.__closure__[0].cell_contents is factorial",
            "even.__closure__[0].cell_contents is odd", "again() is again.me is again", "default() is default")

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
        """, "get_it()", "set_it(4), get_it()")

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
        """, "asyncio.run(all_of())", "list(numbers(3))", "twice(4)", "[f(10) for f in lambdas]")

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
        """, "add(2)", "enter(3)", "opened.__globals__ is vars(contextlib)", "opened.__wrapped__.__globals__ is globals()",
            "wrapped.__wrapped__ is opened")

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
        ''', "Price.__doc__", "Price.__module__, Price.__qualname__", "price.gross()", "type(price) is Price",
            "price.twice", "setattr(price, 'twice', 10), price.net", "Price.free().net", "Price.unit()",
            "Price.Inner().name()", "Price.all_of", "Price.__annotations__", "sorted(set(vars(Price)) - {'__slotnames__'})", "Price.__hash__",
            "Price.gross.__globals__ is globals()", "Price.__mro__ == (Price, object)", "type(vars(Price)['free'])")

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
        """, "Both().who()", "Local().make()().make()", "[c.__name__ for c in Both.__mro__]",
            "Both.who.__closure__[0].cell_contents is Both")

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
        """, *["layout(%s)" % name for name in "ABCDEFGHI"], *["assign(%s, 'new')" % name for name in "ABCDEFGHI"],
            "A().private(), A().x", "A._A__private.__objclass__ is A", "assign(B, 'z')", "assign(C, 'w')",
            "A().__dict__", "C.w.__doc__", "assign(F, 'only')", "weakref.ref(A())", "weakref.ref(C()) and True")

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
        """, "table, table['b'], type(table) is Table", "number.half(), type(number.half()) is Number",
            "str(failed), failed.args, failed.code", "isinstance(both, KeyError), both.code", "Both.__mro__[1] is Failed")

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
        """, "Node.root.name", "type(Node.root) is Node is Node.me", "[n.name for n in Node.all_of]",
            "Node.all_of[Node('root')].name")

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
        """, "Meta.made", "A.options, B.options", "A.tag, A().tag, B().tag", "len(A)", "A().called", "A.frozen",
            "type(A) is Meta is type(B)")

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
        """, "log", "[c.__name__ for c in Plugin.registry]", "Plugin.registry[1] is Two", "One.key, Two.key, Slotted.key",
            "One.field, Two().field", "[c.__name__ for c in Two.__mro__]", "Two.__bases__ == (One,)",
            "Root.made, Leaf().__dict__, Deep.__basicsize__", "[c.__name__ for c in Root.__subclasses__()]",
            "[c.__name__ for c in Plugin.__subclasses__()]",
            "type('New', (Plugin,), {}).key, len(Plugin.registry)", "type('New', (Leaf,), {}) and Root.made")
