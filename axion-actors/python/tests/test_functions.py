"""Functions: sent once, called by name, with pickled values that may be large, in both kinds of worker."""

import asyncio
import io
import itertools
import os
import pickle
import sys
import unittest
import uuid

from base import Case, OneWorker

from axion_worker import functions as runtime, packing, values, wire
from axion_worker.failure import FailureKind

LARGE = 1 << 20


_versions = itertools.count(1)


def surroundings(path=("", *sys.path), origin=None, **values):
    """What surrounds a function: the tests' own surroundings, but for `values`."""
    origin = origin or (sys.prefix, sys.base_prefix, list(sys.version_info[:2]), [])
    own = {"path": (list(path), origin), "argv": ["program"], "main": None, "depth": 1000, "decimal": None, "filters": [],
           "digits": getattr(sys, "get_int_max_str_digits", int)(), "authkey": None, "files": {}, "stamps": {}}
    return pickle.dumps((next(_versions), {**own, **values}), 4)


def code(function, around, mode=packing.CALL, initializer=None):
    """What the engine sends of a function: here one of a module, within the surroundings of this id."""
    if initializer is not None:
        initializer = pickle.dumps((None, initializer), 4)
    return pickle.dumps((sys.version_info[:2], around, mode, initializer, None, _named(function)), 4)


def _named(function):
    """The pickle of `module:name`, made by hand: the module need not be there."""
    if callable(function):
        return pickle.dumps(function, 4)
    module, name = function.split(":")
    return b"c%s\n%s\n." % (module.encode(), name.encode())


def plainly(value, keep):
    return pickle.dumps(value, 5, buffer_callback=keep)


class Placeholder:
    """In arguments: stands for the value of this number."""

    def __init__(self, number):
        self.number = number


def step_arguments(args, *values):
    """The arguments of a step, as the engine puts them together."""
    class Pickler(pickle.Pickler):
        def persistent_id(self, part):
            return part.number if isinstance(part, Placeholder) else None

    def dumps(value, keep):
        file = io.BytesIO()
        Pickler(file, 5, buffer_callback=keep).dump(value)
        return file.getvalue()

    own = packing.pack((args, {}), dumps)
    return listed(4, own if type(own) is bytes else b"".join(own), *values)


def listed(tag, *parts):
    sizes = b"".join(len(part).to_bytes(8, "little") for part in parts)
    return bytes((tag,)) + len(parts).to_bytes(4, "little") + sizes + b"".join(parts)


class Parts(unittest.TestCase):
    def test_a_part_is_kept_by_its_id_until_it_is_forgotten(self):
        kept, part = runtime.Functions(None, None, only_forward=False), uuid.uuid4().bytes

        def receive(*message):
            frame = wire.encode(wire.DOWN, *message)
            self.assertIsNone(kept.receive(frame, 4, len(frame)))

        receive("Define", part, b"value")
        self.assertEqual(kept.parts, {part: b"value"})
        receive("Forget", part)
        self.assertEqual(kept.parts, {})


class Calls:
    """What every test here does."""

    def define(self, function, paths=(), around=None, **options):
        part, name = uuid.uuid4().bytes, uuid.uuid4().bytes
        self.one.send("Define", part, around or surroundings(path=[*paths, "", *sys.path]))
        self.one.send("Define", name, code(function, part, **options))
        return name

    def call(self, name, *args, raw=None, **kwargs):
        self.one._seq += 1
        raw = pickle.dumps((args, kwargs), 5) if raw is None else raw
        self.one.send("Call", self.one._seq, 1, 0, uuid.uuid4().bytes, name, raw)
        return self.one._seq

    def value(self, seq):
        found, _, data = self.one.expect("Done")
        self.assertEqual(found, seq)
        return packing.unpack(data, pickle.loads, values.loads)

    def module(self, source):
        """A module in a folder of its own: its name and that folder."""
        name = "m" + uuid.uuid4().hex
        return name, os.path.dirname(self.script(name + "/" + name + ".py", source))


