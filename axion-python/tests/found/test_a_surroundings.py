"""A8 to A10, A12, A15, A17 to A21 and A23: what is around a task: tracebacks, flags, environment, output."""

import json
import sys

import pytest
from helpers import skip_without


def test_a8_a_traceback_has_the_file_and_the_lines(program):
    lines = program.main("""
        import inspect
        import axion

        class Thing:
            def method(self):
                return 1 / 0  # in the method

        def deep():
            Thing().method()  # in deep

        def fail():
            (lambda: deep())()  # in the lambda

        def source():
            return inspect.getsource(deep), inspect.getsourcefile(deep), inspect.getsource(Thing.method)

        with axion.Executor(1) as ex:
            error = ex.submit(fail).exception()
            print(str(error.__cause__))
            print(ex.submit(source).result() == source() or ex.submit(source).result())
    """)
    text = "\n".join(lines[:-1])
    for part in ("in the method", "in deep", "in the lambda", 'main.py", line 6', "in method", "in fail"):
        assert part in text, text
    assert "dynamic-code" not in text and "cloudpickle" not in text
    assert lines[-1] == "True"


def test_a8_lines_of_code_that_has_no_file(program):
    source = """
import linecache
import axion

text = "def fail():\\n    return 1 / 0  # the line of a cell\\n"
linecache.cache["<cell 7>"] = (len(text), None, text.splitlines(True), "<cell 7>")
exec(compile(text, "<cell 7>", "exec"))

with axion.Executor(1) as ex:
    print(str(ex.submit(fail).exception().__cause__))
"""
    for lines in (program.main(source), program.run("-c", source)):
        text = "\n".join(lines)
        assert '"<cell 7>", line 2' in text and "the line of a cell" in text, text


PATCHED = """
import %s
%s
import axion

def add(a, b):
    return a + b

try:
    with axion.Engine(cpu_bound_count=1) as engine:
        print(engine.submit(add, 1, 2).result(15))
except axion.AxionError as error:
    print(%r in str(error) and 3 or error)
"""


@pytest.mark.parametrize("name, patches", [
    ("gevent.monkey", "gevent.monkey.patch_all()"),
    ("eventlet", "eventlet.monkey_patch()"),
])
def test_a9_patched_threads_work_or_are_refused_in_words(program, name, patches):
    skip_without(name.split(".")[0])
    lines = program.run("-W", "ignore", "-c", PATCHED % (name, patches, name.split(".")[0]), timeout=20)
    assert lines == ["3"]


@pytest.mark.parametrize("frozen", [True, False])
def test_a10_a_program_that_starts_itself_does_not_do_so_for_ever(program, frozen):
    """`sys.executable` is the program, as in one that PyInstaller makes."""
    again = program.write("program", """
        #!/bin/sh
        echo started >> starts
        test $(wc -l < starts) -gt 20 && exit 9
        exec %s main.py "$@"
    """ % sys.executable)
    again.chmod(0o755)
    program.write("main.py", """
        import os, sys
        sys.executable = os.path.abspath("program")
        if %r:
            sys.frozen = True
        import axion

        def add(a, b):
            return a + b

        try:
            with axion.Engine(cpu_bound_count=1, max_restarts=2) as engine:
                print(engine.submit(add, 1, 2).result(60))
        except axion.AxionError as error:
            print("python" in str(error) and 3 or error)
    """ % frozen)
    assert program.run(command=[again]) == ["3"]
    assert len((program.folder / "starts").read_text().splitlines()) <= 10


def test_a10_the_interpreter_can_be_named(program):
    assert program.main("""
        import sys
        python, sys.executable, sys.frozen = sys.executable, "/bin/false", True
        import axion
        with axion.Engine(cpu_bound_count=1, python=python) as engine:
            print(engine.submit(pow, 2, 3).result(60))
    """) == ["8"]


