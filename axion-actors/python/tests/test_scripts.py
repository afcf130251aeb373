"""Loading scripts: entry points, reloading, imports, scripts and helpers of one name."""

import linecache
import os
import unittest
from unittest import mock

from base import Case, Gate, OneWorker
from harness import wait_until

from axion_worker import library


class Entry(OneWorker):
    """Both ways to write a script, plain and async; run under both kinds of worker."""

    def test_main_gets_params_and_context(self):
        script = self.script("a.py", "def main(params, context): return [params, context.attempt]")
        self.assertEqual(self.one.run(script, {"a": [1, "é"]}), [{"a": [1, "é"]}, 1])

    def test_main_gets_what_it_takes_and_an_optional_parameter_of_another_name_nothing(self):
        p, c = {"a": 1}, 1
        for number, (takes, gives, expected) in enumerate((
            ("", "[]", []),
            ("params", "[params]", [p]),
            ("values", "[values]", [p]),
            ("params=None", "[params]", [p]),
            ("context", "[context.attempt]", [c]),
            ("p, c", "[p, c.attempt]", [p, c]),
            ("p, c, more=5", "[p, c.attempt, more]", [p, c, 5]),
            ("argv=None", "[argv]", [None]),
            ("params, verbose=False", "[params, verbose]", [p, False]),
            ("params, verbose=False, context=None", "[params, verbose, context.attempt]", [p, False, c]),
            ("*, context", "[context.attempt]", [c]),
            ("params, *, context=None, n=2", "[params, context.attempt, n]", [p, c, 2]),
            ("argv=None, **more", "[argv, more]", [None, {}]),
            ("*given", "[len(given)]", [2]),
        )):
            for kind in ("def", "async def"):
                with self.subTest(kind + " " + takes):
                    script = self.script("takes%d%s.py" % (number, kind[:1]), "%s main(%s): return %s" % (kind, takes, gives))
                    self.assertEqual(self.one.run(script, p), expected)

    def test_async_main(self):
        script = self.script("a.py", """
            import asyncio
            async def main(params, context):
                await asyncio.sleep(0)
                return [params, context.attempt]
        """)
        worker = self.one
        self.assertEqual(worker.run(script, {"a": 1}), [{"a": 1}, 1])
        self.assertEqual(worker.run(script, {"a": 2}), [{"a": 2}, 1])

    def test_module_as_a_function(self):
        script = self.script("a.py", """
            class Job:
                def run(self, params): return params["n"] + 1
            def module(): return Job()
        """)
        self.assertEqual(self.one.run(script, {"n": 1}), 2)

    def test_module_as_a_class(self):
        script = self.script("a.py", """
            class module:
                def __init__(self): self.uses = 0
                def run(self, params):
                    self.uses += 1
                    return params["n"] + self.uses
        """)
        worker = self.one
        self.assertEqual([worker.run(script, {"n": 1}), worker.run(script, {"n": 1})], [2, 2], "one object per task")

    def test_module_with_async_run(self):
        as_class = self.script("a.py", """
            class module:
                async def run(self, params): return params["n"] + 1
        """)
        as_function = self.script("b.py", """
            class Job:
                async def run(self, params): return params["n"] + 2
            def module(): return Job()
        """)
        worker = self.one
        self.assertEqual([worker.run(as_class, {"n": 1}), worker.run(as_function, {"n": 1})], [2, 3])

    def test_main_wins_over_module(self):
        script = self.script("a.py", """
            def main(params, context): return "main"
            def module(): raise AssertionError
        """)
        self.assertEqual(self.one.run(script), "main")

    def test_any_awaitable_is_awaited(self):
        script = self.script("a.py", """
            import asyncio
            class Later:
                def __await__(self):
                    yield from asyncio.sleep(0).__await__()
                    return "later"
            def main(params, context): return Later()
        """)
        self.assertEqual(self.one.run(script), "later")

    def test_what_an_async_task_leaves_running_does_not_stop_the_next(self):
        script = self.script("a.py", """
            import asyncio
            async def forever():
                while True: await asyncio.sleep(0.001)
            async def main(params, context):
                asyncio.get_running_loop().create_task(forever())
                return params["n"]
        """)
        worker = self.one
        self.assertEqual([worker.run(script, {"n": n}) for n in range(3)], [0, 1, 2])

    def test_the_module_is_there_as_in_any_import(self):
        script = self.script("deep/a.b.py", """
            import sys
            def main(params, context):
                return [__file__, sys.modules[__name__].main is main, __name__ == "__main__"]
        """)
        self.assertEqual(self.one.run(script), [script, True, False])

    def test_a_script_with_an_odd_path(self):
        for name in ("no_extension", "späß ü/ä ö.py", "with'quote\".py", os.fsdecode(b"not\xffutf8.py")):
            with self.subTest(name):
                script = self.script(name, "def main(params, context): return 7")
                self.assertEqual(self.one.run(script), 7)


