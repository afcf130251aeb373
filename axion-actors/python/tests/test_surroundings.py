"""The surroundings that functions bring: what another interpreter takes over, and who goes back to older ones."""

import os
import sys
import uuid

from base import Case, OneWorker
from test_functions import Calls, surroundings

from axion_worker.failure import FailureKind

FOREIGN = ("/opt/other", "/opt/base", [3, 99], ["/home/me/.local/lib/python3.99/site-packages"])


class Surroundings(Calls):
    def seen(self, source, around):
        module, folder = self.module("import sys\ndef seen(): return " + source)
        name = self.define(module + ":seen", around=around(folder))
        return self.value(self.call(name))

    def test_another_interpreter_keeps_its_own_folders_and_leaves_out_the_callers(self):
        path = ["/first", "/opt/other/lib/python3.99/site-packages", "/opt/base/lib/python3.99", FOREIGN[3][0], "/last"]
        found = self.seen("sys.path", lambda folder: surroundings(path=[folder, *path], origin=FOREIGN))
        library = next(index for index, entry in enumerate(found) if entry.endswith("lib-dynload"))
        self.assertLess(found.index("/first"), library)
        self.assertEqual(found[-1], "/last")
        self.assertFalse([entry for entry in found if entry.startswith(("/opt/", "/home/me"))])

    def test_a_module_of_another_interpreter_may_be_another(self):
        module, folder = self.module("def f(): return 1")

        def call(stamp, **origin):
            around = surroundings(path=[folder, *sys.path], stamps={module: stamp}, **origin)
            return self.call(self.define(module + ":f", around=around))

        self.assertEqual(self.value(call((FOREIGN[1] + "/m.py", 1, 1, None), origin=FOREIGN)), 1)
        self.assertEqual(self.value(call(("/elsewhere/m.cpython-399.so", 1, 1, None), origin=FOREIGN)), 1)
        for stamp in (FOREIGN[1] + "/m.py", 1, 1, None), ("/elsewhere/m.py", 1, 1, None):
            self.assertEqual(self.one.failure(call(stamp)).kind, FailureKind.MODULE_CHANGED)

    def test_a_module_is_refused_before_it_is_executed_and_also_when_a_task_imports_it(self):
        ran = os.path.join(self.folder, uuid.uuid4().hex)
        changed, there = self.module("open(%r, 'w').close()" % ran)
        stamp = os.path.join(there, changed + ".py"), 1, 1, None
        user, folder = self.module("def f():\n    import %s" % changed)
        around = surroundings(path=[there, folder, *sys.path], stamps={changed: stamp})
        failure = self.one.failure(self.call(self.define(user + ":f", around=around)))
        self.assertEqual(failure.kind, FailureKind.MODULE_CHANGED)
        self.assertIn("the worker finds %s (" % stamp[0], failure.message)
        self.assertFalse(os.path.exists(ran))

    def test_the_part_of_a_second_counts_where_it_is_known(self):
        module, folder = self.module("def f(): return 1")
        path = os.path.join(folder, module + ".py")
        status = os.stat(path)
        seconds, nanos = divmod(status.st_mtime_ns, 10 ** 9)

        def call(nanos):
            stamps = {module: (path, seconds, status.st_size, nanos)}
            return self.call(self.define(module + ":f", around=surroundings(path=[folder, *sys.path], stamps=stamps)))

        self.assertEqual([self.value(call(None)), self.value(call(nanos))], [1, 1])
        self.assertEqual(self.one.failure(call((nanos + 1) % 10 ** 9)).kind, FailureKind.MODULE_CHANGED)

    def test_only_a_worker_of_one_slot_goes_back_to_older_surroundings(self):
        module, folder = self.module("import sys\ndef depth(): return sys.getrecursionlimit()")
        older, newer = (surroundings(path=[folder, *sys.path], depth=depth) for depth in (1111, 2222))
        names = [self.define(module + ":depth", around=around) for around in (older, newer)]
        found = [self.value(self.call(names[which])) for which in (0, 1, 0)]
        self.assertEqual(found, [1111, 2222, 1111 if self.slots == 1 else 2222])


class Inline(Surroundings, OneWorker, Case):
    pass


class Threaded(Surroundings, OneWorker, Case):
    slots = 4
