"""Every way a task can fail: one typed outcome, and a worker that goes on."""

import os
import unittest

from base import Case, OneWorker
from harness import LIMIT, PACKAGE, wait_until
from axion_worker.failure import FailureKind


class Kinds(unittest.TestCase):
    def test_the_numbers_on_the_wire_are_frozen(self):
        numbers = {name: value for name, value in vars(FailureKind).items() if name.isupper()}
        self.assertEqual(numbers, {
            "EXCEPTION": 0, "SCRIPT_NOT_FOUND": 1, "SCRIPT_UNREADABLE": 2, "SCRIPT_SYNTAX": 3, "ENTRY_MISSING": 4,
            "SYSTEM_EXIT": 5, "KEYBOARD_INTERRUPT": 6, "MEMORY_ERROR": 7, "RECURSION_ERROR": 8,
            "RESULT_NOT_SERIALIZABLE": 9, "RESULT_TOO_LARGE": 10, "PARAMS_INVALID": 11, "CANCELLED": 12, "SOFT_TIMEOUT": 13, "FUNCTION_NOT_LOADABLE": 14, "INITIALIZER_FAILED": 15, "MODULE_CHANGED": 16})


class Failures(OneWorker):
    """Run under both kinds of worker."""

    def fails(self, script, params=None, kind=FailureKind.EXCEPTION):
        """The failure of a script; the worker must be able to go on after it."""
        failure = self.one.fail(script, params)
        self.assertEqual(failure.kind, kind, failure)
        self.assertEqual(self.one.run(self.fine), "fine")
        wait_until(lambda: not self.one.running(), "an empty status page")
        self.assertNotIn(PACKAGE, failure.traceback, "a frame of the runtime")
        return failure

    def source(self, source, kind=FailureKind.EXCEPTION, params=None):
        return self.fails(self.script("failing.py", source), params, kind)

    # Scripts that cannot be run.

    def test_a_missing_file(self):
        for path in (self.path("none.py"), self.path("none/none.py"), self.fine + "/a.py"):
            failure = self.fails(path, kind=FailureKind.SCRIPT_NOT_FOUND)
            self.assertEqual(failure.message, "no script at " + path)

    def test_a_path_that_no_file_can_have(self):
        failure = self.fails("a\0b.py", kind=FailureKind.SCRIPT_NOT_FOUND)
        self.assertIn("no script at a\0b.py", failure.message)

    def test_a_folder_as_script(self):
        failure = self.fails(self.folder, kind=FailureKind.SCRIPT_UNREADABLE)
        self.assertIn(self.folder, failure.message)
        self.assertIn("directory", failure.message)

    def test_an_unreadable_file(self):
        loop = self.path("loop.py")
        os.symlink(loop, loop)
        self.assertIn(loop, self.fails(loop, kind=FailureKind.SCRIPT_UNREADABLE).message)

    def test_a_syntax_error_names_its_line(self):
        failure = self.source("import os\n\ndef main(p, c):\n    retrun 1\n", FailureKind.SCRIPT_SYNTAX)
        self.assertIn(self.path("failing.py"), failure.message)
        self.assertIn("line 4", failure.message)
        self.assertEqual(failure.exception, "SyntaxError")
        self.assertIn("retrun 1", failure.traceback)

    def test_other_ways_not_to_compile(self):
        for what, source in {
            "null bytes": b"def main(p, c): return 1\n\0\n",
            "not UTF-8": b"text = '\xff\xfe'\ndef main(p, c): return 1\n",
            "an unknown encoding": b"# -*- coding: klingon -*-\ndef main(p, c): return 1\n",
            "wrong indentation": b"def main(p, c):\n    a = 1\n  return 1\n",
            "nested too deeply": b"main = " + b"(" * 5000 + b")" * 5000,
        }.items():
            with self.subTest(what):
                failure = self.source(source, FailureKind.SCRIPT_SYNTAX)
                self.assertIn(self.path("failing.py"), failure.message)

    def test_a_missing_entry_point(self):
        for source in ("", "main = 1", "import os as module", "def run(params): pass"):
            with self.subTest(source):
                failure = self.source(source, FailureKind.ENTRY_MISSING)
                for word in ("main(params, context)", "module()", self.path("failing.py")):
                    self.assertIn(word, failure.message)

    def test_a_main_that_needs_more_than_a_task_gives(self):
        for source in ("def main(a, b, c): pass", "async def main(a, b, c): pass", "def main(params, *, c): pass"):
            with self.subTest(source):
                failure = self.source(source, FailureKind.ENTRY_MISSING)
                for word in ("more than the parameters", "c)", "main(params, context)", self.path("failing.py")):
                    self.assertIn(word, failure.message)

    def test_a_class_of_the_script_is_named_as_there(self):
        source = ("class Mine(Exception): pass\n\ndef main(params, context):\n"
                  "    try:\n        raise Mine('inner')\n    except Mine as inner:\n        raise Mine('outer') from inner\n")
        for failure in (self.source(source), self.source("class Mine(Exception): pass\nraise Mine('outer')\n")):
            self.assertEqual(failure.exception, "failing.Mine")
            self.assertIn("\nfailing.Mine: outer\n", failure.traceback)
            self.assertNotIn("@", failure.traceback)

    def test_a_module_function_whose_object_cannot_run(self):
        for source in ("def module(): return object()", "class module: run = None", "def module(): pass"):
            with self.subTest(source):
                failure = self.source(source, FailureKind.ENTRY_MISSING)
                for word in ("run(params)", "module()", self.path("failing.py")):
                    self.assertIn(word, failure.message)

    def test_an_exception_while_the_script_is_loaded(self):
        failure = self.source("import os\n1 / 0\n")
        self.assertEqual((failure.exception, failure.message), ("ZeroDivisionError", "division by zero"))
        self.assertRegex(failure.traceback, r'failing.py", line 2, in <module>\n *1 / 0')

    def test_an_import_that_fails(self):
        failure = self.source("import no_such_module_anywhere")
        self.assertEqual(failure.exception, "ModuleNotFoundError")
        self.assertIn("no_such_module_anywhere", failure.message)
        self.assertIn("import no_such_module_anywhere", failure.traceback)

    def test_exits_while_the_script_is_loaded(self):
        self.assertEqual(self.source("import sys; sys.exit(3)", FailureKind.SYSTEM_EXIT).message, "3")
        self.source("raise KeyboardInterrupt", FailureKind.KEYBOARD_INTERRUPT)

    # Exceptions of tasks.

    def test_an_exception_with_its_own_lines(self):
        failure = self.source('''
            def deeper(value):
                raise ValueError("bad: %s" % value)

            def main(p, c):
                return deeper(p["x"])
        ''', params={"x": "ü"})
        self.assertEqual(failure[:3], (FailureKind.EXCEPTION, "ValueError", "bad: ü"))
        self.assertEqual(failure.causes, [])
        lines = [line for line in failure.traceback.splitlines() if "^^^" not in line]
        path = self.path("failing.py")
        self.assertEqual(lines, [
            "Traceback (most recent call last):",
            '  File "%s", line 6, in main' % path, '    return deeper(p["x"])',
            '  File "%s", line 3, in deeper' % path, '    raise ValueError("bad: %s" % value)',
            "ValueError: bad: ü"])

    def test_an_exception_of_an_async_task_has_the_same_traceback(self):
        failure = self.source('''
            import asyncio
            async def deeper():
                await asyncio.sleep(0)
                raise LookupError("deep")
            async def main(p, c):
                return await deeper()
        ''')
        self.assertEqual(failure[:3], (FailureKind.EXCEPTION, "LookupError", "deep"))
        lines = [line.strip() for line in failure.traceback.splitlines() if "^^^" not in line]
        path = self.path("failing.py")
        self.assertEqual(lines[1:], [
            'File "%s", line 7, in main' % path, "return await deeper()",
            'File "%s", line 5, in deeper' % path, 'raise LookupError("deep")', "LookupError: deep"])

    def test_the_traceback_shows_the_lines_that_ran_after_the_file_changed(self):
        script = self.script("changing.py", '''
            import os
            def main(p, c):
                with open(__file__, "w") as file:
                    file.write("# not this\\\\n" * 20)
                raise ValueError("the line that ran")
        '''.replace("\\\\", "\\"))
        failure = self.one.fail(script)
        self.assertIn('raise ValueError("the line that ran")', failure.traceback)
        self.assertNotIn("not this", failure.traceback)

    def test_the_traceback_of_user_code_shows_the_lines_that_ran_too(self):
        script = self.script("own.py", """
            def main(p, c):
                with open(__file__, "w") as file:
                    file.write("# not this\\n" * 20)
                import traceback
                try:
                    raise ValueError("the line that ran")
                except ValueError:
                    return traceback.format_exc()
        """)
        text = self.worker().run(script)
        self.assertIn('raise ValueError("the line that ran")', text)
        self.assertNotIn("not this", text)

    def test_the_traceback_and_the_stacks_where_no_descriptor_is_left(self):
        script = self.script("full.py", """
            import os, resource
            def fill():
                while True:
                    os.dup(0)
            def main(p, c):
                resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
                fill()
        """)
        worker = self.worker()
        failure = worker.fail(script)
        self.assertEqual(failure.exception, "OSError")
        path = self.path("full.py")
        lines = [line.strip() for line in failure.traceback.splitlines() if "^" not in line]
        self.assertEqual(lines, [
            "Traceback (most recent call last):", 'File "%s", line 8, in main' % path, "fill()",
            'File "%s", line 5, in fill' % path, "os.dup(0)", "OSError: " + failure.message])
        self.assertIn("entry.py", worker.dump())

    def test_the_traceback_counts_lines_as_python_does(self):
        # A form feed, a line separator in a string and CRLF: one line each for Python.
        failure = self.source(
            b"a = 1\r\n\x0c\r\nb = '\xe2\x80\xa8 \x1c'\r\ndef main(p, c):\r\n    raise ValueError('this line')\r\n")
        self.assertRegex(failure.traceback, r"line 5, in main\n *raise ValueError\('this line'\)")

    def test_the_traceback_reads_the_encoding_of_the_script(self):
        failure = self.source("# coding: latin-1\ndef main(p, c):\n    raise ValueError('ü')\n".encode("latin-1"))
        self.assertIn("raise ValueError('ü')", failure.traceback)

    def test_causes_by_raise_from(self):
        failure = self.source('''
            def main(p, c):
                try:
                    try:
                        {}["key"]
                    except KeyError as error:
                        raise ValueError("second") from error
                except ValueError as error:
                    raise RuntimeError("third") from error
        ''')
        self.assertEqual(failure[1:3], ("RuntimeError", "third"))
        self.assertEqual(failure.causes, [["ValueError", "second"], ["KeyError", "'key'"]])
        self.assertIn("direct cause", failure.traceback)

    def test_causes_by_context(self):
        failure = self.source('''
            def main(p, c):
                try:
                    {}["key"]
                finally:
                    raise ValueError("second")
        ''')
        self.assertEqual(failure.causes, [["KeyError", "'key'"]])
        self.assertIn("During handling", failure.traceback)

    def test_raise_from_none_hides_what_was_before(self):
        failure = self.source('''
            def main(p, c):
                try:
                    {}["key"]
                except KeyError:
                    raise ValueError("alone") from None
        ''')
        self.assertEqual(failure.causes, [])
        self.assertNotIn("KeyError", failure.traceback)

    def test_causes_that_go_in_a_circle_or_on_and_on(self):
        self.assertEqual(len(self.source('''
            def main(p, c):
                a, b = ValueError("a"), ValueError("b")
                a.__cause__, b.__cause__ = b, a
                raise a
        ''').causes), 1)
        self.assertEqual(len(self.source('''
            def main(p, c):
                first = error = ValueError("a")
                for n in range(3000):
                    error.__cause__ = ValueError(str(n))
                    error = error.__cause__
                raise first
        ''').causes), 16)

    def test_an_exception_whose_text_raises(self):
        failure = self.source('''
            class Broken(Exception):
                def __str__(self): raise SystemExit(9)
            def main(p, c): raise Broken()
        ''')
        self.assertIn("__str__ raised SystemExit", failure.message)
        self.assertIn("Broken", failure.exception)
        self.assertIn("def main(p, c): raise Broken()", failure.traceback)

    def test_exceptions_made_to_break_what_describes_them(self):
        for what, source in {
            "text that is no text": "class E(Exception):\n    def __str__(self): return 5\n",
            "a name that is no text": "class M(type):\n    __qualname__ = property(lambda s: 1 / 0)\n"
                                      "class E(Exception, metaclass=M): pass\n",
            "a module that is no text": "class E(Exception): pass\nE.__module__ = 5\n",
            "a text of lone surrogates": "class E(Exception):\n    def __str__(self): return chr(0xd800)\n",
        }.items():
            with self.subTest(what):
                self.source(source + "def main(p, c): raise E()\n")

    def test_a_class_that_cannot_be_pickled(self):
        failure = self.source('''
            def main(p, c):
                class Local(Exception):
                    def __init__(self, a, b): self.lock = __import__("_thread").allocate_lock()
                    def __str__(self): return "still told"
                raise Local(1, 2)
        ''')
        self.assertEqual(failure.exception, "failing.main.<locals>.Local")
        self.assertEqual(failure.message, "still told")

    def test_an_exception_of_a_module_is_named_with_it(self):
        self.script("helper.py", "class Broken(Exception): pass")
        self.assertEqual(self.source("import helper\ndef main(p, c): raise helper.Broken").exception, "helper.Broken")

    def test_an_exception_whose_module_is_no_text_is_told(self):
        failure = self.source("class Odd(Exception): __module__ = 7\ndef main(p, c): raise Odd('why')")
        self.assertEqual((failure.exception, failure.message), ("Odd", "why"))

    def test_huge_texts_are_cut(self):
        failure = self.source("def main(p, c): raise ValueError('a' * 10_000_000 + 'z')")
        self.assertLess(len(failure.message), 10_000)
        self.assertTrue(failure.message.endswith("z"))
        self.assertIn("left out", failure.message)
        self.assertLess(len(failure.traceback), 70_000)

    def test_exits_and_interrupts(self):
        for source, kind, message in (
            ("import sys\ndef main(p, c): sys.exit()", FailureKind.SYSTEM_EXIT, ""),
            ("import sys\ndef main(p, c): sys.exit('bye')", FailureKind.SYSTEM_EXIT, "bye"),
            ("def main(p, c): raise SystemExit(4)", FailureKind.SYSTEM_EXIT, "4"),
            ("def main(p, c): exit(5)", FailureKind.SYSTEM_EXIT, "5"),
            ("def main(p, c): raise KeyboardInterrupt", FailureKind.KEYBOARD_INTERRUPT, ""),
            ("def main(p, c): raise MemoryError('none left')", FailureKind.MEMORY_ERROR, "none left"),
            ("def main(p, c): return bytearray(1 << 62)", FailureKind.MEMORY_ERROR, ""),
            ("def main(p, c): raise GeneratorExit", FailureKind.EXCEPTION, ""),
            ("def main(p, c): raise StopIteration(1)", FailureKind.EXCEPTION, "1"),
            ("async def main(p, c): raise SystemExit(6)", FailureKind.SYSTEM_EXIT, "6"),
            ("async def main(p, c): raise KeyboardInterrupt", FailureKind.KEYBOARD_INTERRUPT, ""),
            ("async def main(p, c): raise GeneratorExit", FailureKind.EXCEPTION, ""),
            ("import asyncio\nasync def main(p, c): raise asyncio.CancelledError", FailureKind.EXCEPTION, ""),
            ("import asyncio\nasync def main(p, c): asyncio.current_task().cancel(); await asyncio.sleep(9)",
             FailureKind.EXCEPTION, ""),
        ):
            with self.subTest(source):
                self.assertEqual(self.source(source, kind).message, message)

    def test_exits_inside_what_an_async_task_started(self):
        # asyncio lets these through its loop: other tasks must not be hurt.
        self.source('''
            import asyncio
            async def child(): raise SystemExit(3)
            async def main(p, c): await asyncio.gather(child())
        ''', FailureKind.SYSTEM_EXIT)
        script = self.script("leaving.py", '''
            import asyncio
            async def child(): raise SystemExit(3)
            async def main(p, c): asyncio.ensure_future(child())
        ''')
        self.one.run(script)
        script = self.script("stopping.py", '''
            import asyncio
            async def main(p, c):
                asyncio.get_running_loop().stop()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        ''')
        self.one.submit(script)
        name = "Output"  # of what was left behind, which may be collected, and say so, at any time
        while name == "Output":
            name = self.one.receive()[0]
        self.assertIn(name, ("Done", "Failed"))
        self.assertEqual(self.one.run(self.script("a.py", "async def main(p, c): return 'on'")), "on")

    def test_recursion(self):
        failure = self.source("def main(p, c): return main(p, c)", FailureKind.RECURSION_ERROR)
        self.assertEqual(failure.exception, "RecursionError")
        self.assertIn("Previous line repeated", failure.traceback)

    def test_a_wrong_signature(self):
        # What shows only at the call; see above for the others.
        self.assertIn("(p, c, more)", self.source("def main(p, c, *, more): pass", FailureKind.ENTRY_MISSING).message)

    def test_the_event_loop_closed_by_a_task(self):
        script = self.script("closing.py", '''
            import asyncio
            async def again(): return 1
            def main(p, c):
                try: asyncio.get_event_loop().close()
                except RuntimeError: pass
                return asyncio.run(again())
        ''')
        on = self.script("a.py", "async def main(p, c): return 'on'")
        self.assertEqual([self.one.run(on), self.one.run(script), self.one.run(on)], ["on", 1, "on"])

    def test_os_exit_ends_the_worker_with_that_code_and_takes_no_result_along(self):
        script = self.script("a.py", "import os\ndef main(p, c): os._exit(7)")
        done = self.one.submit(self.fine)
        self.assertEqual(self.one.result(done), "fine")
        self.one.submit(script)
        message = self.one.receive()
        while message is not None:
            # What earlier tests left behind may be collected, and say so, at any time.
            self.assertEqual(message[0], "Output")
            message = self.one.receive()
        self.assertEqual(self.one.process.wait(LIMIT), 7)


