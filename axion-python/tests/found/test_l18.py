"""More of the kinds of A3 to A25: what random programs and attacks on the rows showed. L18 says what is right."""


def test_l18_a_callable_carries_a_fresh_copy_into_each_call(program):
    assert program.main("""
        import functools
        import axion

        def add(items, n):
            items.append(n)
            return list(items)

        class Basket:
            def __init__(self):
                self.items = []
            def add(self, n):
                self.items.append(n)
                return list(self.items)
            __call__ = add

        basket, partial = Basket(), functools.partial(add, [])
        with axion.Executor(1) as ex:
            for make in (lambda: functools.partial(add, []), lambda: Basket().add, Basket,
                         lambda: basket.add, lambda: basket, lambda: partial):
                print(*[ex.submit(make(), 1).result() for _ in range(3)])
        print(basket.items)
    """) == ["[1] [1] [1]"] * 6 + ["[]"]


def test_l18_closures_that_share_a_list_keep_what_tasks_put_into_it(program):
    assert program.main("""
        import axion

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

        with axion.Executor(1) as ex:
            print(ex.submit(up).result(), ex.submit(up, 5).result(), ex.submit(both).result(), ex.submit(read).result())
    """) == ["1 6 (7, (7, [1, 6, 7])) (7, [1, 6, 7])"]


def test_l18_an_object_without_state_in_a_container_is_the_same_in_the_first_call(program):
    assert program.main("""
        import axion

        class Marker:
            pass

        MARKERS = {"one": Marker(), "two": Marker()}

        def which(thing):
            return [name for name, each in MARKERS.items() if each is thing]

        class Only:
            it = None
            def __new__(cls):
                if cls.it is None:
                    cls.it = object.__new__(cls)
                return cls.it
        ONLY = Only()

        with axion.Executor(1) as ex:
            print(ex.submit(which, MARKERS["two"]).result(), ex.submit(lambda: Only() is ONLY).result())
        with axion.Executor(1) as ex:
            print(ex.submit(lambda: Only() is ONLY).result(), ex.submit(which, [MARKERS["one"]][0]).result())
    """) == ["['two'] True", "True ['one']"]


def test_l18_names_and_texts_of_functions_and_classes_that_the_caller_changes(program):
    assert program.main("""
        import axion

        def function():
            "first"

        class Thing:
            "first"

        def read():
            return function.__name__, function.__doc__, Thing.__name__, Thing.__doc__

        with axion.Executor(1) as ex:
            print(ex.submit(read).result())
            function.__name__ = "another"
            print(ex.submit(read).result())
            function.__doc__ = Thing.__doc__ = "second"
            Thing.__name__ = "Other"
            print(ex.submit(read).result())
    """) == ["('function', 'first', 'Thing', 'first')", "('another', 'first', 'Thing', 'first')",
             "('another', 'second', 'Other', 'second')"]


def test_l18_a_generic_class_behind_an_alias(program):
    assert program.main("""
        import typing
        import axion
        T = typing.TypeVar("T")

        class Box(typing.Generic[T]):
            def __init__(self, it):
                self.it = it

        class Stack(typing.Generic[T]):
            inner: "Stack[Box[int]]"
            def of(self, n):
                return Stack[Box[int]], Box[T](n)

        def closing():
            kind = Box[int]
            return lambda: (kind is Box[int], kind(3).it)

        with axion.Executor(1) as ex:
            print(ex.submit(closing()).result(), ex.submit(lambda kind: kind(4).it, Box[str]).result())
        with axion.Executor(1) as ex:
            alias, box = ex.submit(Stack().of, 5).result()
            print(alias == Stack[Box[int]], box.it, type(box) is Box)
    """) == ["(True, 3) 4", "True 5 True"]


def test_l18_subclasses_are_those_of_the_caller(program):
    assert program.main("""
        import axion

        class Base:
            @classmethod
            def find(cls, name):
                return [kind for kind in cls.__subclasses__() if kind.__name__ == name]

        class First(Base):
            pass

        class Second(Base):
            pass

        class Below(First):
            pass

        def names():
            return [kind.__name__ for kind in Base.__subclasses__()], [kind.__name__ for kind in First.__subclasses__()]

        with axion.Executor(1) as ex:
            print(ex.submit(Base.find, "Second").result()[0] is Second, ex.submit(names).result())
            class Third(Base):
                pass
            print(ex.submit(names).result())
    """) == ["True (['First', 'Second'], ['Below'])", "(['First', 'Second', 'Third'], ['Below'])"]


