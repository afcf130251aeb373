"""A1, A2, A22: a worker imports the very modules that the caller has."""

import zipfile


PRICE = """
def price(n):
    return %r, n
"""
USES_PRICE = """
import axion
from utils import price

if __name__ == "__main__":
    with axion.Executor(1) as ex:
        print(ex.submit(price, 2).result())
"""


def write_both(program):
    program.write("a/run.py", USES_PRICE)
    program.write("a/utils.py", PRICE % "a")
    program.write("b/utils.py", PRICE % "b")


def test_a1_the_programs_own_module_not_the_current_folders(program):
    write_both(program)
    assert program.run("../a/run.py", cwd="b") == ["('a', 2)"]


def test_a1_a_module_that_a_task_imports_itself(program):
    write_both(program)
    program.write("a/run.py", """
        import axion

        def price(n):
            import utils
            return utils.price(n)

        with axion.Executor(1) as ex:
            print(ex.submit(price, 2).result())
    """)
    assert program.run("../a/run.py", cwd="b") == ["('a', 2)"]


def test_a1_a_module_of_the_current_folder_that_the_caller_cannot_import(program):
    write_both(program)
    program.write("b/only_in_b.py", "print('executed')")
    program.write("a/run.py", """
        import axion

        def load():
            import only_in_b

        with axion.Executor(1) as ex:
            print(type(ex.submit(load).exception()).__name__)
    """)
    assert program.run("../a/run.py", cwd="b") == ["ModuleNotFoundError"]


def test_a1_isolated_programs_execute_nothing_of_the_current_folder(program):
    program.write("b/decimal.py", "open('executed', 'w').close()\nraise SystemExit('a stranger')")
    program.write("a/run.py", """
        import axion

        def half(text):
            import decimal
            return decimal.Decimal(text) / 2

        with axion.Executor(1) as ex:
            print(ex.submit(half, "3").result())
    """)
    for flag in ("-I", "-P"):
        assert program.run(flag, "../a/run.py", cwd="b") == ["1.5"]
        assert not (program.folder / "b" / "executed").exists()


def test_a1_the_program_changes_the_folder_before_the_engine_starts(program):
    write_both(program)
    source = """
import os, axion
from utils import price
os.chdir("../b")
with axion.Executor(1) as ex:
    print(ex.submit(price, 2).result())
"""
    assert program.run("-c", source, cwd="a") == ["('a', 2)"]
    assert program.run("-", stdin=source, cwd="a") == ["('a', 2)"]


def test_a1_a_relative_entry_of_pythonpath(program):
    write_both(program)
    program.write("c/run.py", "import os\n" + USES_PRICE.replace("    with", "    os.chdir('../b')\n    with"))
    assert program.run("../c/run.py", cwd="a", PYTHONPATH=".") == ["('a', 2)"]


def test_a1_a_module_in_a_zip_file(program):
    write_both(program)
    (program.folder / "a" / "utils.py").unlink()
    with zipfile.ZipFile(program.folder / "a" / "lib.zip", "w") as file:
        file.writestr("utils.py", PRICE % "zip")
    program.write("a/run.py", "import sys\nsys.path.insert(0, sys.path[0] + '/lib.zip')\n" + USES_PRICE)
    assert program.run("../a/run.py", cwd="b") == ["('zip', 2)"]


def test_a1_a_module_named_as_one_of_the_standard_library(program):
    program.write("queue.py", PRICE % "mine")
    assert program.main("""
        import axion, sys
        sys.path.append(sys.path.pop(0))  # so that the library's own imports are not disturbed
        for name in ("queue", "_queue"):
            sys.modules.pop(name, None)
        sys.path.insert(0, sys.path.pop())
        import queue

        with axion.Executor(1) as ex:
            print(ex.submit(queue.price, 2).result())
    """) == ["('mine', 2)"]