def test_a10_a_program_that_spawns_without_a_guard_gets_the_error_of_multiprocessing(program):
    done = program.write("main.py", """
        import multiprocessing
        import axion

        def child():
            print("in the child", flush=True)

        with axion.Executor(1) as ex:
            print(ex.submit(pow, 2, 3).result(60), flush=True)
            process = multiprocessing.get_context("spawn").Process(target=child)
            process.start()
            process.join(60)
            print(process.exitcode, flush=True)
    """) and program.start("main.py")
    assert done.stdout.splitlines() == ["8", "1"]
    assert "RuntimeError" in done.stderr and "bootstrapping phase" in done.stderr


def test_a12_managers_and_authkeys(program):
    assert program.main("""
        import multiprocessing
        import axion

        def put(queue, lock, table, n):
            with lock:
                queue.put(n)
                table[n] = n * n
            return multiprocessing.current_process().authkey == bytes(key)

        key = b"chosen by the program"
        multiprocessing.current_process().authkey = key
        manager = multiprocessing.get_context("fork").Manager()
        shared = manager.dict()

        def use_global(n):
            shared[n] = "global"

        if __name__ == "__main__":
            queue, lock, table = manager.Queue(), manager.Lock(), manager.dict()
            with axion.Executor(2) as ex:
                print({ex.submit(put, queue, lock, table, n).result() for n in range(4)})
                ex.submit(use_global, 7).result()
            print(sorted(queue.get() for _ in range(4)), dict(table), dict(shared))
    """) == ["{True}", "[0, 1, 2, 3] {0: 0, 1: 1, 2: 4, 3: 9} {7: 'global'}"]


FLAGS = [["-O"], ["-OO"], ["-W", "error"], ["-W", "ignore::DeprecationWarning", "-W", "error::UserWarning"], ["-X", "dev"],
         ["-X", "utf8"], ["-I"], ["-P"], ["-E"], ["-s"], ["-B"], ["-b"], ["-q"], ["-X", "frozen_modules=off"],
         ["-X", "faulthandler"], ["-X", "tracemalloc=5"], ["-O", "-W", "error", "-X", "dev", "-X", "utf8", "-I", "-P"]]


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_a15_flags_reach_the_workers_as_with_spawn(program, flags):
    program.write("main.py", """
        import json, multiprocessing, sys, warnings
        import axion

        def flags():
            "a docstring"
            try:
                assert False
                asserts = False
            except AssertionError:
                asserts = True
            try:
                warnings.warn("deprecated", UserWarning)
                warned = "passed"
            except UserWarning:
                warned = "raised"
            return {"flags": str(sys.flags), "options": sys.warnoptions, "x": sorted(sys._xoptions.items()),
                    "asserts": asserts, "warned": warned, "doc": flags.__doc__}

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(json.dumps(pool.apply(flags)))
            with axion.Executor(1) as ex:
                print(json.dumps(ex.submit(flags).result()))
    """)
    done = program.start(*flags, "main.py")
    assert done.returncode == 0, done.stderr
    spawned, ours = map(json.loads, done.stdout.splitlines())
    assert ours == spawned


def test_a15_limits_and_filters_that_the_program_sets(program):
    assert program.main("""
        import decimal, sys, warnings
        import axion
        sys.setrecursionlimit(4321)
        sys.set_int_max_str_digits(5555)
        decimal.getcontext().prec = 11
        warnings.filterwarnings("error", category=UserWarning)

        def read():
            try:
                warnings.warn("it")
                warned = False
            except UserWarning:
                warned = True
            return sys.getrecursionlimit(), sys.get_int_max_str_digits(), str(decimal.Decimal(1) / 3), warned

        with axion.Executor(1) as ex:
            print(ex.submit(read).result())
    """) == ["(4321, 5555, '0.33333333333', True)"]


def test_a17_all_output_of_a_task_is_shown(program):
    lines = program.main("""
        import axion

        def chatter(n):
            for i in range(4000):
                print("%d line %06d %s" % (n, i, "x" * 45))

        with axion.Executor(1) as ex:
            for n in range(2):
                ex.submit(chatter, n).result()
    """)
    assert lines == ["%d line %06d %s" % (n, i, "x" * 45) for n in range(2) for i in range(4000)]


