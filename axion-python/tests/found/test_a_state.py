"""A3 to A6, A11 and A25: the caller's names and values in the worker, what tasks leave there, and what comes back."""

import pytest

# A3: a result changes nothing of the caller's.


def test_a3_a_result_leaves_the_callers_class_as_it_is(program):
    assert program.main("""
        import axion
        rate = 2

        class Price:
            count = 0
            def __init__(self, n):
                self.n = n
            def total(self):
                return self.n * rate

        def make(n):
            Price.count += 1
            return Price(n)

        mine = Price(3)
        with axion.Executor(1) as ex:
            back = ex.submit(make, 5).result()
            rate = 7
            print(mine.total(), back.total(), Price.count, type(back) is Price)
            Price.count = 10
            again = ex.submit(make, 6).result()
            print(again.total(), Price.count, Price.total.__globals__ is globals(), type(again) is Price)
    """) == ["21 35 0 True", "42 10 True True"]


def test_a3_registries_of_the_caller_do_not_grow(program):
    assert program.main("""
        import axion
        registry, made = [], []

        class Plugin:
            def __init_subclass__(cls, **kwargs):
                super().__init_subclass__(**kwargs)
                registry.append(cls.__name__)

        class Meta(type):
            def __new__(meta, name, bases, body):
                made.append(name)
                return super().__new__(meta, name, bases, body)

        class First(Plugin): pass
        class Second(First): pass
        class Model(metaclass=Meta): pass

        def make(kind):
            return kind(), len(registry), len(made)

        with axion.Executor(1) as ex:
            for kind in (First, Second, Model):
                thing, registered, seen = ex.submit(make, kind).result()
                print(type(thing) is kind, registered, seen)
        print(registry, made, [each.__name__ for each in Plugin.__subclasses__()])
    """) == ["True 2 1"] * 3 + ["['First', 'Second'] ['Model'] ['First']"]


def test_a3_exception_classes_of_the_caller(program):
    assert program.main("""
        import axion
        unit = "g"

        class Problem(Exception):
            seen = 0
            def __init__(self, amount, where):
                super().__init__("%s of %s" % (amount, where))
                self.amount, self.where = amount, where
            def __reduce__(self):
                return Problem, (self.amount, self.where)
            def text(self):
                return "%d %s in %s" % (self.amount, unit, self.where)

        def fail(n):
            Problem.seen += 1
            error = Problem(n, "here")
            error.extra = {"n": n}
            raise error

        def handed_over(error):
            return type(error) is Problem, error.text()

        with axion.Executor(1) as ex:
            for n in (1, 2):
                try:
                    ex.submit(fail, n).result()
                except Problem as error:
                    unit = "kg"
                    print(error.text(), Problem.seen, type(error) is Problem)
                    print(ex.submit(handed_over, error).result())
    """) == ["1 kg in here 0 True", "(True, '1 kg in here')", "2 kg in here 0 True", "(True, '2 kg in here')"]


def test_a3_an_exception_keeps_its_attributes_cause_and_notes(program):
    assert program.main("""
        import axion

        class Problem(Exception):
            pass

        def fail():
            try:
                1 / 0
            except ZeroDivisionError as cause:
                error = Problem("it", 7)
                error.code = "E7"
                error.add_note("a note")
                raise error from cause

        with axion.Executor(1) as ex:
            error = ex.submit(fail).exception()
            print(type(error) is Problem, error.args, getattr(error, "code", None), getattr(error, "__notes__", None))
    """) == ["True ('it', 7) E7 ['a note']"]


