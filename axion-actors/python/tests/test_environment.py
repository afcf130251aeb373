"""What user code finds: its own environment, and nothing of the runtime's."""

import os
import resource
import subprocess
import unittest

from base import Case, Gate
from harness import INTERPRETER, PACKAGE, environment, install

SHADOWS = ("json", "struct", "traceback", "threading", "wire", "asyncio_helper", "linecache", "ast", "tokenize",
           "contextlib", "selectors", "base64", "mmap", "select", "entry", "queue", "re")


class Environment(Case):
    def run_source(self, source, params=None, **options):
        worker = self.worker(**options)
        return worker.run(self.script("scripts/a.py", source), params)

    def test_modules_on_PYTHONPATH(self):
        self.script("lib/mine.py", "value = 5")
        source = "import mine\ndef main(p, c): return mine.value"
        self.assertEqual(self.run_source(source, env={"PYTHONPATH": self.path("lib")}), 5)

    def test_modules_in_the_current_folder(self):
        self.script("here.py", "value = 6")
        self.assertEqual(self.run_source("def main(p, c):\n    import here\n    return here.value"), 6)

    def test_the_folder_of_the_script_comes_before_the_current_one(self):
        self.script("both.py", "value = 'current'")
        self.script("scripts/both.py", "value = 'script'")
        self.assertEqual(self.run_source("import both\ndef main(p, c): return both.value"), "script")

    def test_site_packages_of_a_virtual_environment(self):
        subprocess.run([INTERPRETER, "-m", "venv", "--without-pip", self.path("venv")], check=True)
        python = self.path("venv/bin/python")
        where = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
                               stdout=subprocess.PIPE, check=True).stdout.decode().strip()
        self.assertTrue(where.startswith(self.folder))
        self.script(os.path.join(where, "installed.py"), "value = 'installed'")
        self.assertEqual(self.run_source("""
            import installed, sys
            def main(p, c): return [installed.value, sys.prefix, sys.executable]
        """, interpreter=python), ["installed", self.path("venv"), python])

    def test_sys_path_is_what_python_c_has(self):
        script = "import sys\ndef main(p, c): return sys.path"
        plain = subprocess.run([INTERPRETER, "-c", "import sys; print(sys.path)"], stdout=subprocess.PIPE,
                               env=environment())
        self.assertEqual(self.run_source(script), [self.path("scripts")] + eval(plain.stdout))

    def test_a_thread_that_imports_finds_its_module_whatever_fails_meanwhile(self):
        described, found = self.gate("described"), self.gate("found")
        self.script("late.py", "value = 7")
        script = self.script("a.py", Gate.SOURCE + """
import sys
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "late":
            print("looking")
            gate(%r)
sys.meta_path.insert(len(sys.meta_path) - 1, Slow())
class Mine(Exception):
    asked = 0
    def __str__(self):
        self.asked += 1
        if self.asked == 2:
            print("describing")
            gate(%r)
        return "mine"
def main(fails, context):
    if fails: raise Mine
    import late
    return late.value
""" % (found.path, described.path))
        worker = self.worker(slots=4)
        described.open()
        worker.fail(script, True)  # what the first failure imports is there now
        failing = worker.submit(script, True)
        worker.wait_for_line(failing, "describing")
        importing = worker.submit(script, False)
        worker.wait_for_line(importing, "looking")
        described.open()
        self.assertEqual(worker.failure(failing).message, "mine")
        found.open()
        self.assertEqual(worker.result(importing), 7)

    def test_argv_and_main(self):
        self.assertEqual(self.run_source("""
            import sys, __main__
            def main(p, c):
                return [sys.argv, __main__ is sys.modules[__name__], __name__ == "__main__"]
        """), [[""], True, False])

    def test_main_where_scripts_run_at_the_same_time(self):
        self.assertEqual(self.run_source("""
            import __main__
            def main(p, c):
                return [__main__.__name__, sorted(n for n in vars(__main__) if not n.startswith("__")),
                        hasattr(__main__, "__file__")]
        """, slots=4), ["__main__", [], False])

    def test_no_module_of_the_runtime_is_in_the_way(self):
        self.script("axion_worker/__init__.py", "value = 'the user\\'s'")
        self.script("worker.py", "value = 'also'")
        for slots in (1, 4):
            self.assertEqual(self.run_source("""
                import axion_worker, worker
                def main(p, c): return [axion_worker.value, worker.value]
            """, slots=slots), ["the user's", "also"])

    def test_what_a_worker_may_never_need_is_not_imported(self):
        bare = subprocess.run([INTERPRETER, "-c", "import sys; print(*sys.modules)"], stdout=subprocess.PIPE,
                              env=environment()).stdout.decode().split()
        there = self.run_source("import sys\nnames = list(sys.modules)\ndef main(p, c): return names")
        large = {"asyncio", "ctypes", "json", "linecache", "pickle", "re", "threading", "tokenize", "traceback"}
        self.assertEqual(large & (set(there) - set(bare)), set())

    def test_the_runtime_is_one_name_in_sys_modules(self):
        names = self.run_source("import sys\ndef main(p, c): return [n for n in sys.modules if 'axion' in n]")
        # And the name by which pickles refer to the module that both sides have.
        own = (PACKAGE, "_axion_definitions")
        self.assertTrue(names and all(name.split(".")[0] in own for name in names), names)

    def test_settings_for_byte_code_are_the_users(self):
        source = "import sys\ndef main(p, c): return [sys.dont_write_bytecode, sys.pycache_prefix]"
        self.assertEqual(self.run_source(source), [False, None])
        self.assertEqual(self.run_source(source, env={"PYTHONDONTWRITEBYTECODE": "1"}), [True, None])
        prefix = self.path("prefix")
        self.assertEqual(self.run_source(source, env={"PYTHONPYCACHEPREFIX": prefix}), [False, prefix])