class EntryInline(Entry, Case):
    pass


class EntryThreaded(Entry, Case):
    slots = 4


class Overlap(Case):
    slots = 4

    def test_async_tasks_overlap(self):
        # Neither can end unless the other has begun.
        script = self.script("a.py", """
            import asyncio
            met = {}
            def event(name):
                return met.setdefault(name, asyncio.Event())
            async def main(params, context):
                event(params["mine"]).set()
                print("begun")
                await event(params["other"]).wait()
                await event("leave").wait()
                return params["mine"]
        """)
        worker = self.worker()
        one = worker.submit(script, {"mine": "a", "other": "b"})
        worker.wait_for_line(one, "begun")
        self.assertEqual(worker.running(), [one])
        two = worker.submit(script, {"mine": "b", "other": "a"})
        wait_until(lambda: worker.running() == [one, two], "both tasks running at once")
        third = worker.submit(script, {"mine": "leave", "other": "leave"})
        self.assertEqual(worker.results(one, two, third), ["a", "b", "leave"])

    def test_async_tasks_do_not_hold_threads(self):
        script = self.script("a.py", """
            import asyncio
            begun, all_begun = [], []
            async def main(params, context):
                if not all_begun: all_begun.append(asyncio.Event())
                begun.append(1)
                if len(begun) == params["of"]: all_begun[0].set()
                await all_begun[0].wait()
        """)
        worker = self.worker()
        seqs = worker.submit_together(*[(script, {"of": 40})] * 40)
        self.assertEqual(worker.results(*seqs), [None] * 40)

    def test_plain_tasks_overlap_up_to_the_slots(self):
        script = self.script("a.py", """
            import threading
            barrier = threading.Barrier(4)
            def main(params, context):
                barrier.wait()
                return threading.current_thread().name
        """)
        worker = self.worker()
        seqs = worker.submit_together(*[(script, {})] * 8)
        names = worker.results(*seqs)
        self.assertEqual(len(set(names)), 4, names)

    def test_no_more_tasks_start_than_slots(self):
        gate, script = self.gate(), self.gated()
        worker = self.worker(slots=2)
        seqs = worker.submit_together(*[(script, {"gate": gate.path})] * 4)
        worker.wait_for_line(seqs[0], "begun")
        worker.wait_for_line(seqs[1], "begun")
        self.assertEqual(worker.running(), seqs[:2])
        self.assertEqual(worker.ask("Revoke", seqs[:3]), ("Revoked", [seqs[2:3]]), "it has not started")
        gate.open(3)
        worker.results(*seqs[:2], seqs[3])

    def test_L5_a_task_that_waits_for_a_script_which_another_one_loads_has_not_started(self):
        held, gate = self.gate("held"), self.gate()
        loading = self.script("loading.py", Gate.SOURCE + "print('loading')\ngate(%r)\ndef main(p, c): return p"
                              % gate.path)
        worker = self.worker(slots=2)
        first = worker.submit(self.gated(), {"gate": held.path})
        worker.wait_for_line(first, "begun")
        second = worker.submit(loading, 2)
        worker.wait_for_line(second, "loading")
        third = worker.submit(loading, 3)  # not earlier: its loader could be the first to load
        worker.fall_asleep()
        self.assertEqual(worker.running(), [first, second])
        gate.open()
        self.assertEqual(worker.results(second, third), [2, 3])
        held.open()
        worker.result(first)