def test_a2_a_newer_copy_in_front_of_an_older_one(program):
    program.write("old/lib.py", PRICE % "old")
    program.write("new/lib.py", PRICE % "new")
    for when in ("before", "after"):
        program.write("main.py", """
            import sys, axion
            when = %r
            if when == "before":
                sys.path.insert(0, "new")
            with axion.Executor(1) as ex:
                print(ex.submit(abs, -1).result())
                if when == "after":
                    sys.path.insert(0, "new")
                import lib
                print(ex.submit(lib.price, 2).result())

                def through_main(n):
                    return lib.price(n)

                print(ex.submit(through_main, 2).result())
        """ % when)
        assert program.run("main.py", PYTHONPATH=program.folder / "old") == ["1", "('new', 2)", "('new', 2)"]


def test_a2_a_package_of_two_folders(program):
    program.write("one/pkg/first.py", PRICE % "first")
    program.write("two/pkg/second.py", PRICE % "second")
    assert program.main("""
        import sys, axion
        sys.path[:0] = ["one", "two"]
        from pkg import first, second
        with axion.Executor(1) as ex:
            print(ex.submit(first.price, 1).result(), ex.submit(second.price, 1).result())
    """) == ["('first', 1) ('second', 1)"]


def test_a2_a_module_that_changes_while_the_engine_runs_is_right_or_refused(program):
    program.write("lib.py", PRICE % "old")
    assert program.main("""
        import importlib, os, axion, lib
        with axion.Executor(1) as ex:
            print(ex.submit(lib.price, 1).result())
            with open("lib.py", "w") as file:
                file.write("def price(n):\\n    return 'changed', n\\n")
            importlib.reload(lib)
            assert lib.price(1) == ("changed", 1)
            try:
                print(ex.submit(lib.price, 1).result() == ("changed", 1))
            except axion.AxionError as error:
                print(error.code == "module_changed" or error)
    """) == ["('old', 1)", "True"]


def test_a2_a_module_that_was_edited_after_the_program_imported_it(program):
    program.write("lib.py", PRICE % "imported")
    assert program.main("""
        import axion, lib
        with open("lib.py", "w") as file:
            file.write("def price(n):\\n    return 'edited on disk', n\\n")
        with axion.Executor(1) as ex:
            try:
                print(ex.submit(lib.price, 1).result() == ("imported", 1))
            except axion.AxionError as error:
                print(error.code == "module_changed" or error)
    """) == ["True"]


def test_a22_pytest_that_imports_test_files_by_path(program):
    program.write("tests/one/test_it.py", """
        import axion

        rate = 3

        class Item:
            def __init__(self, n):
                self.n = n

        def of_this_file(n):
            return Item(n * rate)

        def test_it():
            with axion.Executor(1) as ex:
                item = ex.submit(of_this_file, 2).result()
                assert type(item) is Item and item.n == 6
    """)
    source = (program.folder / "tests/one/test_it.py").read_text(encoding="utf-8")
    program.write("tests/two/test_it.py", source.replace("rate = 3", "rate = 4").replace("== 6", "== 8"))
    done = program.run("-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "tests")
    assert any("2 passed" in line for line in done), done


def test_a22_a_plugin_that_is_loaded_from_its_file(program):
    program.write("plugins/greet.py", """
        import threading
        lock = threading.Lock()  # has no pickle: only the file can give it
        count = 0

        class Greeting:
            def __init__(self, text):
                self.text = text

        def greet(name):
            global count
            with lock:
                count += 1
            return Greeting("hello %s, call %d" % (name, count))

        def text_of(greeting):
            return type(greeting) is Greeting, greeting.text
    """)
    assert program.main("""
        import importlib.util, sys, axion
        spec = importlib.util.spec_from_file_location("plugin_greet", "plugins/greet.py")
        plugin = importlib.util.module_from_spec(spec)
        if "registered" in sys.argv:
            sys.modules["plugin_greet"] = plugin
        spec.loader.exec_module(plugin)
        with axion.Executor(1) as ex:
            for _ in range(2):
                greeting = ex.submit(plugin.greet, "you").result()
                print(greeting.text, type(greeting) is plugin.Greeting)
            print(ex.submit(plugin.text_of, plugin.Greeting("mine")).result())
    """, "registered") == ["hello you, call 1 True", "hello you, call 2 True", "(True, 'mine')"]
    assert program.run("main.py") == ["hello you, call 1 True", "hello you, call 2 True", "(True, 'mine')"]