@pytest.mark.parametrize("kind, makes", [
    ("@dataclasses.dataclass\nclass Thing:\n    n: int\n    many: list = dataclasses.field(default_factory=list)", "Thing(1)"),
    ("@dataclasses.dataclass(slots=True, frozen=True)\nclass Thing:\n    n: int", "Thing(1)"),
    ("class Thing(typing.NamedTuple):\n    n: int\n    m: int = 2", "Thing(1)"),
    ("Thing = collections.namedtuple('Thing', 'n m', defaults=[2])", "Thing(1)"),
    ("class Thing(enum.Enum):\n    A = 1\n    B = 2\n    ALSO_A = 1", "Thing.A"),
    ("class Thing(enum.IntEnum):\n    A = 1\n    B = 2", "Thing.B"),
    ("class Thing(enum.Flag):\n    A = 1\n    B = 2", "Thing.A | Thing.B"),
    ("class Thing(str, enum.Enum):\n    A = 'a'\n    @property\n    def twice(self):\n        return self.value * 2", "Thing.A"),
    ("class Thing(list):\n    pass", "Thing([1, 2])"),
    ("class Thing(dict):\n    def __missing__(self, key):\n        return key", "Thing(a=1)"),
    ("T = typing.TypeVar('T')\nclass Thing(typing.Generic[T]):\n    pass", "Thing[int]()"),
    ("class Thing(typing.Protocol):\n    def run(self) -> int: ...", "None"),
    ("class Thing(abc.ABC):\n    @abc.abstractmethod\n    def run(self): ...\nThing.register(int)", "3"),
    ("class Thing(typing.TypedDict):\n    n: int", "Thing(n=1)"),
    ("class Outer:\n    class Thing:\n        pass\nThing = Outer.Thing", "Thing()"),
    ("def local():\n    class Thing:\n        pass\n    return Thing\nThing = local()", "Thing()"),
    ("Thing = type('Thing', (), {'n': 1})", "Thing()"),
], ids=["dataclass", "frozen slots", "NamedTuple", "namedtuple", "Enum", "IntEnum", "Flag", "str Enum", "list", "dict",
        "Generic", "Protocol", "ABC", "TypedDict", "nested", "local", "type()"])
def test_a3_what_comes_back_is_of_the_callers_class(program, kind, makes):
    source = """
import abc, collections, dataclasses, enum, typing
import axion

%s

def make(thing):
    fresh = %s
    return fresh, fresh == thing, type(fresh) is type(thing), Thing

def own():  # without the cache that pickle itself adds
    return {name: value for name, value in vars(Thing).items() if name != "__slotnames__"}

with axion.Executor(1) as ex:
    mine, before = %s, own()
    for _ in range(2):
        fresh, equal, same, the_class = ex.submit(make, mine).result()
        assert same and the_class is Thing and type(fresh) is type(mine), (same, the_class, type(fresh))
        assert equal is (mine == %s)
        assert own() == before
    print("as it was")
""" % (kind, makes, makes, makes)
    assert program.main(source) == ["as it was"]


def test_a3_what_a_task_defines_comes_back_by_value_on_the_callers_globals(program):
    assert program.main("""
        import axion
        factor = 2

        def make(n):
            def times(m):
                return n * m * factor
            class Local:
                def value(self):
                    return times(3)
            return times, Local()

        with axion.Executor(1) as ex:
            times, local = ex.submit(make, 5).result()
        print(times(1), local.value())
        factor = 3
        print(times(1), local.value(), times.__globals__ is globals())
    """) == ["10 30", "15 45 True"]


# A4, A25: initializers.


SETS = {
    "global": "global level; level = value",
    "globals()": "globals()['level'] = value",
    "__main__": "import __main__; __main__.level = value",
    "sys.modules": "import sys; sys.modules['__main__'].level = value",
    "exec": "exec('level = %d' % value, globals())",
}


@pytest.mark.parametrize("sets", SETS)
def test_a4_what_the_initializer_sets_is_what_tasks_read(program, sets):
    assert program.main("""
        import axion
        level = 0

        def prepare(value):
            SETS

        def read(_=None):
            return level

        with axion.Executor(1, initializer=prepare, initargs=(7,)) as ex:
            print([ex.submit(read).result() for _ in range(3)], list(ex.map(read, range(3))), level)
    """.replace("SETS", SETS[sets])) == ["[7, 7, 7] [7, 7, 7] 0"]


def test_a25_a_name_that_exists_only_after_the_initializer(program):
    assert program.main("""
        import axion

        def prepare(value):
            globals()["setting"] = value
            globals()["helper"] = lambda: setting + 1

        def read():
            return globals().get("setting"), setting, helper()

        with axion.Executor(2, initializer=prepare, initargs=(7,)) as ex:
            print({ex.submit(read).result() for _ in range(6)})
    """) == ["{(7, 7, 8)}"]


def test_a4_initializers_fill_containers_classes_and_modules(program):
    program.write("settings.py", "level = 0")
    assert program.main("""
        import functools, axion, settings
        cache, items = {}, []

        class Client:
            connection = None
            def __init__(self, name):
                self.name = name
            def prepare(self):
                Client.connection = self.name

        client = Client("db")

        def prepare(value):
            cache["k"] = value
            items.append(value)
            Client.connection = value
            settings.level = value

        def read():
            return cache, items, Client.connection, settings.level

        with axion.Executor(1, initializer=functools.partial(prepare, 7)) as ex:
            print(*[ex.submit(read).result() for _ in range(2)])
        with axion.Executor(1, initializer=client.prepare) as ex:
            print(ex.submit(lambda: Client.connection).result())
        print(read())
    """) == ["({'k': 7}, [7], 7, 7) ({'k': 7}, [7], 7, 7)", "db", "({}, [], None, 0)"]


