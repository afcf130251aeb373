"""What a script defines, in the processes that its tasks start: as if it were run by `python script.py`."""

import os
import unittest

from base import Case

_POOL = """
import dataclasses, multiprocessing, os, pickle, sys
from concurrent.futures import ProcessPoolExecutor

@dataclasses.dataclass
class Point:
    x: "int"
    def moved(self, by): return Point(self.x + by)

class Broken(Exception):
    pass

def moved(point): return point.moved(10)

def fails(_): raise Broken("in the child")

def main(p, c):
    found = {"workers": p["workers"]}
    points = [Point(1), Point(2)]
    context = multiprocessing.get_context(p["method"])
    with context.Pool(2) as pool:
        found["pool"] = pool.map(moved, points) == [Point(11), Point(12)]
        try:
            pool.map(fails, points)
        except Broken as error:
            found["error"] = str(error)
        found["nested"] = pool.apply(nested, (p["method"],)) if p.get("nested") else 11
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        found["executor"] = list(executor.map(Point.moved, points, [1, 1])) == [Point(2), Point(3)]
    found["pickled"] = pickle.loads(pickle.dumps(points)) == points
    return found

def nested(method):
    # Processes of a pool may not have children by `multiprocessing`.
    multiprocessing.current_process()._config["daemon"] = False
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.apply(moved, (Point(1),)).x

if __name__ == "__main__":
    raise AssertionError("a script is no main program")
"""


class Spawned:
    """Run under both kinds of worker."""

    def worker(self):
        """Ends in order with the test: `multiprocessing` then removes its folder for sockets."""
        worker = super().worker()
        self.addCleanup(worker.finish)
        return worker

    def check(self, method, **params):
        worker = self.worker()
        script = self.script("pool.py", _POOL)
        expected = {"workers": 2, "pool": True, "error": "in the child", "nested": 11, "executor": True, "pickled": True}
        self.assertEqual(worker.run(script, dict(params, method=method, workers=2)), expected)

    def test_spawn(self):
        self.check("spawn", nested=True)

    def test_forkserver(self):
        self.check("forkserver")  # nested, Python 3.9 and older leave folders behind

    def test_fork(self):
        self.check("fork")

    def test_spawn_in_two_scripts_of_one_worker_with_the_same_names(self):
        source = """
            import multiprocessing
            class Value:
                tag = %r
            def tag(value): return value.tag, type(value) is Value
            def main(p, c):
                with multiprocessing.get_context(p["method"]).Pool(1) as pool:
                    return list(pool.apply(tag, (Value(),)))
        """
        scripts = self.script("a/job.py", source % "a"), self.script("b/job.py", source % "b")
        worker = self.worker()
        for method in ("spawn", "forkserver"):
            found = [worker.run(script, {"method": method}) for script in scripts]
            self.assertEqual(found, [["a", True], ["b", True]], method)

    def test_forkserver_runs_the_script_as_it_is_now(self):
        source = """
            import multiprocessing
            def value(): return %r
            def main(p, c):
                with multiprocessing.get_context("forkserver").Pool(1) as pool:
                    return pool.apply(value)
        """
        worker = self.worker()
        for value in ("first", "second one"):
            self.assertEqual(worker.run(self.script("a.py", source % value)), value)

    def test_a_spawned_process_writes_nothing_beside_the_script(self):
        worker = self.worker()
        worker.run(self.script("lonely/pool.py", _POOL), {"method": "spawn", "workers": 2})
        self.assertEqual(os.listdir(self.path("lonely")), ["pool.py"])

    def test_picklers_that_send_code_by_value_do_so(self):
        # What cloudpickle does on `register_pickle_by_value`; loky pickles with it.
        self.script("cloudpickle/__init__.py", "from . import cloudpickle")
        self.script("cloudpickle/cloudpickle.py", """
            import sys
            registered = set()
            def register_pickle_by_value(module):
                if module.__name__ not in sys.modules: raise ValueError
                registered.add(module.__name__)
        """)
        before = self.script("before.py", "def main(p, c): return __name__")
        after = self.script("after.py", """
            def main(p, c):
                import cloudpickle
                return sorted(cloudpickle.cloudpickle.registered)
        """)
        late = self.script("late.py", "def main(p, c): return __name__")
        worker = self.worker()
        name = worker.run(before)
        self.assertIn(name, worker.run(after))
        self.assertIn(worker.run(late), worker.run(after))


class SpawnedInline(Spawned, Case):
    def test_the_module_of_the_running_script_is_main(self):
        source = """
            import __main__, sys, timeit
            value = %d
            def main(p, c):
                from __main__ import value as found
                timeit.timeit("value", "from __main__ import value", number=1)
                return [found, sys.modules["__main__"] is sys.modules[__name__], __main__.value]
        """
        first, second = self.script("a.py", source % 1), self.script("b.py", source % 2)
        worker = self.worker()
        for script, value in ((first, 1), (second, 2), (first, 1)):
            self.assertEqual(worker.run(script), [value, True, value])

    def test_pickles_of_the_script_run_as_a_program_can_be_read(self):
        script = self.script("a.py", """
            import pickle
            class Point:
                pass
            def main(p, c):
                data = pickle.dumps(Point(), 0).replace(__name__.encode(), b"__main__")
                return type(pickle.loads(data)) is Point
        """)
        self.assertTrue(self.worker().run(script))


class SpawnedThreaded(Spawned, Case):
    slots = 4


if __name__ == "__main__":
    unittest.main()