def test_a18_text_that_the_output_cannot_encode_is_escaped(program):
    done = program.write("main.py", """
        import sys
        import axion

        def say():
            print("it is 20 \\xb0C \\N{GREEK SMALL LETTER ALPHA} warm")
            print("to stderr \\xb0", file=sys.stderr)
            print("after it")

        with axion.Executor(1) as ex:
            ex.submit(say).result()
    """) and program.start("main.py", PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines() == [r"it is 20 \xb0C \u03b1 warm", "after it"]
    assert r"to stderr \xb0" in done.stderr


def test_a19_argv_and_one_environment_for_all_workers(program):
    program.write("elsewhere/file", "")
    assert program.main("""
        import os, sys
        import axion
        os.environ["MINE"] = "at the start"

        def around(_=None):
            return tuple(sys.argv), os.environ.get("MINE"), os.path.basename(os.getcwd()), os.environ.get("PYTHONHASHSEED")

        with axion.Executor(1) as ex:
            first = ex.submit(around).result()
            os.environ["MINE"] = "changed"
            os.chdir("elsewhere")
            sys.argv.append("changed")
            try:
                ex.submit(os._exit, 1).result()
            except axion.AxionError:
                pass
            second = ex.submit(around).result()
            print(first == second or (first, second))
            print(first[0], first[1], first[3])
    """, "one", "two") == ["True", "('main.py', 'one', 'two') at the start None"]


def test_a19_hashes_of_strings_are_the_same_in_all_workers(program):
    assert program.main("""
        import os
        import axion

        def hashed(_=None):
            return hash("text"), os.getpid()

        with axion.Executor(2) as ex:
            seen = set()
            while len({pid for _, pid in seen}) < 2:
                seen |= set(ex.map(hashed, range(50)))
            try:
                ex.submit(os._exit, 1).result()
            except axion.AxionError:
                pass
            seen |= set(ex.map(hashed, range(50)))
            print(len({value for value, _ in seen}), hash("text") in {value for value, _ in seen})
    """) == ["1 False"]
    assert program.run("main.py", PYTHONHASHSEED="3") == ["1 True"]


def test_a20_coverage_of_subprocesses(program):
    pytest.importorskip("coverage", reason="not installed: A20 is not tested")
    program.write(".coveragerc", """
        [run]
        patch = subprocess
        parallel = true
    """)
    program.write("main.py", """
        import axion

        def work(n):
            m = n + 1
            return m

        if __name__ == "__main__":
            with axion.Executor(1) as ex:
                print(ex.submit(work, 1).result())
    """)
    assert program.run("-m", "coverage", "run", "main.py") == ["2"]
    program.run("-m", "coverage", "combine", "-q")
    report = program.run("-m", "coverage", "report")
    assert any("main.py" in line and "100%" in line for line in report), report


def test_a21_the_temporary_folder_is_cleaned_while_the_engine_lives(program):
    (program.folder / "tmp").mkdir()
    assert program.main("""
        import os, shutil
        import axion

        with axion.Executor(1) as ex:
            print(ex.submit(pow, 2, 3).result(60))
            for name in os.listdir(os.environ["TMPDIR"]):
                shutil.rmtree(os.path.join(os.environ["TMPDIR"], name))
            try:
                ex.submit(os._exit, 1).result(60)
            except axion.AxionError:
                pass
            print(ex.submit(pow, 2, 4).result(60))
    """, TMPDIR=program.folder / "tmp") == ["8", "16"]


def test_a23_the_recipe_for_the_logging_of_tasks(program):
    done = program.write("main.py", """
        import logging
        import axion

        FORMAT = "%(levelname)s %(name)s: %(message)s"
        logging.basicConfig(level=logging.INFO, format=FORMAT)
        log = logging.getLogger("prices")

        def set_up():
            logging.basicConfig(level=logging.INFO, format=FORMAT)

        def work(n):
            log.info("working on %d", n)
            return n

        with axion.Executor(1, initializer=set_up) as ex:
            print(ex.submit(work, 7).result())
    """) and program.start("main.py")
    assert done.stdout == "7\n" and done.stderr == "INFO prices: working on 7\n"