class Reload(Case):
    def test_a_script_is_loaded_once(self):
        script = self.script("a.py", """
            loads = []
            loads.append(1)
            calls = []
            def main(params, context):
                calls.append(1)
                return [len(loads), len(calls)]
        """)
        for slots in (1, 4):
            with self.subTest(slots=slots):
                worker = self.worker(slots=slots)
                self.assertEqual([worker.run(script) for _ in range(3)], [[1, 1], [1, 2], [1, 3]])

    def test_a_script_is_loaded_again_when_its_file_changed(self):
        for slots in (1, 4):
            with self.subTest(slots=slots):
                worker = self.worker(slots=slots)
                script = self.script("a.py", "def main(params, context): return 'old'")
                self.assertEqual(worker.run(script), "old")
                self.script("a.py", "def main(params, context): return 'newer'")
                self.assertEqual(worker.run(script), "newer")
                # Of the same size and time, but another file: an editor that renames into place.
                status = os.stat(script)
                other = self.script("b.py", "def main(params, context): return 'other'")
                os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.replace(other, script)
                self.assertEqual(worker.run(script), "other")

    def test_a_change_that_leaves_size_and_time_as_they_were_is_seen_in_a_young_file(self):
        for slots, kind in ((1, ""), (4, ""), (4, "async ")):
            with self.subTest(slots=slots, kind=kind):
                worker = self.worker(slots=slots)
                for n in range(3):
                    script = self.script("a.py", "%sdef main(params, context): return %d" % (kind, n))
                    os.utime(script, (2 ** 32, 2 ** 32))  # as young as can be, however slow the machine
                    self.assertEqual([worker.run(script), worker.run(script)], [n, n])

    def test_a_change_is_seen_by_the_tasks_sent_after_it(self):
        worker, gate, gated = self.worker(), self.gate(), self.gated()
        script = self.script("a.py", "def main(params, context): return 1")
        self.assertEqual(worker.run(script), 1)
        first = worker.submit(gated, {"gate": gate.path})
        worker.wait_for_line(first, "begun")
        self.script("a.py", "def main(params, context): return 22")
        second = worker.submit(script)
        gate.open()
        self.assertEqual(worker.results(first, second), [None, 22])

    def test_a_script_that_was_removed_and_came_back(self):
        worker = self.worker()
        script = self.script("a.py", "def main(params, context): return 1")
        self.assertEqual(worker.run(script), 1)
        os.unlink(script)
        self.assertIn(script, worker.fail(script).message)
        self.script("a.py", "def main(params, context): return 2")
        self.assertEqual(worker.run(script), 2)

    def test_a_script_that_failed_to_load_is_tried_again(self):
        worker = self.worker()
        script = self.script("a.py", """
            import os
            if not os.path.exists("ready"): raise ValueError("not ready")
            def main(params, context): return 1
        """)
        self.assertEqual(worker.fail(script).message, "not ready")
        self.script("ready", "")
        self.assertEqual(worker.run(script), 1)

    def test_running_code_is_not_disturbed_by_a_reload(self):
        gate = self.gate()
        worker = self.worker(slots=2)
        script = self.script("a.py", Gate.SOURCE + """
answer = "old"
def main(params, context):
    print("begun")
    gate(params["gate"])
    return answer
""")
        first = worker.submit(script, {"gate": gate.path})
        worker.wait_for_line(first, "begun")
        self.script("a.py", "def main(params, context): return 'new'")
        self.assertEqual(worker.run(script), "new")
        gate.open()
        self.assertEqual(worker.result(first), "old")