class Shadows(Case):
    """User modules that bear the names of the runtime's and of the standard library's."""

    def check(self, slots, **options):
        script = self.script("scripts/a.py", """
            import importlib
            def main(p, c):
                assert p != "fail"
                return [importlib.import_module(name).mine for name in p]
        """)
        # Some installations import a module or two of these before any user code.
        loaded = subprocess.run([INTERPRETER, "-c", "import sys; print(*sys.modules)"], stdout=subprocess.PIPE,
                                cwd="/", env=environment()).stdout.decode().split()
        names = [name for name in ("json", "struct", "wire", "entry", "queue") if name not in loaded]
        in_loop = self.script("scripts/b.py", "async def main(p, c):\n    assert p != 'fail'\n    return 'b'")
        bad = self.script("scripts/c.py", "# coding: latin-1\ndef main(p, c): return ( 1 + {}[2] ) * 2")
        worker = self.worker(slots=slots, **options)
        self.assertIn("entry.py", worker.dump())
        self.assertEqual(worker.run(in_loop), "b")
        failure = worker.fail(in_loop, "fail")
        self.assertRegex(failure.traceback, r"line 2, in main\n +assert p != 'fail'")
        self.assertRegex(worker.fail(bad).traceback, r"line 2, in main\n +def main.*\{\}\[2\]")
        self.assertIn("not JSON: ", worker.failure(worker.submit(in_loop, raw=b"{")).message)
        self.assertEqual(worker.ask("Ping", 1), ("Pong", [1]))
        fresh = self.worker(slots=slots, **options)
        self.assertEqual(fresh.run(script, names), names)
        self.assertRegex(fresh.fail(script, "fail").traceback, r"line 4, in main\n +assert p != .fail.")
        self.assertIn("entry.py", fresh.dump())
        self.assertEqual(fresh.finish(), 0)

    def write(self, folder):
        for name in SHADOWS:
            self.script("%s/%s.py" % (folder, name), "mine = %r" % name)

    def test_in_the_current_folder(self):
        self.write("cwd")
        for slots in (1, 4):
            with self.subTest(slots=slots):
                self.check(slots, cwd=self.path("cwd"))

    def test_in_the_folder_of_the_script(self):
        self.write("scripts")
        for slots in (1, 4):
            with self.subTest(slots=slots):
                self.check(slots)

    def test_on_PYTHONPATH(self):
        # Only names that Python's own start does not import on some version.
        for name in ("json", "struct", "wire", "entry", "asyncio", "ast", "select", "mmap", "queue", "selectors"):
            self.script("lib/%s.py" % name, "mine = %r" % name)
        for slots in (1, 4):
            with self.subTest(slots=slots):
                self.check(slots, env={"PYTHONPATH": self.path("lib")})


