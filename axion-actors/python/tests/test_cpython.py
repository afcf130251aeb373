"""The private parts of CPython: named in one file alone, and workers that do without them."""

import os
import re
import unittest

import test_failures
import test_functions
import test_limits
import test_output
import test_scripts
import test_values
from base import Case
from harness import PACKAGE, PYTHON_FOLDER, ROOT

PRIVATE = ("_json", "_queue", "_warnings", "_struct", "_signal", "_socket", "_collections", "_contextvars", "_frozen_importlib",
           "_frozen_importlib_external")
_HIDE = """
import sys
sys.modules["_json"] = None  # first, so that `json` does without it, too
import asyncio, collections, contextvars, importlib.machinery, importlib.util, json, pickle, queue, signal, socket, struct
for name in %r:
    sys.modules[name] = None
""" % (PRIVATE,)


def hidden():
    """A folder whose `sitecustomize` hides the private modules, for PYTHONPATH."""
    folder = os.path.join(ROOT, "hidden")
    if not os.path.exists(folder):
        os.mkdir(folder)
        with open(os.path.join(folder, "sitecustomize.py"), "w") as file:
            file.write(_HIDE)
    return folder


class Sources(unittest.TestCase):
    def test_private_modules_are_named_in_one_file_alone(self):
        # Without `_thread` and `_weakref` there is no interpreter: the modules above them need them, too.
        private = re.compile(r"(?:^\s*(?:import|from) |sys\.modules(?:\.get\(|\[)[\"'])(_(?!thread\b|weakref\b|_)\w+)", re.M)
        folder = os.path.join(PYTHON_FOLDER, "axion_worker")
        for name in os.listdir(folder):
            if name.endswith(".py"):
                with open(os.path.join(folder, name)) as file:
                    found = set(private.findall(file.read()))
                with self.subTest(name):
                    self.assertEqual(found, set(PRIVATE) if name == "cpython.py" else set())


class WithoutThem:
    """Mixed into the tests of other modules: their workers have none of the private modules."""

    env = {"PYTHONPATH": hidden()}


class Values(WithoutThem, test_values.Values):
    pass


class FunctionsInline(WithoutThem, test_functions.InInline):
    pass


class FunctionsThreaded(WithoutThem, test_functions.InThreaded):
    pass


class PrintsInline(WithoutThem, test_output.PrintsInline):
    pass


class PrintsThreaded(WithoutThem, test_output.PrintsThreaded):
    pass


class SoftLimits(WithoutThem, test_limits.SoftLimit):
    pass


class FailuresInline(WithoutThem, test_failures.FailuresInline):
    pass


class Hidden(WithoutThem, Case):
    def test_the_workers_of_this_module_have_none_of_them(self):
        script = self.script("a.py", """
            import sys
            def main(names, context):
                runtime = sys.modules[%r + ".cpython"]
                return [[sys.modules.get(name) for name in names], runtime.json_encoder(None), runtime.Struct.__module__,
                        runtime.signal.__name__, runtime.socket.__name__, runtime.path_finder.__module__]
        """ % PACKAGE)
        found = self.worker().run(script, PRIVATE)
        self.assertEqual(found[:2], [[None] * len(PRIVATE), None])
        self.assertEqual(found[3:5], ["signal", "socket"])

    def test_the_lines_of_a_script_in_another_encoding_are_in_its_traceback(self):
        script = self.script("a.py", "# coding: latin-1\ndef main(p, c): return {}['\xe9']".encode("latin-1"))
        self.assertIn("{}['\xe9']", self.worker().fail(script).traceback)


# Their classes would run a second time here.
del test_failures, test_functions, test_limits, test_output, test_scripts, test_values


if __name__ == "__main__":
    unittest.main()
