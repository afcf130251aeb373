"""Kinds of programs that random ones (tests/differential) showed to fail. L18 says what is right."""

import sys

import pytest


def test_l18_an_object_that_is_made_while_it_is_read_finds_what_its_class_needs(program):
    assert program.main("""
        import collections
        import axion

        Point = collections.namedtuple("Point", "x y")

        def look(thing):
            return type(thing) is Point, thing

        args = Point(1, 2),
        def call():
            make = lambda args: lambda: look(*args)
            return make(args)

        with axion.Executor(1) as ex:
            print(ex.submit(call()).result())
    """) == ["(True, Point(x=1, y=2))"]


def test_l18_a_function_in_the_arguments_finds_the_programs_classes(program):
    assert program.main("""
        import pickle, sys, types
        import joblib
        import axion.joblib

        made = sys.modules["made"] = types.ModuleType("made")
        exec("class It:\\n def __init__(self, n): self.n = n", vars(made))
        data = pickle.dumps(made.It(8))

        def call(function, *args):
            return function(*args)

        with axion.Engine(cpu_bound_count=1) as engine:
            print(type(engine.submit(call, pickle.loads, data).result()) is made.It)
            step = axion.step(pickle.loads, data)
            print(type(engine.submit_workflow(step).future(step).result()) is made.It)
        axion.joblib.register()
        print(joblib.Parallel(n_jobs=2, backend="axion")([joblib.delayed(pickle.loads)(data)])[0].n)
    """) == ["True", "True", "8"]


def test_l18_a_submodule_that_the_program_has_imported(program):
    program.write("pack/__init__.py", "")
    program.write("pack/inner.py", "level = 4")
    assert program.main("""
        import pack.inner
        import axion

        def read():
            return pack.inner.level

        def enclosing():
            import pack
            return lambda: pack.inner.level + 1

        with axion.Executor(1) as ex:
            print(ex.submit(enclosing()).result(), ex.submit(read).result())
    """) == ["5 4"]


def test_l18_a_class_that_gets_other_bases(program):
    assert program.main("""
        import axion

        class First:
            name = "first"
        class Second:
            name = "second"
        class Both(First):
            pass

        def read():
            return Both.name, issubclass(Both, Second)

        with axion.Executor(1) as ex:
            print(ex.submit(read).result())
            Both.__bases__ = (Second,)
            print(ex.submit(read).result())
            Both.__bases__ = (First, Second)
            print(ex.submit(read).result())
    """) == ["('first', False)", "('second', True)", "('first', True)"]


def test_l18_texts_and_numbers_that_code_compares_by_identity(program):
    assert program.main("""
        import argparse
        import axion

        UNSET, LARGE = "no value is set", 10 ** 30

        def look(a=UNSET, *, b=LARGE):
            return a is UNSET, b is LARGE

        parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
        parser.add_argument("--level", type=int)
        parser.add_argument("--name", default=argparse.SUPPRESS)

        def parse():
            return vars(parser.parse_args([]))

        with axion.Executor(1) as ex:
            print(ex.submit(look).result(), ex.submit(parse).result())
    """) == ["(True, True) {}"]


def test_l18_keys_and_contexts_of_the_library(program):
    assert program.main("""
        import contextlib, functools
        import axion

        by_length = functools.cmp_to_key(lambda a, b: len(a) - len(b))
        item = by_length("aa")

        @contextlib.contextmanager
        def lifted(by):
            yield by

        @lifted(5)
        def inside():
            return "inside"

        entered = lifted(1)
        entered.__enter__()

        def use():
            return sorted(["cc", "a"], key=by_length), item < by_length("aaa"), inside()

        with axion.Executor(1) as ex:
            print(ex.submit(use).result())
            try:
                ex.submit(lambda: entered)
            except axion.SubmitError as error:
                print(error.code, "a context that has been entered" in str(error))
    """) == ["(['a', 'cc'], True, 'inside')", "not_picklable True"]