def test_l18_what_a_module_holds_under_a_name_goes_by_that_name(program):
    program.write("lib.py", """
        def counter():
            n = 0
            def up():
                nonlocal n
                n += 1
                return n
            return up
        up = counter()

        def through():
            return up()

        def factory(base):
            class Made(base):
                pass
            return Made
        Made = factory(int)

        def same(kind):
            return kind is Made
    """)
    assert program.main("""
        import axion, lib
        with axion.Executor(1) as ex:
            print(ex.submit(lib.up).result(), ex.submit(lib.through).result(), ex.submit(lib.up).result())
            print(ex.submit(lib.same, lib.Made).result(), type(ex.submit(lambda: lib.Made(3)).result()) is lib.Made)
    """) == ["1 2 3", "True True"]


def test_l18_a_deleted_global_is_gone_for_code_that_looks_it_up(program):
    assert program.main("""
        import axion

        def looked_up(name):
            return globals().get(name)

        def evaluated(text):
            return eval(text)

        with axion.Executor(1) as ex:
            print(ex.submit(looked_up, "added").result())
            added = 7
            print(ex.submit(looked_up, "added").result(), ex.submit(evaluated, "added").result())
            del added
            print(ex.submit(looked_up, "added").result(), repr(ex.submit(evaluated, "added").exception()))
    """) == ["None", "7 7", "None NameError(\"name 'added' is not defined\")"]


def test_l18_text_with_surrogates_between_steps(program):
    assert program.main(r"""
        import axion

        def give(n):
            return ["\ud83d\ude00", {"k": "\ud83d"}, {"\ud83d\ude00": 1}, "\U0001f600"][n]

        def same(text, n):
            return text == give(n)

        with axion.Engine(cpu_bound_count=1, cpu_bound_max=1) as engine:
            steps = [axion.step(same, axion.step(give, n), n) for n in range(4)]
            workflow = engine.submit_workflow(steps)
            print([workflow.future(step).result() for step in steps])
    """) == ["[True, True, True, True]"]


def test_l18_results_of_steps_that_are_of_the_programs_classes(program):
    assert program.main("""
        import axion
        MISSING = object()

        class Thing:
            def __init__(self, n):
                self.n = n

        def make(n):
            return Thing(n), MISSING, Thing, use

        def use(made):
            thing, missing, kind, function = made
            return type(thing) is Thing, missing is MISSING, kind is Thing, function is use, thing.n

        with axion.Engine(cpu_bound_count=2, cpu_bound_max=2) as engine:
            steps = [axion.step(use, axion.step(make, n)) for n in range(8)]
            workflow = engine.submit_workflow(steps)
            print({workflow.future(step).result()[:4] for step in steps})
    """) == ["{(True, True, True, True)}"]


def test_l18_a_task_that_imports_a_module_without_a_file(program):
    assert program.main("""
        import importlib, sys, types
        import axion
        made = sys.modules["made"] = types.ModuleType("made")
        exec("class A:\\n  n = 1\\ndef read(): return level\\nlevel = 10", vars(made))

        def first():
            from made import A, read
            return A.n, read()

        def second():
            import made
            return made.read(), made.level

        def third():
            return importlib.import_module("made").read()

        def fourth():
            import made.inner
            return made.inner.level, made.level

        def fifth():
            from made.inner import level
            return level

        for task in (first, second, third):
            with axion.Executor(1) as ex:
                print(ex.submit(task).result())
        with axion.Executor(1) as ex:
            print(repr(ex.submit(fourth).exception()))
            inner = sys.modules["made.inner"] = made.inner = types.ModuleType("made.inner")
            made.__path__ = []
            made.level, inner.level = 11, 12
            print(ex.submit(fourth).result(), ex.submit(fifth).result(), ex.submit(second).result())
            inner.level, inner.extra = 13, 14
            print(ex.submit(fourth).result(), ex.submit(fifth).result())
    """) == ["(1, 10)", "(10, 10)", "10",
             "ModuleNotFoundError(\"No module named 'made.inner'; 'made' is not a package\")",
             "(12, 11) 12 (11, 11)", "(13, 11) 13"]