def test_a4_a_replaced_worker_is_initialized_again(program):
    assert program.main("""
        import os, axion
        level = 0

        def prepare(value):
            global level
            level = value

        def read():
            return level

        with axion.Executor(1, initializer=prepare, initargs=(7,)) as ex:
            print(ex.submit(read).result())
            try:
                ex.submit(os._exit, 1).result()
            except axion.AxionError:
                pass
            print(ex.submit(read).result())
    """) == ["7", "7"]


def test_a4_a_later_change_by_the_caller_wins_over_the_initializer(program):
    assert program.main("""
        import axion
        level, other = 0, 0

        def prepare(value):
            global level
            level = value

        def read():
            return level, other

        with axion.Executor(1, initializer=prepare, initargs=(7,)) as ex:
            print(ex.submit(read).result())
            other = 1
            print(ex.submit(read).result())
            level = 2
            print(ex.submit(read).result())
    """) == ["(7, 0)", "(7, 1)", "(2, 1)"]


# A5, A6: state that tasks leave.


def test_a5_a_class_attribute_is_a_cache(program):
    assert program.main("""
        import axion

        class Client:
            connection = None
            opened = 0
            def __init__(self, n):
                self.n = n
            def use(self):
                if Client.connection is None:
                    Client.connection = object()
                    Client.opened += 1
                return Client.opened

        def use(client):
            return client.use()

        with axion.Executor(1) as ex:
            print({ex.submit(use, Client(n)).result() for n in range(25)} | set(ex.map(use, map(Client, range(25)))))
            print({ex.submit(Client(n).use).result() for n in range(5)}, Client.opened)
    """) == ["{1}", "{1} 0"]


def test_a6_functions_share_the_globals_that_they_set(program):
    assert program.main("""
        import axion
        connection, loads, counter = None, 0, 0
        data = None

        def connect(name):
            global connection
            connection = name

        def use():
            return connection

        def lazy(n):
            global data, loads
            if data is None:
                data = list(range(3))
                loads += 1
            return loads, counter

        with axion.Executor(1) as ex:
            ex.submit(connect, "db").result()
            print(ex.submit(use).result(), ex.submit(lambda: connection).result())
            seen = []
            for n in range(50):
                counter += 1
                seen.append(ex.submit(lazy, n).result())
        print({loads for loads, _ in seen}, [counter for _, counter in seen] == list(range(1, 51)), loads, data)
    """) == ["db db", "{1} True 0 None"]


def test_a6_closures_that_share_a_cell_share_it_in_the_worker(program):
    assert program.main("""
        import axion

        def counter():
            count = 0
            def up():
                nonlocal count
                count += 1
                return count
            def read():
                return count
            return up, read

        up, read = counter()

        def both():
            return up(), read()

        with axion.Executor(1) as ex:
            print(ex.submit(both).result(), ex.submit(up).result(), ex.submit(read).result(), read())
    """) == ["(1, 1) 2 2 0"]


def test_a6_a_global_is_taken_as_of_its_submit(program):
    assert program.main("""
        import axion
        level, table, items = 1, {"a": 1}, [1]

        def inner():
            return level, dict(table), list(items)

        def outer():
            return inner()

        with axion.Executor(1) as ex:
            futures = [ex.submit(outer)]
            level = 2
            futures.append(ex.submit(outer))
            table["b"] = 2
            items.append(2)
            futures.append(ex.submit(outer))
            del table["a"]
            items = [7]
            futures.append(ex.submit(outer))
            for future in futures:
                print(*future.result())
    """) == ["1 {'a': 1} [1]", "2 {'a': 1} [1]", "2 {'a': 1, 'b': 2} [1, 2]", "2 {'b': 2} [7]"]