class Function(Calls, OneWorker):
    def test_it_is_defined_once_and_called_by_name(self):
        name = self.define(pow)
        self.assertEqual([self.value(self.call(name, 2, 5)), self.value(self.call(name, 2, 5, mod=7))], [32, 4])

    def test_scripts_and_functions_take_turns(self):
        name = self.define(pow)
        for n in range(3):
            self.assertEqual(self.value(self.call(name, 2, n)), 2 ** n)
            self.assertEqual(self.one.run(self.fine), "fine")

    def test_the_callers_folders_are_importable(self):
        module, folder = self.module("def double(n): return 2 * n")
        self.assertEqual(self.value(self.call(self.define(module + ":double", paths=[folder]), 21)), 42)

    def test_a_coroutine_function_is_awaited(self):
        module, folder = self.module("""
            import asyncio
            async def double(n):
                await asyncio.sleep(0)
                return 2 * n
        """)
        name = self.define(module + ":double", paths=[folder])
        self.assertEqual([self.value(self.call(name, n)) for n in (1, 2)], [2, 4])

    def test_many_calls_in_one(self):
        name = self.define(pow, mode=packing.EACH)
        raw = pickle.dumps([(2, n) for n in range(5)])
        self.assertEqual(self.value(self.call(name, raw=raw)), [1, 2, 4, 8, 16])
        name = self.define(abs, mode=packing.EACH_OF_ONE)
        self.assertEqual(self.value(self.call(name, raw=pickle.dumps([-1, 0, 1]))), [1, 0, 1])

    def test_an_exception_comes_as_text_and_as_itself(self):
        failure = self.one.failure(self.call(self.define(pow), 2, "x"))
        self.assertEqual((failure.kind, failure.exception), (FailureKind.EXCEPTION, "TypeError"))
        self.assertIsInstance(pickle.loads(failure.raised), TypeError)

    def test_a_system_exit_is_sent_as_text(self):
        failure = self.one.failure(self.call(self.define(sys.exit), 3))
        self.assertEqual((failure.kind, failure.raised), (FailureKind.SYSTEM_EXIT, b""))

    def test_an_exception_whose_module_is_not_a_string_is_reported(self):
        module, folder = self.module("""
            class Odd(Exception): __module__ = 7
            def fail(): raise Odd("why")
        """)
        failure = self.one.failure(self.call(self.define(module + ":fail", paths=[folder])))
        self.assertEqual((failure.exception, failure.message), ("Odd", "why"))

    def test_an_exception_without_a_pickle_or_with_a_large_one_is_sent_as_text(self):
        module, folder = self.module("""
            def fail(extra):
                class Hidden(Exception): pass
                raise Hidden("why", extra() if callable(extra) else "x" * extra)
        """)
        name = self.define(module + ":fail", paths=[folder])
        for size in (10, 1 << 20):
            failure = self.one.failure(self.call(name, size))
            self.assertIn("Hidden", failure.exception)
            self.assertLess(len(failure.raised), 300 << 10)

    def test_a_result_that_has_no_pickle_fails_the_task(self):
        module, folder = self.module("def make():\n    return (n for n in ())")
        failure = self.one.failure(self.call(self.define(module + ":make", paths=[folder])))
        self.assertEqual(failure.kind, FailureKind.RESULT_NOT_SERIALIZABLE)
        self.assertIn("generator", failure.message)
        self.assertEqual(self.value(self.call(self.define(pow), 2, 2)), 4)

    def test_what_cannot_be_loaded_says_so(self):
        failure = self.one.failure(self.call(self.define("no_such_module:f")))
        self.assertEqual(failure.kind, FailureKind.FUNCTION_NOT_LOADABLE)
        self.assertIn("no_such_module", failure.message)
        failure = self.one.failure(self.call(self.define(pow), raw=b"\x80garbage"))
        self.assertEqual(failure.kind, FailureKind.PARAMS_INVALID)

    def test_an_initializer_runs_once_in_a_worker(self):
        module, folder = self.module("""
            calls = []
            def prepare(value): calls.append(value)
            def seen(): return calls
        """)
        prepare = b"(c%s\nprepare\n(I7\ntt." % module.encode()
        names = [self.define(module + ":seen", paths=[folder], initializer=prepare) for _ in range(2)]
        self.assertEqual([self.value(self.call(name)) for name in names + names], [[7]] * 4)

    def test_an_initializer_that_fails_fails_the_tasks(self):
        prepare = b"(cbuiltins\nint\n(S'x'\ntt."
        for _ in range(2):
            failure = self.one.failure(self.call(self.define(pow, initializer=prepare), 2, 2))
            self.assertEqual(failure.kind, FailureKind.INITIALIZER_FAILED)
            self.assertIn("invalid literal", failure.message)

    def test_the_current_context_can_be_asked_for(self):
        module, folder = self.module("""
            def who():
                import _axion_task
                context = _axion_task.current()
                return context.attempt, context.worker_id
        """)
        self.assertEqual(self.value(self.call(self.define(module + ":who", paths=[folder]))), (1, self.one_id))

    def test_large_buffers_travel_beside_the_pickle_and_can_be_written_to(self):
        name = self.define("builtins:bytearray")
        buffer = pickle.PickleBuffer(bytearray(b"x" * LARGE))
        packed = packing.pack(((buffer,), {}), plainly)
        self.assertIs(type(packed), list)
        self.assertLess(len(packed[0]), 200)
        data = self.value(self.call(name, raw=b"".join(packed)))
        self.assertEqual(bytes(data), b"x" * LARGE)
        module, folder = self.module("""
            from pickle import PickleBuffer
            def change(buffer):
                memoryview(buffer)[0] = 121
                return PickleBuffer(buffer)
        """)
        name = self.define(module + ":change", paths=[folder])
        changed = self.value(self.call(name, raw=b"".join(packed)))
        self.assertEqual((bytes(changed[:2]), len(changed)), (b"yx", LARGE))
        self.assertEqual(self.one.run(self.fine), "fine")

    def raw(self, seq):
        """The bytes of a result."""
        found, _, data = self.one.expect("Done")
        self.assertEqual(found, seq)
        return data

    def same(self):
        """A step that returns what it gets."""
        module, folder = self.module("def same(*values): return values[0] if len(values) == 1 else list(values)")
        return self.define(module + ":same", paths=[folder], mode=packing.STEP)

    def test_a_step_returns_plain_data_as_json(self):
        same = self.same()
        for value in (None, True, 1 << 70, -0.5, "a\ud800\n", [], {}, [1, [2.5, {"a": [None, "b"]}], "c"]):
            data = self.raw(self.call(same, value))
            self.assertIn(data[:1], [b"{", b"[", b'"', b"-", b"t", b"f", b"n"] + [b"%d" % n for n in range(10)])
            self.assertEqual((values.loads(data), type(values.loads(data))), (value, type(value)))

    def test_a_step_returns_what_json_would_change_whole_with_its_json_form(self):
        import collections
        same = self.same()
        cases = [((1, 2), b"[1, 2]"), ([(1,)], b"[[1]]"), ({1: "a"}, b'{"1": "a"}'), ({"a": (None,)}, b'{"a": [null]}'),
                 (collections.OrderedDict(a=1), b'{"a": 1}'), ([[collections.OrderedDict()]], b"[[{}]]")]
        for value, json in cases:
            data = self.raw(self.call(same, value))
            self.assertEqual(data[:10], b"\2\1" + len(json).to_bytes(8, "little"))
            self.assertEqual(data[10:10 + len(json)], json)
            back = packing.unpack(data, pickle.loads, values.loads)
            self.assertEqual((back, type(back)), (value, type(value)))

    def test_a_step_says_what_it_returns_that_has_no_json_form(self):
        same, endless = self.same(), []
        endless.append(endless)
        cases = [(b"x", "a bytes"), ({"a": [1, {2}]}, "a dict with a set in it"), (3j, "a complex"),
                 ([float("inf")], "a list without a JSON form"), ({(1,): 2}, "a dict without a JSON form"),
                 (endless, "a list without a JSON form")]
        for value, words in cases:
            data = self.raw(self.call(same, value))
            end = 10 + int.from_bytes(data[2:10], "little")
            self.assertEqual((data[:2], data[10:end].decode()[:len(words)]), (b"\2\0", words))
            back = packing.unpack(data, pickle.loads, values.loads)
            self.assertEqual(repr(back), repr(value))
        module, folder = self.module("def make():\n    return [n for n in (1, (n for n in ()))]")
        name = self.define(module + ":make", paths=[folder], mode=packing.STEP)
        self.assertEqual(self.one.failure(self.call(name)).kind, FailureKind.RESULT_NOT_SERIALIZABLE)

    def test_values_replace_the_placeholders_in_the_arguments_of_a_step(self):
        same = self.same()
        packed = pickle.dumps({3j}, 5)
        raw = step_arguments((Placeholder(0), [Placeholder(1), {"k": (Placeholder(0),)}], Placeholder(packing.ELEMENT)),
                     b'{"a": [1.5]}', packing.add_description(packed, None, "a set"), listed(3, b"1", packed))
        found = packing.unpack(self.raw(self.call(same, raw=raw)), pickle.loads, values.loads)
        self.assertEqual(found, [{"a": [1.5]}, [{3j}, {"k": ({"a": [1.5]},)}], [1, {3j}]])
        self.assertIs(found[0], found[1][1]["k"][0], "each value is made once")
        self.assertEqual(self.value(self.call(same, raw=step_arguments((4,)))), 4)

    def test_large_buffers_of_a_steps_arguments_and_results_are_not_copied(self):
        module, folder = self.module("""
            from pickle import PickleBuffer
            def change(own, other):
                memoryview(own)[0] = memoryview(other)[0] = 121
                return PickleBuffer(other)
        """)
        name = self.define(module + ":change", paths=[folder], mode=packing.STEP)
        buffer = pickle.PickleBuffer(bytearray(b"x" * LARGE))
        other = b"".join(packing.add_description(packing.pack(buffer, plainly), None, "a buffer"))
        data = self.raw(self.call(name, raw=step_arguments((buffer, Placeholder(0)), other)))
        self.assertEqual(data[:2], b"\2\0")
        found = packing.unpack(data, pickle.loads, values.loads)
        self.assertEqual((bytes(found[:2]), len(found)), (b"yx", LARGE))

    def test_values_that_cannot_be_read_fail_the_step(self):
        same = self.same()
        for value in (b"\x80garbage", b"{", listed(3, b"\x80")):
            failure = self.one.failure(self.call(same, raw=step_arguments((Placeholder(0),), value)))
            self.assertEqual(failure.kind, FailureKind.PARAMS_INVALID)
        failure = self.one.failure(self.call(same, raw=step_arguments((Placeholder(1),), b"1")))
        self.assertEqual(failure.kind, FailureKind.PARAMS_INVALID)

    def test_a_result_above_the_payload_limit_fails_the_task(self):
        module, folder = self.module("def much(): return bytearray(140 << 20)")
        failure = self.one.failure(self.call(self.define(module + ":much", paths=[folder])))
        self.assertEqual(failure.kind, FailureKind.RESULT_TOO_LARGE)

    def test_a_forgotten_function_still_answers_what_was_sent_before(self):
        name = self.define(pow)
        seq = self.call(name, 2, 2)
        self.one.send("Forget", name)
        self.assertEqual(self.value(seq), 4)


class InInline(Function, Case):
    one_id = "cpu-0"


class InThreaded(Function, Case):
    slots = 4
    one_id = "cpu-0"

    def test_a_coroutine_is_reported_to_the_engine(self):
        module, folder = self.module("async def one(): return 1")
        name = self.define(module + ":one", paths=[folder])
        seq = self.call(name)
        self.assertEqual(self.value(seq), 1)
        self.assertIn((seq, True), self.one.loaded)


class Misbehaviour(Calls, Case):
    def test_a_call_of_what_was_not_defined_ends_the_worker(self):
        self.one = self.worker()
        self.call(uuid.uuid4().bytes)
        self.assertIsNone(self.one.receive())


class Asynchronous(unittest.TestCase):
    def test_what_is_a_coroutine_function(self):
        import functools

        async def one():
            pass

        class Callable:
            async def __call__(self):
                pass

            async def method(self):
                pass

        for found in (one, functools.partial(one), Callable(), Callable().method):
            self.assertTrue(runtime.is_async(found), found)
        for found in (print, len, lambda: one(), Callable, asyncio.sleep.__name__.upper):
            self.assertFalse(runtime.is_async(found), found)



if __name__ == "__main__":
    unittest.main()