def test_l18_a_result_that_has_every_attribute_is_not_awaited(program):
    assert program.main("""
        import axion

        class Anything(dict):
            def __getattr__(self, name):
                return name

        with axion.Engine(cpu_bound_count=1, io_bound_count=1) as engine:
            for kind in ("cpu", "io"):
                print(engine.options(kind=kind).submit(Anything, a=1).result())
    """) == ["{'a': 1}"] * 2


def test_l18_an_object_without_state_in_a_container_of_a_module(program):
    program.write("marks.py", """
        class Mark:
            pass
        MARKS = {"one": Mark(), "two": [Mark()]}
        LIST, OBJECTS = [Mark(), Mark()], {"it": object()}
        class Holder:
            mark = Mark()
        def which(mark):
            return [mark is each for each in (MARKS["one"], LIST[1], OBJECTS["it"], Holder.mark)].index(True)
        def give():
            return MARKS["one"], LIST[1], OBJECTS["it"], Holder.mark
    """)
    assert program.main("""
        import axion, marks

        with axion.Executor(1) as ex:
            print([ex.submit(marks.which, mark).result() for mark in marks.give()])
            print([one is other for one, other in zip(ex.submit(marks.give).result(), marks.give())])
    """) == ["[0, 1, 2, 3]", "[True, True, True, True]"]


def test_l18_a_type_parameter_of_a_module_comes_back_as_itself(program):
    program.write("shapes.py", """
        import typing
        T, P = typing.TypeVar("T"), typing.ParamSpec("P")
        def same(thing):
            return thing
    """)
    assert program.main("""
        import axion, shapes

        def is_it(thing):
            return thing is shapes.T

        with axion.Engine(cpu_bound_count=1) as engine:
            print(*(engine.submit(shapes.same, each).result() is each for each in (shapes.T, shapes.P)))
            step = axion.step(is_it, axion.step(shapes.same, shapes.T))
            print(engine.submit_workflow(step).future(step).result())
    """) == ["True True", "True"]


def test_l18_a_class_without_a_module(program):
    assert program.main("""
        import axion

        exec('''
        class Built:
            def show(self):
                return 1
        Typed = type("Typed", (Built,), {"name": "typed"})
        def use():
            return Typed().show(), Typed.name
        ''', names := {})

        with axion.Executor(1) as ex:
            print(hasattr(names["Typed"], "__module__"), ex.submit(names["use"]).result())
            print(type(ex.submit(names["Typed"]).result()) is names["Typed"])
            print(ex.submit(lambda kind: kind().show(), names["Typed"]).result())
    """) == ["False (1, 'typed')", "True", "1"]


def test_l18_code_that_reaches_all_globals_gets_those_that_can_be_sent(program):
    assert program.main("""
        import axion, ctypes, multiprocessing.synchronize

        class Raw(ctypes.Structure):
            _fields_ = [("n", ctypes.c_int)]

        raw, kinds, table = Raw(), [Raw], {"of": {"raw": Raw()}}

        def size():
            return ctypes.sizeof(Raw)

        def double(n):
            return 2 * n

        def call(name, *args):
            return globals()[name](*args), "count" in globals(), "kinds" in globals()

        count = 1
        with axion.Executor(1) as ex:
            print(ex.submit(call, "double", 4).result())
            try:
                ex.submit(size)
            except axion.SubmitError as error:
                print("Raw is made by C code" in str(error))
    """) == ["(8, True, False)", "True"]