def test_l18_a_result_that_stock_pools_refuse_is_refused(program):
    assert program.main("""
        import threading
        import axion

        def give():
            return threading.Lock()

        with axion.Executor(1) as ex:
            print(getattr(ex.submit(give).exception(), "code", None))
    """) == ["result_not_serializable"]


def test_l18_methods_of_a_modules_own_object_act_on_that_object(program):
    assert program.main("""
        import random
        import axion

        def draw():
            return random.random()

        with axion.Executor(1) as ex:
            ex.submit(random.seed, 1).result()
            there = [ex.submit(random.random).result(), ex.submit(draw).result(), ex.submit(random.random).result()]
        random.seed(1)
        print(there == [random.random() for _ in range(3)])
    """) == ["True"]


def test_l18_classes_with_a_layout_of_c_code_work_or_are_refused_by_name(program):
    assert program.main("""
        import ctypes
        import axion

        class Struct(ctypes.Structure):
            _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]

        def total():
            struct = Struct(1, 2.5)
            return struct.x + struct.y

        with axion.Executor(1) as ex:
            try:
                print(ex.submit(total).result() == 3.5)
            except axion.SubmitError as error:
                print(error.code == "not_picklable" and "Struct" in str(error))
    """) == ["True"]


def test_l18_a_sentinel_in_the_object_of_a_bound_method(program):
    assert program.main("""
        import axion
        MISSING = object()

        class Options:
            def __init__(self, level=MISSING):
                self.level = level
            def given(self):
                return self.level is not MISSING

        for call in (lambda ex: ex.submit(Options().given), lambda ex: ex.submit(Options.given, Options())):
            with axion.Executor(1) as ex:
                print(call(ex).result(), ex.submit(Options(3).given).result())
    """) == ["False True", "False True"]


def test_l18_a_name_that_comes_and_goes_between_functions(program):
    assert program.main("""
        import axion

        def largest(items):
            return max(items)

        def through():
            return largest([1])

        def read():
            try:
                return extra
            except NameError:
                return "gone"

        def read_through():
            return read()

        with axion.Executor(1) as ex:
            print(ex.submit(largest, [2, 1]).result(), ex.submit(read).result())
            max, extra = min, 5
            print(ex.submit(through).result(), ex.submit(read_through).result())
            del max, extra
            print(ex.submit(largest, [2, 1]).result(), ex.submit(read).result())
    """) == ["2 gone", "1 5", "2 gone"]


def test_l18_what_is_only_offered_does_not_fail_a_call(program):
    assert program.main("""
        import axion

        class Unmade:
            def __reduce__(self):
                return fail, ()

        def fail():
            raise RuntimeError("cannot be made here")

        unmade = Unmade()

        def attributes():
            return sorted(vars(attributes)), sorted(name for name in globals() if name == "attributes")

        with axion.Executor(1) as ex:
            print(ex.submit(attributes).result())
    """) == ["([], ['attributes'])"]


def test_l18_registrations_after_the_first_submit(program):
    assert program.main("""
        import abc, functools
        import axion

        class Thing:
            @functools.singledispatchmethod
            def kind(self, it):
                return "any"

        class Shape(abc.ABC):
            pass

        @functools.singledispatch
        def show(it):
            return "object"

        def use():
            return show(1), show(Thing()), Thing().kind(1), isinstance(Thing(), Shape)

        with axion.Executor(1) as ex:
            print(ex.submit(use).result())
            show.register(int, lambda it: "int")

            @show.register
            def _(it: Thing):
                return "Thing"

            @Thing.kind.register
            def _(self, it: int):
                return "int"

            Shape.register(Thing)
            print(ex.submit(use).result())
    """) == ["('object', 'object', 'any', False)", "('int', 'Thing', 'int', True)"]