def test_a6_functions_and_classes_that_the_caller_replaces(program):
    assert program.main("""
        import axion

        def helper():
            return "old"

        class Thing:
            def name(self):
                return "old"

        def use(thing=None):
            return helper(), Thing().name(), thing and thing.name()

        with axion.Executor(1) as ex:
            old = Thing()
            print(ex.submit(use, old).result())
            def helper():
                return "new"
            print(ex.submit(use, old).result())
            class Thing:
                def name(self):
                    return "new"
            print(ex.submit(use, old).result())
            Thing.name = lambda self: "patched"
            print(ex.submit(use, Thing()).result())
            helper.__code__ = (lambda: "other code").__code__
            print(ex.submit(use).result())
            del helper
            print(repr(ex.submit(use).exception()))
            del Thing.name
            helper = len
            print(type(ex.submit(use).exception()).__name__)
    """) == ["('old', 'old', 'old')", "('new', 'old', 'old')", "('new', 'new', 'old')", "('new', 'patched', 'patched')",
             "('other code', 'patched', None)", "NameError(\"name 'helper' is not defined\")", "TypeError"]


def test_a6_two_workers_see_each_submits_values(program):
    assert program.main("""
        import axion
        level = 0

        def read(n):
            return n, level

        with axion.Executor(2) as ex:
            futures = []
            for n in range(60):
                level = n
                futures.append(ex.submit(read, n))
            print(all(future.result() == (n, n) for n, future in enumerate(futures)))
    """) == ["True"]


# A25: names that code finds by other ways.


def test_a25_pickles_and_annotations_find_the_names_of_main(program):
    assert program.main("""
        from __future__ import annotations
        import dataclasses, pickle, typing
        import axion

        class Unused:
            pass

        @dataclasses.dataclass
        class Thing:
            n: int
            other: typing.Optional[Unused] = None

        def load(data):
            return pickle.loads(data).n

        def hints():
            return sorted(typing.get_type_hints(Thing)), typing.get_type_hints(hinted)["thing"] is Thing

        def hinted(thing: Thing) -> Unused:
            pass

        def by_name(name):
            import __main__, sys
            return getattr(__main__, name)(4).n, getattr(sys.modules[Thing.__module__], name) is Thing

        def evaluated(text):
            return eval(text)

        def known():
            return sorted(name for name in globals() if name in ("Unused", "Thing", "by_name", "secret", "ex"))

        secret = 4
        with axion.Executor(1) as ex:
            print(ex.submit(load, pickle.dumps(Thing(3))).result())
            print(ex.submit(hints).result())
            print(ex.submit(by_name, "Thing").result())
            print(ex.submit(evaluated, "secret + Thing(1).n + len(Unused.__name__)").result())
            print(ex.submit(known).result())
    """) == ["3", "(['n', 'other'], True)", "(4, True)", "11", "['Thing', 'Unused', 'by_name', 'secret']"]


def test_a25_a_class_that_only_a_pickle_names(program):
    assert program.main("""
        import pickle
        import axion

        class Thing:
            def __init__(self, n):
                self.n = n

        with axion.Executor(1) as ex:
            print(ex.submit(pickle.loads, pickle.dumps(Thing(3))).result().n)
            print(type(ex.submit(pickle.loads, pickle.dumps(Thing(3))).result()) is Thing)
            print(ex.submit(lambda data: pickle.loads(data).n, pickle.dumps(Thing(3))).result())
    """) == ["3", "True", "3"]


# A11: values that are large.


def test_a11_a_large_global_is_sent_once_and_seen_as_it_is(program):
    pytest.importorskip("numpy")
    assert program.main("""
        import axion, numpy
        data = numpy.zeros(10 * 2**20 // 8)

        def read(n):
            return float(data[n])

        with axion.Executor(1) as ex:
            def function():
                return ex._call.function(read)[0].id  # a worker gets what has a new id

            first = function()
            print({ex.submit(read, n).result() for n in range(20)}, function() == first)
            data[5] = 7
            print(ex.submit(read, 5).result(), ex.submit(read, 6).result(), function() == first)
            data[-1] = 8
            print(ex.submit(read, -1).result())
    """) == ["{0.0} True", "7.0 0.0 False", "8.0"]


def test_a11_a_global_of_100_megabytes_works_or_is_named(program):
    pytest.importorskip("numpy")
    assert program.main("""
        import axion, numpy
        the_matrix = numpy.ones(100 * 2**20 // 8)

        def total(n):
            return float(the_matrix[:n].sum())

        with axion.Executor(1) as ex:
            try:
                print(ex.submit(total, 5).result() == 5)
            except axion.AxionError as error:
                print("the_matrix" in str(error) or error)
    """) == ["True"]
