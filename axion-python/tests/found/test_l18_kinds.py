"""Kinds of programs that random ones (tests/differential) showed to fail. L18 says what is right."""


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

        def size():
            return ctypes.sizeof(Raw)

        def double(n):
            return 2 * n

        def call(name, *args):
            return globals()[name](*args), "count" in globals()

        count = 1
        with axion.Executor(1) as ex:
            print(ex.submit(call, "double", 4).result())
            try:
                ex.submit(size)
            except axion.SubmitError as error:
                print("Raw is made by C code" in str(error))
    """) == ["(8, True)", "True"]