def test_l18_what_a_module_has_but_its_names_do_not_lead_to(program):
    program.write("shapes.py", """
        import enum

        def make(text):
            class Made:
                name = text
            return Made

        class Color(enum.Enum):
            class Tone:
                pass
            RED = 1

        class Holder:
            kind = make("kind")
            class Inner:
                by = {"deep": [make("deep")]}

        Alone = make("alone")
        LIST = [make("first"), make("second")]
        TABLE = {"add": lambda n: n + 1}
        last = lambda n: n
        CACHE = {}

        def tone():
            return getattr(Color.Tone, "value", Color.Tone)

        def everything():
            return [Alone, *LIST, Holder.kind, Holder.Inner.by["deep"][0], tone(), TABLE["add"], last]

        def instances():
            return [kind() for kind in everything()[:-2]]

        def are(given):
            return [one is other for one, other in zip(given, everything())]

        def put(name):
            CACHE[name] = make(name)
            return CACHE[name]
    """)
    assert program.main("""
        import axion, shapes

        with axion.Engine(cpu_bound_count=1) as engine:
            back = engine.submit(shapes.everything).result()
            print(all(map(lambda one, other: one is other, back, shapes.everything())))
            made = engine.submit(shapes.instances).result()
            print(all(map(lambda one, kind: type(one) is kind, made, shapes.everything())))
            print(all(engine.submit(shapes.are, shapes.everything()).result()))
            step = axion.step(shapes.are, axion.step(shapes.everything))
            print(all(engine.submit_workflow(step).future(step).result()))

            # What a task has put there is its own; what the caller has put there is the caller's.
            print(engine.submit(shapes.put, "task").result().name, shapes.CACHE)
            shapes.put("task").name = "caller"
            print(engine.submit(lambda kind: kind.name, shapes.CACHE["task"]).result())

        shapes.LIST[1] = int
        with axion.Engine(cpu_bound_count=1) as engine:
            try:
                print(engine.submit(shapes.everything).result())
            except Exception as error:
                print("has been replaced in shapes" in str(error))
    """) == ["True", "True", "True", "True", "task {}", "caller", "True"]


def test_l18_a_class_whose_module_or_name_changes(program):
    assert program.main("""
        import axion

        space = {}
        exec("Made = type('Made', (), {})", space)
        Made = space["Made"]

        class Named:
            pass

        def module_of_made():
            return hasattr(Made, "__module__")

        def of_named():
            return Named.__module__, Named.__name__, Named.__qualname__

        with axion.Executor(1) as ex:
            print(ex.submit(module_of_made).result())
            print(ex.submit(of_named).result())
            Named.__module__, Named.__qualname__ = "api", "api.Named"
            print(ex.submit(of_named).result())
    """) == ["False", "('__main__', 'Named', 'Named')", "('api', 'Named', 'api.Named')"]


def test_l18_registrations_after_the_first_call(program):
    program.write("lib.py", """
        import functools

        @functools.singledispatch
        def show(thing):
            return "any"

        class Shower:
            @functools.singledispatchmethod
            def show(self, thing):
                return "any"
    """)
    assert program.main("""
        import copyreg, pickle
        import axion, lib

        class Thing:
            pass

        def show():
            thing = pickle.loads(pickle.dumps(Thing()))
            return lib.show(thing), lib.Shower().show(thing), vars(thing)

        with axion.Executor(1) as ex:
            print(ex.submit(show).result())
            lib.show.register(Thing, lambda thing: "first")
            print(ex.submit(show).result())
            lib.show.register(Thing, lambda thing: "second")
            vars(lib.Shower)["show"].register(Thing, lambda self, thing: "method")
            print(ex.submit(show).result())
            copyreg.pickle(Thing, lambda thing: (Thing, (), {"by": "copyreg"}))
            print(ex.submit(show).result())
    """) == ["('any', 'any', {})", "('first', 'any', {})", "('second', 'method', {})",
             "('second', 'method', {'by': 'copyreg'})"]


def test_l18_annotations_that_cannot_be_sent_are_refused_when_they_are_read(program):
    assert program.main("""
        import functools, inspect, typing
        import axion

        def double(n: (item for item in ()), m: int = 0):
            return 2 * n

        @functools.wraps(double)
        def wrapped(n):
            return double(n)

        class Holder:
            n: (item for item in ()) = 0

        def call():
            return double(1), wrapped(2), Holder().n

        def read(how):
            try:
                return how()
            except TypeError as error:
                return "cannot be pickled: it is or holds a generator" in str(error)

        ways = [lambda: inspect.signature(double), lambda: typing.get_type_hints(wrapped), lambda: dict(double.__annotations__),
                lambda: {**double.__annotations__}, lambda: bool(double.__annotations__), lambda: list(wrapped.__annotations__),
                lambda: double.__annotations__ == {}, lambda: len(double.__annotations__), lambda: Holder.__annotations__,
                lambda: repr(double.__annotations__), lambda: "n" in double.__annotations__]

        def give():
            return double.__annotations__

        with axion.Executor(1) as ex:
            print(ex.submit(call).result())
            print([ex.submit(read, each).result() for each in ways] == [True] * len(ways))
            try:
                ex.submit(give).result()
            except axion.AxionError as error:
                print("holds a generator" in str(error))
            try:
                ex.submit(lambda: dict(double.__annotations__)).result()
            except axion.SubmitError as error:
                print(error.code, "holds a generator" in str(error))
    """) == ["(2, 4, 0)", "True", "True", "not_picklable True"]


