"""What goes by name: judged by what a fresh interpreter would import."""

import os

from helpers import run_program as python


def test_a_module_of_the_path_goes_by_name_and_one_from_elsewhere_by_its_file(tmp_path):
    (tmp_path / "near.py").write_text("def f(): pass")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "plugin.py").write_text("def f(): pass\nclass C:\n    def m(self): pass")
    out = python("""
import collections, importlib.util, json, near, sys, types
from axion._names import place_of
spec = importlib.util.spec_from_file_location("plugin", "far/plugin.py")
plugin = sys.modules["plugin"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plugin)
made = sys.modules["made"] = types.ModuleType("made")
exec("def f(): pass", vars(made))
def own(): pass
for thing in (near.f, plugin.f, plugin.C.m, made.f, own, lambda: 0, len, json.dumps, collections.OrderedDict, "text"):
    print(place_of(thing))
""", tmp_path)
    assert out.splitlines() == [
        "('name', 'near', 'f')", "('file', 'plugin', 'f')", "('file', 'plugin', 'C.m')", "None", "None", "None",
        "('name', 'builtins', 'len')", "('name', 'json', 'dumps')", "('name', 'collections', 'OrderedDict')", "None"]


def test_a_module_that_another_one_shadows_by_now_goes_by_its_file(tmp_path):
    for folder in "old", "new":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shadowed.py").write_text("def f(): pass")
    assert python("""
import sys
from axion._names import place_of
sys.path.insert(0, "old")
import shadowed
print(place_of(shadowed.f)[0])
sys.path.insert(0, "new")
print(place_of(shadowed.f)[0])
sys.path.remove("new")
print(place_of(shadowed.f)[0])
""", tmp_path) == "name\nfile\nname\n"


def test_a_module_that_is_registered_by_value_is_sent(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "part.py").write_text("def f(): pass")
    assert python("""
import cloudpickle, package.part
from axion._names import goes_by_name
seen = [goes_by_name(package.part.f)]
cloudpickle.register_pickle_by_value(package)
seen.append(goes_by_name(package.part.f))
cloudpickle.unregister_pickle_by_value(package)
print(seen, goes_by_name(package.part.f))
""", tmp_path) == "[True, False] True\n"


def test_the_stamp_of_a_module_is_of_the_source_that_was_loaded(tmp_path):
    (tmp_path / "early.py").write_text("def f(): return 1")
    (tmp_path / "late.py").write_text("def f(): return 1")
    assert python("""
import early, os, sys, time
size = os.path.getsize("early.py")
with open("early.py", "a") as file:
    file.write("  # more")
from axion import _stamps
import late
nanos = os.stat("late.py").st_mtime_ns % 10 ** 9
with open("late.py", "a") as file:
    file.write("  # more")
stamps = _stamps.stamps()
print([stamps[name][2] == size for name in ("early", "late")], stamps["early"][3], stamps["late"][3] == nanos)
""", tmp_path) == "[True, True] None True\n"


def test_modules_of_the_standard_library_and_programs_have_no_stamps(tmp_path):
    assert python("""
import axion, json, sys
from axion import _stamps
stamps = _stamps.stamps()
print([name in stamps for name in ("json", "__main__", "sys", "axion", "axion._axion")])
""", tmp_path) == "[False, False, False, True, True]\n"


def test_the_finder_leaves_the_import_system_as_it_is(tmp_path):
    (tmp_path / "there.py").write_text("")
    assert python("""
import importlib.metadata, importlib.util, pkgutil, sys
from importlib.machinery import PathFinder
before = sys.meta_path[:]
import axion
print([finder for finder in sys.meta_path if finder in before] == before, sys.meta_path[-1] is PathFinder)
print(importlib.util.find_spec("there").name, importlib.util.find_spec("absent"))
importlib.invalidate_caches()
print(importlib.metadata.version("pytest") > "", "there" in [module.name for module in pkgutil.iter_modules()])
import there
print(importlib.reload(there) is there)
""", tmp_path) == "True True\nthere None\nTrue True\nTrue\n"
