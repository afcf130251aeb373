"""What a task changes of its process, and what the next task in the same worker finds."""

import os
import sys
import unittest

from base import Case
from test_functions import Calls, surroundings

from axion_worker import process_state

_CHANGES = """
import os, shutil, tempfile, time

def look():
    umask = os.umask(0)
    os.umask(umask)
    shell = os.popen("pwd; umask; echo $AXION_TEST_NEW").read().split()
    return [os.getcwd(), umask, os.environ.get("AXION_TEST_NEW"), os.environ.get("AXION_TEST_OLD"), shell]

def change():
    os.chdir("/usr")
    os.umask(0o007)
    os.environ["AXION_TEST_NEW"] = "new"
    os.environ.pop("AXION_TEST_OLD", None)

def takes_a_while():
    until = time.monotonic() + 0.0002
    while time.monotonic() < until:
        pass
"""
_TASK = _CHANGES + """
def main(p, c):
    before = look()
    change()
    takes_a_while()
    exec(p.get("more", ""))
    return before
"""


class ProcessState(Calls, Case):
    env = {"AXION_TEST_OLD": "old"}

    def setUp(self):
        super().setUp()
        os.umask(0o022)
        self.one = self.worker()

    def first(self, folder=None, umask=0o022):
        folder = os.path.realpath(folder or self.folder)
        return [folder, umask, None, "old", [folder, "%04o" % umask]]

    def test_the_next_task_finds_folder_umask_and_environment_as_they_were(self):
        script = self.script("a.py", _TASK)
        self.assertEqual([self.one.run(script) for _ in range(3)], [self.first()] * 3)

    def test_also_after_a_task_that_failed_or_was_interrupted(self):
        script = self.script("a.py", _TASK)
        for more in ("1 / 0", "raise SystemExit", "raise TimeoutError"):
            self.one.fail(script, {"more": more})
            self.assertEqual(self.one.run(script), self.first(), more)

    def test_also_after_a_task_whose_folder_is_gone(self):
        script = self.script("a.py", _TASK)
        self.one.run(script, {"more": "d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)"})
        self.assertEqual(self.one.run(script), self.first())

    def test_also_where_the_folder_itself_was_renamed_meanwhile(self):
        script = self.script("a.py", _TASK)
        other = self.script("b.py", _TASK)
        inner = self.path("inner")
        os.mkdir(inner)
        worker = self.one = self.worker(cwd=inner)
        self.assertEqual(worker.run(script), self.first(inner))
        worker.run(script, {"more": "os.rename(%r, %r)" % (inner, inner + "2")})
        self.assertEqual(worker.run(script), self.first(inner + "2"))
        worker.run(other, {"more": "os.rmdir(%r)" % (inner + "2")})
        self.assertEqual(worker.fail(script).exception, "FileNotFoundError", "it is in the folder that is gone")

    def test_also_where_a_task_closed_all_descriptors_or_replaced_the_environment(self):
        script = self.script("a.py", _TASK)
        for more in ("os.environ = {}", "os.environ = dict(os.environ, AXION_TEST_NEW='x')"):
            self.one.run(script, {"more": more})
            self.assertEqual(self.one.run(script), self.first(), more)
        folder = [fd for fd in os.listdir("/proc/%d/fd" % self.one.process.pid)
                  if os.path.isdir("/proc/%d/fd/%s" % (self.one.process.pid, fd))]
        self.assertTrue(folder)
        for fd in folder:
            self.one.run(script, {"more": "os.dup2(os.open('/', 0), %s)" % fd})
        self.assertEqual(self.one.run(script), self.first(), "not the folder that another descriptor is of")

    def test_what_a_script_sets_when_it_is_loaded_is_its_own(self):
        script = self.script("a.py", _TASK)
        loaded = self.script("b.py", _TASK + "\nos.chdir('/')\nos.umask(0o077)\n")
        failed = self.script("c.py", _TASK + "\nchange()\n1 / 0")
        for _ in range(2):
            self.assertEqual(self.one.run(script), self.first())
            self.assertEqual(self.one.run(loaded), self.first("/", 0o077))
            self.one.fail(failed)
        self.assertEqual(self.one.run(script), self.first())

    def test_what_functions_change_stays_for_functions_alone(self):
        module, folder = self.module(_CHANGES)
        look = self.define(module + ":look", paths=[folder])
        change = self.define(module + ":change", paths=[folder])
        script = self.script("a.py", _TASK)
        self.assertEqual(self.value(self.call(look)), self.first())
        self.value(self.call(change))
        for _ in range(2):
            self.assertEqual(self.value(self.call(look)), ["/usr", 0o007, "new", None, ["/usr", "0007", "new"]])
            self.assertEqual(self.one.run(script), self.first())

    def test_a_folder_that_its_user_may_not_look_into_is_no_hindrance(self):
        if os.getuid() != 0:
            self.skipTest("needs another user")
        pid = os.fork()
        if pid == 0:
            try:
                os.chdir(self.folder)  # which only its owner may enter
                os.setresuid(65534, 65534, 65534)
                state = process_state.ProcessState()
                assert state.is_current()
                state.put_back()
                os._exit(0)
            finally:
                os._exit(1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_with_restore_it_is_put_back_after_functions_too(self):
        worker = self.one = self.worker(restore=True)
        module, folder = self.module(_CHANGES + """
os.environ["AXION_TEST_IMPORTED"] = "1"
def change_for_a_while():
    change()
    takes_a_while()
    return os.environ["AXION_TEST_IMPORTED"]
""")
        look = self.define(module + ":look", paths=[folder])
        change = self.define(module + ":change_for_a_while", paths=[folder])
        script = self.script("a.py", _TASK)
        for _ in range(2):
            self.assertEqual(self.value(self.call(change)), "1", "what the module set when it was imported stays")
            self.assertEqual(self.value(self.call(look)), self.first())
            self.assertEqual(worker.run(script), self.first())

    def test_with_restore_the_recursion_limit_is_that_of_the_surroundings(self):
        self.one = self.worker(restore=True)
        first = self.define(sys.getrecursionlimit, around=surroundings(depth=1200))
        second = self.define(sys.getrecursionlimit, around=surroundings(depth=1300))
        for _ in range(2):
            self.assertEqual([self.value(self.call(name)) for name in (first, second)], [1200, 1300])

    def test_the_rest_stays(self):
        script = self.script("a.py", """
            import sys, time
            count = 0
            def main(p, c):
                global count
                count += 1
                time.sleep(0.0002)
                sys.left = getattr(sys, "left", 0) + 1
                return [count, sys.left]
        """)
        self.assertEqual([self.one.run(script), self.one.run(script)], [[1, 1], [2, 2]])

    def test_threads_of_several_slots_share_the_process_and_nothing_is_put_back(self):
        worker = self.worker(slots=4)
        script = self.script("a.py", _TASK)
        self.assertEqual(worker.run(script), self.first())
        self.assertEqual(worker.run(script)[:2], ["/usr", 0o007])


if __name__ == "__main__":
    unittest.main()