def test_l18_an_attribute_that_can_be_sent_later(program):
    assert program.main("""
        import axion

        class Holder:
            table = ["first"]

        def read():
            return Holder.table

        def other():
            return Holder.__name__

        with axion.Executor(1) as ex:
            print(ex.submit(read).result())
            Holder.table.append(item for item in ())
            print(ex.submit(other).result())
            for _ in range(2):
                try:
                    ex.submit(read).result()
                except axion.SubmitError as error:
                    print("holds a generator" in str(error))
            Holder.table.pop()
            print(ex.submit(read).result(), ex.submit(other).result())
    """) == ["['first']", "Holder", "True", "True", "['first'] Holder"]


def test_l18_values_of_classes_that_lead_to_each_other(program):
    """Each value is set after those that are inside it, whichever of the classes comes first."""
    assert program.main("""
        import axion

        common = []

        class One:
            common = common

        class Two:
            common = common

        common.append(Two)
        ones = [One]
        Two.things = [ones]

        def use():
            return ones[0] is One, Two.things[0] is ones, One.common is Two.common, One.common[0] is Two

        with axion.Executor(1) as ex:
            print(ex.submit(use).result())
    """) == ["(True, True, True, True)"]


def test_l18_methods_with_given_arguments(program):
    assert program.main("""
        import axion, functools

        class Some(functools.partialmethod):
            pass

        class Price:
            def scaled(self, factor, plus=0):
                return factor * 7 + plus

            double = functools.partialmethod(scaled, 2)
            more = Some(scaled, plus=1)
            more.note = "more"

        def use():
            return Price().double(), Price().double(plus=3), Price().more(1), vars(Price)["more"].note

        with axion.Executor(1) as ex:
            print(ex.submit(use).result())
    """) == ["(14, 17, 8, 'more')"]


def test_l18_annotations_that_refer_to_the_program(program):
    """Of functions that use nothing else of it. Those that are text are found by what reads them."""
    assert program.main("""
        import axion, typing

        class Price:
            def twice(self, n: "Price | None" = None) -> "Rate":
                return 2

        class Rate:
            of: "Price"
            others: "typing.List[Rate]" = ()

        def given(price: Price) -> int:
            return price

        def in_text(price: "Price", *, n: list[int] = ()) -> "Rate":
            return price

        def hints():
            found = typing.get_type_hints(in_text), typing.get_type_hints(Price.twice)
            return found[0]["price"] is Price, found[1]["return"] is Rate, sorted(typing.get_type_hints(Rate))

        with axion.Executor(1) as ex:
            local = lambda: None
            local.__annotations__ = {"return": Rate}
            print(ex.submit(given, 1).result(), ex.submit(in_text, 2).result(), ex.submit(local).result())
            print(ex.submit(hints).result())
            given.__annotations__ = {"price": Rate}
            print(ex.submit(lambda: given.__annotations__["price"] is Rate).result())
    """) == ["1 2 None", "(True, True, ['of', 'others'])", "True"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated with their function")
def test_l18_annotations_that_cannot_be_evaluated(program):
    assert program.main("""
        import axion

        class Node:
            nope: Nope

        def given(n: Nope, later: Later = None) -> "Nope":
            return n, Node.__name__

        class Later:
            pass

        def why():
            try:
                given.__annotations__
            except NameError as error:
                return str(error), given.__annotate__.__qualname__

        with axion.Executor(1) as ex:
            print(ex.submit(given, 1).result())
            print(ex.submit(why).result() == why(), why())
    """)[0] == "(1, 'Node')"