class FailuresInline(Failures, Case):
    def test_a_real_interrupt_ends_the_task_alone(self):
        import signal

        script = self.script("a.py", """
            import time
            def main(p, c):
                print("begun")
                time.sleep(100)
        """)
        seq = self.one.submit(script)
        self.one.wait_for_line(seq, "begun")
        self.one.fall_asleep()  # a signal before the system call would not end it, as in any Python
        os.kill(self.one.process.pid, signal.SIGINT)
        self.assertEqual(self.one.failure(seq).kind, FailureKind.KEYBOARD_INTERRUPT)
        os.kill(self.one.process.pid, signal.SIGINT)  # idle: it belongs to no task
        self.assertEqual(self.one.run(self.fine), "fine")


class FailuresThreaded(Failures, Case):
    slots = 4

    def test_an_interrupt_hits_no_task(self):
        import signal

        gate = self.gate()
        seq = self.one.submit(self.gated(), {"gate": gate.path, "value": 1})
        self.one.wait_for_line(seq, "begun")
        os.kill(self.one.process.pid, signal.SIGINT)
        self.assertEqual(self.one.run(self.fine), "fine")
        gate.open()
        self.assertEqual(self.one.result(seq), 1)

    def test_subprocesses_can_be_interrupted(self):
        script = self.script("a.py", """
            import signal, subprocess
            def main(p, c):
                child = subprocess.Popen(["sleep", "100"])
                child.send_signal(signal.SIGINT)
                return child.wait()
        """)
        self.assertEqual(self.one.run(script), -2)


if __name__ == "__main__":
    unittest.main()