def test_l18_annotations_that_the_caller_changes(program):
    assert program.main("""
        import axion

        def function(a: int):
            pass

        def plain():
            pass

        def read():
            return function.__annotations__, plain.__annotations__

        with axion.Executor(1) as ex:
            print(ex.submit(read).result())
            function.__annotations__["a"] = str
            print(ex.submit(read).result())
            plain.__annotations__ = {"return": int}
            print(ex.submit(read).result())
            function.__annotations__ = plain.__annotations__ = {}
            print(ex.submit(read).result())
    """) == ["({'a': <class 'int'>}, {})", "({'a': <class 'str'>}, {})",
             "({'a': <class 'str'>}, {'return': <class 'int'>})", "({}, {})"]


def test_l18_a_global_that_is_set_back_to_an_earlier_object(program):
    assert program.main("""
        import axion
        one, two = "one", "two"
        level = one

        def read():
            return level

        def other():
            return level

        with axion.Engine(cpu_bound_max=1, io_bound_count=1, io_bound_max=1) as engine:
            for kind in ("cpu", "io"):
                pool = engine.options(kind=kind)
                seen = [pool.submit(read).result()]
                level = two
                seen.append(pool.submit(other).result())
                level = one
                seen.append(pool.submit(read).result())
                print(*seen)
    """) == ["one two one"] * 2


def test_l18_what_a_needed_global_shares_with_one_that_is_only_reached_by_its_name(program):
    assert program.main("""
        import axion
        shared = []
        items = [shared]

        def task():
            return items[0] is globals().get("shared")

        with axion.Executor(1) as ex:
            print(ex.submit(task).result())
    """) == ["True"]


def test_l18_a_type_parameter_is_the_same_in_the_task_and_when_it_comes_back(program):
    assert program.main("""
        import typing
        import axion
        T = typing.TypeVar("T", bound="Base")

        class Base(typing.Generic[T]):
            pass

        def same(parameter):
            return parameter is T, Base.__parameters__ == (T,), Base[T] == Base[parameter]

        with axion.Executor(1) as ex:
            print(ex.submit(same, T).result(), ex.submit(lambda: (T, Base[T])).result() == (T, Base[T]))
    """) == ["(True, True, True) True"]


def test_l18_annotations_that_cannot_be_sent(program):
    assert program.main("""
        import axion

        def double(n: (item for item in ())):
            return 2 * n

        def use():
            return double(2)

        with axion.Executor(1) as ex:
            print(ex.submit(use).result())
    """) == ["4"]


def test_l18_what_is_taken_back_between_two_calls_of_one_function(program):
    # Another function's call has brought the change to the worker.
    assert program.main("""
        import axion

        class Thing:
            one = 1

        def marked(): pass

        def attributes():
            return hasattr(Thing, "two"), hasattr(marked, "two"), hasattr(marked, "__wrapped__"), marked()

        def also():
            return attributes()

        def names():
            return "late" in globals()

        def late_name():
            return late

        def two(): return 2

        with axion.Executor(1) as ex:
            print(ex.submit(attributes).result(), ex.submit(names).result())
            Thing.two = marked.two = marked.__wrapped__ = 2
            before, marked.__code__ = marked.__code__, two.__code__
            late = 1
            print(ex.submit(also).result(), ex.submit(late_name).result())
            del Thing.two, marked.two, marked.__wrapped__, late
            marked.__code__ = before
            print(ex.submit(attributes).result(), ex.submit(names).result())
    """) == ["(False, False, False, None) False", "(True, True, True, 2) 1", "(False, False, False, None) False"]


def test_l18_a_step_sees_what_results_of_earlier_submits_reach_as_of_its_own_submit(program):
    assert program.main("""
        import axion

        RATE = 2

        class Box:
            def __init__(self, n):
                self.n = n

            def gross(self):
                return self.n * RATE

        def make(n):
            return Box(n)

        def gross(box):
            return box.gross()

        def run(step):
            return engine.submit_workflow([step]).result()[step.name]

        with axion.Engine(cpu_bound_count=1, io_bound_count=0) as engine:
            read, unread, earlier = engine.submit(make, 1), engine.submit(make, 10), axion.step(make, 100)
            read.result(), run(earlier)
            print(*[run(axion.step(gross, made)) for made in (read, unread, earlier)])
            RATE = 3
            print(*[run(axion.step(gross, made)) for made in (read, unread, earlier)])
            Box.gross = lambda self: -self.n
            print(*[run(axion.step(gross, made)) for made in (read, unread, earlier)])
    """) == ["2 20 200", "3 30 300", "-1 -10 -100"]