class Imports(Case):
    def test_the_folder_of_the_script_is_importable(self):
        self.script("in/helper.py", "value = 'helped'")
        self.script("in/package/__init__.py", "from .part import value")
        self.script("in/package/part.py", "value = 'packed'")
        script = self.script("in/a.py", """
            import helper
            def main(params, context):
                import package
                return [helper.value, package.value]
        """)
        self.assertEqual(self.worker().run(script), ["helped", "packed"])

    def test_scripts_of_one_name_are_kept_apart(self):
        scripts = [self.script("%s/job.py" % folder, """
            import sys
            state = []
            def main(params, context):
                state.append(1)
                assert sys.modules[__name__].main is main
                return ["%s", len(state)]
        """ % folder) for folder in ("one", "two", "one/two")]
        for slots in (1, 4):
            with self.subTest(slots=slots):
                worker = self.worker(slots=slots)
                first = [worker.run(script) for script in scripts]
                self.assertEqual(first, [["one", 1], ["two", 1], ["one/two", 1]])
                again = [worker.run(script) for script in scripts]
                self.assertEqual(again, [["one", 2], ["two", 2], ["one/two", 2]])

    def test_helpers_of_one_name_are_kept_apart(self):
        scripts = []
        for folder in ("one", "two", "three"):
            self.script(folder + "/helper.py", "value = %r" % folder)
            self.script(folder + "/package/__init__.py", "from .part import value")
            self.script(folder + "/package/part.py", "value = 'package of %s'" % folder)
            scripts.append(self.script(folder + "/job.py", """
                import helper
                import package.part
                def main(params, context): return [helper.value, package.part.value, package.value]
            """))
        for slots in (1, 4):
            with self.subTest(slots=slots):
                worker = self.worker(slots=slots)
                for script, folder in zip(scripts * 2, ("one", "two", "three") * 2):
                    inner = "package of " + folder
                    self.assertEqual(worker.run(script), [folder, inner, inner])

    def test_helpers_of_one_name_are_kept_apart_when_imported_late(self):
        scripts = []
        for folder in ("one", "two"):
            self.script(folder + "/helper.py", "value = %r\nuses = []" % folder)
            self.script(folder + "/package/__init__.py", "")
            self.script(folder + "/package/part.py", "value = 'package of %s'" % folder)
            scripts.append(self.script(folder + "/job.py", """
                def main(params, context):
                    import helper
                    from package import part
                    helper.uses.append(1)
                    return [helper.value, part.value, len(helper.uses)]
            """))
        worker = self.worker()
        for times in (1, 2, 3):
            for script, folder in zip(scripts, ("one", "two")):
                self.assertEqual(worker.run(script), [folder, "package of " + folder, times])

    def test_a_helper_that_only_one_folder_has_stays_loaded(self):
        self.script("one/shared.py", "uses = []")
        one = self.script("one/job.py", """
            import shared
            def main(params, context):
                shared.uses.append(1)
                return len(shared.uses)
        """)
        two = self.script("two/job.py", "def main(params, context): return 'two'")
        worker = self.worker()
        self.assertEqual([worker.run(one), worker.run(two), worker.run(one)], [1, "two", 2])
        self.script("one/job.py", """
            import shared
            def main(params, context): return ["reloaded", len(shared.uses)]
        """)
        self.assertEqual(worker.run(one), ["reloaded", 2])

    def test_a_helper_written_after_the_worker_looked_is_found(self):
        worker = self.worker()
        first = self.script("in/a.py", """
            def main(params, context):
                try: import helper
                except ImportError: return "none"
                return helper.value
        """)
        self.assertEqual(worker.run(first), "none")
        self.script("in/helper.py", "value = 1")
        second = self.script("in/b.py", "import helper\ndef main(params, context): return helper.value")
        self.assertEqual(worker.run(second), 1)

    def test_modules_of_scripts_have_the_same_name_in_every_worker(self):
        script = self.script("a.py", "def main(params, context): return __name__")
        self.assertEqual(self.worker().run(script), self.worker().run(script))

    def test_what_a_script_defines_can_be_pickled_and_read_in_the_same_worker(self):
        script = self.script("a.py", """
            import pickle
            class Point:
                x = 1
            def main(params, context):
                point = pickle.loads(pickle.dumps(Point()))
                return type(point) is Point
        """)
        self.assertTrue(self.worker().run(script))

    def test_two_threads_may_pass_the_lines_of_scripts_to_linecache(self):
        class Emptied(dict):
            """Another thread takes what is left after this one has looked."""

            def popitem(self):
                self.clear()
                return super().popitem()

        with mock.patch.object(library, "_lines", Emptied({self.path("a.py"): (1, None, ["x"], "a.py")})):
            library.traceback()
            library._pass_to_linecache(linecache)
            self.assertEqual(library._lines, {})


if __name__ == "__main__":
    unittest.main()
