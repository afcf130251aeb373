"""A1, A2: whatever module a call reaches by its name, the worker runs the caller's source of it or refuses the call."""

import pytest

LIB = """
import functools

RATE = %(rate)s

def price(n):
    return n * RATE

class Cart:
    def __init__(self, n=2):
        self.n = n

    def total(self):
        return self.n * RATE

def taxed(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args) + RATE
    return call
"""
EDIT = """
import os, subprocess, sys, time

def edit(same_size=False):
    with open("lib.py") as file:
        source = file.read()
    with open("lib.py", "w") as file:
        file.write(source.replace("RATE = 3", "RATE = 4" if same_size else "RATE = 400"))

def compile_elsewhere():
    subprocess.run([sys.executable, "-c", "import lib"], check=True)

def tell(executor, function, *args):
    import axion
    try:
        print(executor.submit(function, *args).result())
    except axion.AxionError as error:
        print(error.code)
"""
USES = {
    "function": ("lib.price", "2"),
    "global function": ("lambda n: price(n)", "2"),
    "module as a global": ("lambda n: lib.price(n)", "2"),
    "alias of a module": ("lambda n: other.price(n)", "2"),
    "class": ("lib.Cart(2).total", ""),
    "instance as a global": ("lambda: cart.total()", ""),
    "argument": ("lambda cart: cart.total()", "lib.Cart(2)"),
    "class as an argument": ("lambda cls: cls().total()", "lib.Cart"),
    "function as an argument": ("lambda f: f(2)", "lib.price"),
    "decorator": ("taxed_here", "1"),
    "partial": ("functools.partial(lib.price, 2)", ""),
    "default": ("with_default", ""),
    "closure": ("made()", ""),
    "base class": ("lambda: Own(2).total()", ""),
    "through another module": ("through.price_of", "2"),
    "import in the task": ("imports", "2"),
    "import in the task by a name": ("imports_by_name", "2"),
}
PROGRAM = """
import functools
import importlib

import axion
import lib
import lib as other
import through
from edit import compile_elsewhere, edit, tell
from lib import price

cart = lib.Cart(2)

@lib.taxed
def taxed_here(n):
    return n

def with_default(price=lib.price):
    return price(2)

def made():
    price = lib.price
    return lambda: price(2)

class Own(lib.Cart):
    pass

def imports(n):
    import lib
    return lib.price(n)

def imports_by_name(n):
    import importlib
    return importlib.import_module("lib").price(n)
"""


@pytest.fixture
def shop(program):
    program.write("lib.py", LIB % {"rate": 3})
    program.write("edit.py", EDIT)
    program.write("through.py", "import lib\n\ndef price_of(n):\n    return lib.price(n)\n")
    return program


@pytest.mark.parametrize("use", USES)
def test_a2_an_edited_module_is_refused_however_a_call_reaches_it(shop, use):
    function, args = USES[use]
    assert shop.main(PROGRAM + """
with axion.Executor(1) as ex:
    right = (%(function)s)(%(args)s)
    edit()
    tell(ex, %(function)s%(comma)s%(args)s)
    print(right in (4, 6))
""" % {"function": function, "args": args, "comma": ", " if args else ""}) == ["module_changed", "True"]


@pytest.mark.parametrize("how", ["edit()", "edit(same_size=True)", "edit(); compile_elsewhere()",
                                 "edit(same_size=True); compile_elsewhere()"])
@pytest.mark.parametrize("flags", [(), ("-B",)])
def test_a2_an_edit_long_before_the_engine_starts(shop, how, flags):
    shop.write("main.py", PROGRAM + """
%s
with axion.Executor(1) as ex:
    tell(ex, lib.price, 2)
    tell(ex, lambda: cart.total())
    tell(ex, imports, 2)
""" % how)
    assert shop.run(*flags, "main.py") == ["module_changed"] * 3


def test_a2_a_module_that_was_loaded_before_axion_is_known_by_its_byte_code(shop):
    assert shop.main("""
import lib
from edit import edit, tell
edit()
import axion

with axion.Executor(1) as ex:
    tell(ex, lib.price, 2)
    tell(ex, lambda: lib.price(2))
""") == ["module_changed"] * 2


def test_a2_a_reload_is_noticed_by_workers_that_have_the_older_module(shop):
    assert shop.main(PROGRAM + """
with axion.Executor(1) as ex:
    tell(ex, through.price_of, 2)
    tell(ex, imports, 2)
    edit()  # of another size, so that Python does not take the byte code of the same second for the new source's
    importlib.reload(lib)
    tell(ex, through.price_of, 2)
    tell(ex, imports, 2)
    tell(ex, lambda: lib.price(2))
with axion.Executor(1) as ex:
    tell(ex, through.price_of, 2)
""") == ["6", "6", "module_changed", "module_changed", "module_changed", "800"]


def test_a2_what_a_worker_loaded_first_is_compared_when_the_caller_loads_it(shop):
    assert shop.main("""
import axion
from edit import edit, tell

def imports(n):
    import lib
    return lib.price(n)

with axion.Executor(1) as ex:
    tell(ex, imports, 2)
    edit()
    import lib
    tell(ex, imports, 2)
    print(imports(2))
""") == ["6", "module_changed", "800"]


def test_a2_what_a_call_does_not_reach_may_change(shop):
    shop.write("unused.py", "ONE = 1\n")
    assert shop.main(PROGRAM + """
import unused
with axion.Executor(1) as ex:
    tell(ex, lib.price, 2)
    with open("unused.py", "w") as file:
        file.write("ONE = 10\\n")
    tell(ex, lib.price, 2)
    tell(ex, lambda: cart.total())
""") == ["6", "6", "6"]


def test_a2_modules_in_archives_count_by_the_archive(program):
    import zipfile

    with zipfile.ZipFile(program.folder / "libs.zip", "w") as archive:
        archive.writestr("zipped.py", "def price(n):\n    return n * 3\n")
    assert program.main("""
import sys, zipfile
sys.path.insert(0, "libs.zip")
import axion, zipped
with axion.Executor(1) as ex:
    print(ex.submit(zipped.price, 2).result())
with zipfile.ZipFile("libs.zip", "w") as archive:
    archive.writestr("zipped.py", "def price(n):\\n    return n * 4000\\n")
with axion.Executor(1) as ex:
    print(ex.submit(zipped.price, 2).exception().code)
""") == ["6", "module_changed"]
