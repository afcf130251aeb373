"""The closed list of docs/guides/functions.md: what may differ from the caller, one test for each row."""

import glob
import os
import pathlib
import re
import shutil
import subprocess

import pytest

GUIDE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "guides" / "functions.md"


def test_every_row_of_the_guide_has_its_test_and_every_test_its_row():
    section = GUIDE.read_text(encoding="utf-8").split("## What may differ")[1].split("\n## ")[0]
    rows = re.findall(r"`(test_\w+)` \|$", section, re.MULTILINE)
    own = {"test_every_row_of_the_guide_has_its_test_and_every_test_its_row"}
    assert len(rows) >= 7 and set(rows) == {name for name in globals() if name.startswith("test_")} - own


def test_modules_are_as_their_files_have_them(program):
    program.write("settings.py", "level = 1\ndef read(): return level\n")
    assert program.main("""
        import axion, settings
        settings.level = 5
        settings.added = 6

        def through_main():
            return settings.level, hasattr(settings, "added")

        def prepare(level):
            settings.level = level

        with axion.Executor(1) as ex:
            print(ex.submit(settings.read).result(), ex.submit(through_main).result())
        with axion.Executor(1, initializer=prepare, initargs=(settings.level,)) as ex:
            print(ex.submit(settings.read).result(), ex.submit(through_main).result())
    """) == ["1 (1, False)", "5 (5, False)"]


def test_random_numbers_are_each_workers_own(program):
    assert program.main("""
        import random
        import axion
        random.seed(1)

        def draw():
            return random.random()

        with axion.Executor(1) as ex:
            there = [ex.submit(draw).result() for _ in range(3)]
            random.seed(1)
            print(there == [random.random() for _ in range(3)], len(set(there)))
        with axion.Executor(1, initializer=random.seed, initargs=(1,)) as ex:
            random.seed(1)
            print(ex.submit(draw).result() == random.random())
    """) == ["False 3", "True"]


def test_the_order_of_sets_is_that_of_the_workers_hashes(program):
    source = """
        import axion

        def order():
            return list({str(n) for n in range(30)})

        with axion.Executor(1) as ex:
            there = ex.submit(order).result()
            print(there == order(), sorted(there) == sorted(order()))
    """
    assert program.main(source, PYTHONHASHSEED="5") == ["True True"]
    assert program.main(source) == ["False True"]


def test_process_and_thread_are_the_workers(program):
    assert program.main("""
        import multiprocessing, os, threading
        import axion

        def who():
            return os.getpid(), os.getppid(), threading.current_thread() is threading.main_thread()

        with axion.Executor(1) as ex:
            pid, parent, in_main = ex.submit(who).result()
            print(pid == os.getpid(), in_main, ex.submit(who).result()[0] == pid)
    """) == ["False True True"]


def test_assertions_are_not_rewritten(program):
    program.write("test_it.py", """
        import axion
        import pytest

        def check(n):
            assert n == 5

        def test_it():
            with pytest.raises(AssertionError):
                check(4)
            with axion.Executor(1) as ex, pytest.raises(AssertionError):
                ex.submit(check, 4).result()
    """)
    for mode in ("prepend", "importlib"):
        lines = program.run("-m", "pytest", "-q", "--import-mode=" + mode, "-p", "no:cacheprovider", "test_it.py")
        assert any("1 passed" in line for line in lines), lines


def test_context_variables_have_their_defaults(program):
    assert program.main("""
        import contextvars
        import axion
        with_default = contextvars.ContextVar("with_default", default=3)
        without = contextvars.ContextVar("without")
        with_default.set(7)
        without.set(8)

        def read():
            return with_default.get(), without.get("nothing")

        def write():
            with_default.set(9)
            return with_default.get()

        with axion.Executor(1) as ex:
            print(ex.submit(read).result(), ex.submit(write).result(), with_default.get())
    """) == ["(3, 'nothing') 9 7"]


def test_atexit_runs_at_the_end_of_the_worker(program):
    assert program.main("""
        import atexit
        import axion

        def write(text):
            with open("trail", "a") as file:
                file.write(text)

        def register(text):
            atexit.register(write, text)

        atexit.register(lambda: print("the program ends"))
        with axion.Executor(1) as ex:
            ex.submit(register, "a").result()
            ex.submit(register, "b").result()
        print(sorted(open("trail").read()))
    """) == ["['a', 'b']", "the program ends"]


def test_tasks_of_an_io_worker_may_see_newer_values(program):
    assert program.main("""
        import os
        import axion
        level = 1
        os.mkfifo("gate")

        def read():
            return level

        def wait():
            open("gate").read()
            return level

        with axion.Engine(io_bound_count=1, io_bound_max=1) as engine:
            io = engine.options(kind="io")
            waiting = io.submit(wait)
            level = 2
            print(io.submit(read).result())
            open("gate", "w").close()
            print(waiting.result() in (1, 2))
    """) == ["2", "True"]


def test_interpreters_older_than_311_do_not_know_the_flag_p(program):
    older = [path for path in map(shutil.which, ("python3.8", "python3.9", "python3.10")) if path]
    older += glob.glob(os.path.expanduser("~/.pyenv/versions/3.[89].*/bin/python"))
    older = [path for path in older if subprocess.run([path, "--version"], stdout=subprocess.DEVNULL).returncode == 0]
    if not older:
        pytest.skip("there is no such interpreter here")
    program.write("a/near.py", "import sys\ndef seen(): return hasattr(sys.flags, 'safe_path'), 'a' in sys.path[0]\n")
    program.write("a/main.py", """
        import sys
        sys.path.insert(0, "../a")
        import axion, near
        with axion.Engine(cpu_bound_count=1, io_bound_count=0, python=sys.argv[1]) as engine:
            print(sys.flags.safe_path, *engine.submit(near.seen).result())
    """)
    assert program.run("-P", "main.py", older[-1], cwd="a") == ["True False True"]


def test_one_variable_marks_the_workers(program):
    assert program.main("""
        import os
        import axion

        def variables():
            return dict(os.environ)

        with axion.Engine(cpu_bound_count=1, io_bound_count=1) as engine:
            for kind in "cpu", "io":
                there = engine.options(kind=kind).submit(variables).result()
                print(sorted(set(there.items()) - set(os.environ.items()))[0][0], set(os.environ.items()) <= set(there.items()))
    """) == ["AXION_WORKER True"] * 2


def test_an_object_of_a_module_is_another_one_in_the_program(program):
    program.write("settings.py", "CONF = {'level': 1}\ndef level(): return CONF['level']\n")
    assert program.main("""
        import axion, settings
        from settings import CONF

        CONF["level"] = 5

        def look():
            return CONF["level"], settings.level(), CONF is settings.CONF

        with axion.Executor(1) as ex:
            print(look(), ex.submit(look).result())
    """) == ["(5, 5, True) (5, 1, False)"]


def test_views_of_one_buffer_are_arrays_of_their_own(program):
    pytest.importorskip("numpy")
    assert program.main("""
        import axion, numpy

        whole = numpy.zeros(4)
        half = whole[:2]

        def change():
            half[0] = 1
            return whole.tolist(), half.tolist()

        with axion.Executor(1) as ex:
            print(ex.submit(change).result())
    """) == ["([0.0, 0.0, 0.0, 0.0], [1.0, 0.0])"]