class ByteCode(Case):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("runtime"))
        install(self.path("runtime"))
        self.asyncs = self.script("scripts/a.py", "async def main(p, c): return 1")

    def compiled(self):
        """The compiled files of the runtime and their times; there may be none elsewhere below the test's folder."""
        found = {}
        for folder, _, files in os.walk(self.folder):
            for file in files:
                path = os.path.join(folder, file)
                if file.endswith(".pyc") or PACKAGE in path and "runtime" not in path:
                    self.assertEqual(folder, self.path("runtime/%s/__pycache__" % PACKAGE))
                    found[file] = os.stat(path).st_mtime_ns, os.stat(path).st_ino
        return found

    def start(self, slots, env=None):
        worker = self.worker(slots=slots, env=env, folder=self.path("runtime"))
        worker.run(self.asyncs)
        worker.fail(self.path("none.py"))
        worker.dump()
        self.assertEqual(worker.finish(), 0)

    def check(self, env):
        sources = {name for name in os.listdir(self.path("runtime/" + PACKAGE)) if name.endswith(".py")}
        self.start(1, env)
        first = self.compiled()
        self.assertEqual({name.partition(".")[0] + ".py" for name in first}, sources - {"thread_pool.py", "threaded.py"})
        self.start(4, env)
        both = self.compiled()
        self.assertEqual({name.partition(".")[0] + ".py" for name in both}, sources, "a module is loaded late")
        self.start(1, env)
        self.assertEqual(self.compiled(), both, "compiled again")
        self.assertEqual({name: both[name] for name in first}, first, "compiled again")

    def test_it_is_made_once_in_the_private_folder(self):
        self.check({})

    def test_it_is_made_in_another_process_whose_memory_is_free_again(self):
        script = self.script("scripts/children.py", """
            import resource
            def main(p, c): return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt > 0
        """)
        for slots in (1, 4):
            for first in (True, False):
                with self.subTest(slots=slots, first=first):
                    worker = self.worker(slots=slots, folder=self.path("runtime"))
                    self.assertEqual(worker.run(script), first)

    def test_it_is_made_with_PYTHONDONTWRITEBYTECODE(self):
        self.check({"PYTHONDONTWRITEBYTECODE": "1"})

    def test_it_is_made_with_PYTHONPYCACHEPREFIX(self):
        prefix = self.path("prefix")
        self.check({"PYTHONPYCACHEPREFIX": prefix, "PYTHONDONTWRITEBYTECODE": "1"})
        self.start(4, {"PYTHONPYCACHEPREFIX": prefix})
        left = [os.path.join(path, file) for path, _, files in os.walk(prefix) for file in files]
        left = [path for path in left if PACKAGE in path or "worker" in os.path.basename(path)]
        self.assertEqual(left, [])

    def test_L8_a_full_disk_leaves_no_file_cut_short(self):
        # A limit on the size of files cuts writes short as a full disk does.
        def spawn(*arguments, **options):
            return subprocess.Popen(*arguments, **options, preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY)))

        worker = self.worker(folder=self.path("runtime"), spawn=spawn)
        self.assertEqual(worker.run(self.asyncs), 1)
        self.assertEqual(worker.finish(), 0)
        files = {name: os.path.getsize(self.path("runtime/%s/__pycache__/%s" % (PACKAGE, name)))
                 for name in os.listdir(self.path("runtime/%s/__pycache__" % PACKAGE))}
        self.assertTrue(files)
        self.assertEqual([name for name, size in files.items() if size >= 8192 or not name.endswith(".pyc")], [])
        self.start(1)
        self.assertGreater(len(self.compiled()), len(files), "the rest is made when there is room")

    def test_a_folder_that_cannot_be_written_is_no_hindrance(self):
        os.mkdir(self.path("runtime/%s/__pycache__" % PACKAGE), 0o500)
        self.start(1)


if __name__ == "__main__":
    unittest.main()