def test_l18_everything_around_a_task_is_the_callers(program):
    assert program.main("""
        import abc, copyreg, decimal, functools, multiprocessing, os, sys, warnings
        import axion

        sys.setrecursionlimit(1234)
        sys.set_int_max_str_digits(700)
        decimal.getcontext().prec = 5
        decimal.getcontext().rounding = decimal.ROUND_UP
        decimal.getcontext().traps[decimal.Inexact] = True
        warnings.filterwarnings("error", "some .*", UserWarning, "lib")

        class Point:
            def __init__(self, x):
                self.x = x

        class Shape(abc.ABC):
            pass

        Shape.register(Point)
        copyreg.pickle(Point, lambda point: (Point, (point.x * 10,)))

        @functools.singledispatch
        def show(thing):
            return "any"

        show.register(Point, lambda point: "point")

        def plain(pattern):
            return getattr(pattern, "pattern", pattern)

        def around():
            context = decimal.getcontext()
            return {
                "path": sys.path, "argv": sys.argv, "flags": list(sys.flags), "options": sys._xoptions,
                "folder": os.getcwd(), "variables": {name: os.environ[name] for name in os.environ if name != "AXION_WORKER"},
                "depth": sys.getrecursionlimit(), "digits": sys.get_int_max_str_digits(),
                "decimal": (context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp,
                            {signal.__name__: bool(on) for signal, on in context.traps.items()}),
                "filters": [(action, plain(message), category.__name__, plain(module), line)
                            for action, message, category, module, line in warnings.filters],
                "key": bytes(multiprocessing.current_process().authkey),
                "registered": (issubclass(Point, Shape), Point in copyreg.dispatch_table, show(Point(1)), show(1))}

        async def around_async():
            return around()

        def given(point):
            return point.x, point

        here = around()
        with axion.Engine(cpu_bound_count=1, io_bound_count=1) as engine:
            for kind in "cpu", "io":
                options = engine.options(kind=kind)
                for function in around, around_async:
                    there = options.submit(function).result()
                    print(kind, [name for name in here if here[name] != there[name]])
                x, point = options.submit(given, Point(2)).result()
                print(x, point.x)
            print([name for name in here if here[name] != engine.submit_workflow([axion.step(around)]).result()["around"][name]])
            print(len({options.submit(hash, "text").result()
                       for options in (engine.options(kind="cpu"), engine.options(kind="io"))}))
    """, "an argument") == ["cpu []", "cpu []", "20 200", "io []", "io []", "20 200", "[]", "1"]


def test_l18_what_a_function_finds_by_a_name_is_there_or_the_call_is_refused(program):
    program.write("lookup.py", """
        import sys

        def call(name):
            return getattr(sys.modules["__main__"], name)()

        def has(name):
            return hasattr(sys.modules["__main__"], name)
    """)
    assert program.main("""
        import threading
        import axion, lookup

        TABLE = [str(n) * 10 for n in range(5000)]
        HUGE = [str(n) * 10 for n in range(200000)]
        FILE = open(__file__)

        def some():
            return len(TABLE)

        def much():
            return len(HUGE)

        def cannot():
            return FILE.read()

        with axion.Executor(1) as ex:
            for function in lookup.call, lookup.has:
                for name in "some", "much", "cannot":
                    try:
                        print(ex.submit(function, name).result())
                    except axion.RemoteError as error:
                        print(error.code, "bytes" in str(error), "FILE" in str(error))
            print(ex.submit(lookup.has, "absent").result())
    """) == ["5000", "function_not_loadable True False", "function_not_loadable False True",
             "True", "function_not_loadable True False", "function_not_loadable False True", "False"]
