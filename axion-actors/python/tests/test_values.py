"""Results and parameters as JSON: what passes, and how what does not is named."""

import json
import time
import unittest

from base import Case, OneWorker
from harness import LIMIT
from axion_worker import values
from axion_worker.failure import FailureKind

DEEP = 100_000


class Values(OneWorker, Case):
    def setUp(self):
        super().setUp()
        self.eval = self.script("eval.py", """
            import collections, datetime, decimal, enum
            def main(params, context): return eval(params["code"])
        """)

    def refused(self, code, *words):
        failure = self.one.fail(self.eval, {"code": code})
        self.assertEqual(failure.kind, FailureKind.RESULT_NOT_SERIALIZABLE, failure)
        for word in words:
            self.assertIn(word, failure.message)
        self.assertEqual(self.one.run(self.eval, {"code": "1"}), 1)
        return failure.message

    def test_what_json_has_comes_through(self):
        for code, value in (
            ("None", None), ("True", True), ("0", 0), ("-1.5e300", -1.5e300), ("''", ""), ("'ü\\0\\n'", "ü\0\n"),
            ("[]", []), ("{}", {}), ("(1, 2)", [1, 2]), ("{'a': [{}, None]}", {"a": [{}, None]}),
            ("{1: 2, True: 3, None: 4, 1.5: 6}", {"1": 3, "null": 4, "1.5": 6}),
            ("10 ** 400", 10 ** 400), ("collections.OrderedDict(a=1)", {"a": 1}),
            ("enum.IntEnum('E', 'A B').B", 2), ("'x' * 3000000", "x" * 3000000),
        ):
            with self.subTest(code):
                self.assertEqual(self.one.run(self.eval, {"code": code}), value)

    def test_lone_surrogates_are_escapes(self):
        self.one.submit(self.eval, {"code": "['\\ud800', chr(0xdfff)]"})
        self.assertEqual(self.one.expect("Done")[2], b'["\\ud800", "\\udfff"]')
        self.assertEqual(self.one.run(self.eval, {"code": "[ord(c) for c in params['x']]", "x": "\ud83d"}), [0xd83d])

    def test_a_part_without_a_form_is_named_with_its_place(self):
        self.refused("datetime.datetime(2020, 1, 1)", "result is of type datetime.datetime")
        self.refused("{'a': [1, {'b': datetime.date(2020, 1, 1)}]}", "result['a'][1]['b'] is of type datetime.date")
        self.refused("[{1, 2}]", "result[0] is of type set")
        self.refused("(b'x',)", "result[0] is of type bytes")
        self.refused("{'d': decimal.Decimal(1)}", "result['d'] is of type decimal.Decimal")
        self.refused("[main]", "result[0] is of type function")

    def test_numbers_without_a_form(self):
        self.refused("[0.0, float('nan')]", "result[1] is nan")
        self.refused("{'x': float('inf')}", "result['x'] is inf")
        self.refused("-float('inf')", "result is -inf")
        self.refused("{float('nan'): 1}", "nan")

    def test_keys_without_a_form(self):
        self.refused("{'a': {(1, 2): 3}}", "result['a']", "tuple")
        self.refused("{b'a': 1}", "bytes")

    def test_keys_that_would_become_one(self):
        self.refused("{1: 'one', '1': 'uno'}", "result has the keys 1 and '1', which are one key in JSON")
        self.refused("[{'a': {True: 1, 'true': 2}}]", "result[0]['a'] has the keys True and 'true'")
        self.refused("{'null': 1, None: 2}", "the keys 'null' and None")
        self.refused("{1.5: 1, '1.5': 2}", "the keys 1.5 and '1.5'")
        self.refused("{-7: 1, 'x': 3, '-7': 2}", "the keys -7 and '-7'")
        fine = "{'1': {1: 2, 2: 3}, 'a1': [{'1': 4}, {1: 5}], 'true': True}"
        self.assertEqual(self.one.run(self.eval, {"code": fine}),
                         {"1": {"1": 2, "2": 3}, "a1": [{"1": 4}, {"1": 5}], "true": True})

    def test_the_json_of_a_function_s_result_has_each_key_once(self):
        self.assertIsNone(values.json_or_description({1: "one", "1": "uno"})[0])
        self.assertEqual(values.json_or_description({1: "one", "2": "two"})[0], b'{"1": "one", "2": "two"}')

    def test_a_value_that_contains_itself(self):
        self.refused("(lambda a: a.append(a) or a)([])", "contains itself")
        self.refused("(lambda a: a.update(b=[1, a]) or a)({})", "result['b'][1] contains itself")
        # Used twice is not contained.
        self.assertEqual(self.one.run(self.eval, {"code": "(lambda a: [a, a, {'b': a}])([1])"}), [[1], [1], {"b": [1]}])

    def test_a_failed_result_leaves_nothing_behind(self):
        script = self.script("shared.py", """
            import datetime
            shared = {"bad": None}
            def main(params, context):
                shared["bad"] = datetime.date.today() if params["bad"] else 1
                return [shared]
        """)
        self.assertEqual(self.one.fail(script, {"bad": True}).kind, FailureKind.RESULT_NOT_SERIALIZABLE)
        self.assertEqual(self.one.run(script, {"bad": False}), [{"bad": 1}])

    def test_two_tasks_that_return_the_same_container_at_once(self):
        script = self.script("shared.py", """
            import threading
            both = threading.Barrier(2)
            class Shared(dict):
                meet = True
                def items(self):
                    if self.meet: both.wait()
                    self.meet = False
                    return super().items()
            shared = Shared(a=1)
            def main(params, context): return [shared]
        """)
        worker = self.worker(slots=2)
        self.assertEqual(worker.results(*worker.submit_together((script, {}), (script, {}))), [[{"a": 1}]] * 2)

    def test_a_place_far_into_a_long_result(self):
        self.refused("[0] * 300000 + [{1}]", "result[300000] is of type set")

    def test_a_result_nested_too_deeply(self):
        script = self.script("deep.py", """
            def main(params, context):
                value = bottom = []
                for _ in range(params["depth"] - 1):
                    value = [value] if params["list"] else {"key": value}
                if params["bad"]: bottom.append({1})
                return value
        """)
        for as_list in (True, False):
            for bad in (True, False):
                with self.subTest(as_list=as_list, bad=bad):
                    failure = self.one.fail(script, {"depth": DEEP, "list": as_list, "bad": bad})
                    self.assertEqual(failure.kind, FailureKind.RESULT_NOT_SERIALIZABLE)
                    self.assertIn("set" if bad else "nested too deeply", failure.message)
                    self.assertLess(len(failure.message), 1000)
        with open("/proc/%d/status" % self.one.process.pid) as file:
            peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        self.assertLess(peak, 300_000, "KiB: finding the place took too much memory")
        self.assertEqual(self.one.run(script, {"depth": 100, "list": True, "bad": False}).__len__(), 1)

    def test_values_whose_own_code_raises(self):
        script = self.script("hostile.py", """
            class Dict(dict):
                def items(self): raise LookupError("no items")
            class Key(str):
                def __repr__(self): raise LookupError("no repr")
            def main(params, context):
                return Dict(a=1) if params["dict"] else {Key("a"): {1}}
        """)
        for which in (True, False):
            failure = self.one.fail(script, {"dict": which})
            self.assertIn(failure.kind, (FailureKind.EXCEPTION, FailureKind.RESULT_NOT_SERIALIZABLE))
        self.assertEqual(self.one.run(self.eval, {"code": "1"}), 1)

    def test_a_result_at_and_over_the_payload_limit(self):
        head = 4 + 8 + 8 + 8
        worker = self.worker(frame_limit=10_000, payload_limit=10_000 - head)
        exact = "'x' * %d" % (10_000 - head - 2)
        self.assertEqual(len(worker.run(self.eval, {"code": exact})), 10_000 - head - 2)
        failure = worker.fail(self.eval, {"code": exact + " + 'x'"})
        self.assertEqual(failure.kind, FailureKind.RESULT_TOO_LARGE)
        self.assertIn("9973 bytes", failure.message)
        self.assertIn("9972", failure.message)
        self.assertEqual(worker.run(self.eval, {"code": "1"}), 1)

    # Parameters.

    def echo(self):
        return self.script("echo.py", "def main(params, context): return params")

    def test_params_come_through_exactly(self):
        echo = self.echo()
        for raw in (b"null", b"[]", b'"\\ud83d\\ude00 \\ud800"', b"123456789012345678901234567890123456789012345678901",
                    b"[-0.0, 1e3, 1E-7, 0.1]", b'{"a": {"b": [true, false, null]}}', '"ü\u2028 𝄞"'.encode()):
            with self.subTest(raw):
                seq = self.one.submit(echo, raw=raw)
                self.assertEqual(json.dumps(self.one.result(seq)), json.dumps(json.loads(raw)))

    def test_whitespace_around_params(self):
        self.assertEqual(self.one.result(self.one.submit(self.echo(), raw=b' \t\r\n {"a" : 1}\n ')), {"a": 1})

    def test_params_that_are_not_json(self):
        echo = self.echo()
        for raw in (b"", b"   ", b"{", b"[1,", b"{'a': 1}", b"nope", b"NaN", b"[Infinity]", b"1 2", b"{} x",
                    b'"\xff"', b'"a\nb"', b"\x0c1", "\u00a01".encode(), b"[1]]", b'{"a":1,}'):
            with self.subTest(raw):
                failure = self.one.failure(self.one.submit(echo, raw=raw))
                self.assertEqual(failure.kind, FailureKind.PARAMS_INVALID, failure)
                self.assertTrue(failure.message.startswith("the parameters are not JSON: "), failure.message)
        self.assertEqual(self.one.run(echo, 1), 1)

    def test_params_nested_too_deeply(self):
        for raw in (b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP):
            failure = self.one.failure(self.one.submit(self.echo(), raw=raw))
            self.assertEqual(failure.kind, FailureKind.PARAMS_INVALID)
            self.assertIn("nested too deeply", failure.message)
        self.assertEqual(self.one.run(self.echo(), [[[[]]]]), [[[[]]]])

    def test_params_of_many_reads(self):
        text = "0123456789" * 500_000
        self.assertEqual(self.one.run(self.echo(), text), text)
        # Large and small ones in one write, so that frames straddle the reads in many ways.
        tasks = [(self.echo(), "x" * size) for size in (1, 65_500, 3, 70_000, 65_536, 200_000, 5, 65_480, 65_400, 0)]
        self.assertEqual(self.one.results(*self.one.submit_together(*tasks)), [text for _, text in tasks])

    def test_params_over_the_frame_limit_end_the_worker(self):
        # The engine never sends such a frame: it is garbage (L8).
        worker = self.worker(frame_limit=10_000)
        try:
            worker.submit(self.echo(), "x" * 200_000)
        except BrokenPipeError:  # it ended before it had read all
            pass
        self.assertEqual(worker.process.wait(LIMIT), 1)

    def test_a_frame_that_arrives_byte_by_byte(self):
        seq, frame = self.one.frame(self.echo(), {"a": 1})
        for at in range(len(frame)):
            self.one.send_raw(frame[at:at + 1])
        self.assertEqual(self.one.result(seq), {"a": 1})

    def test_the_time_of_a_task_is_measured(self):
        script = self.script("slow.py", "import time\ndef main(p, c): time.sleep(0.02)")
        for slots in (1, 4):
            worker = self.worker(slots=slots)
            begun = time.monotonic_ns()
            worker.submit(script)
            nanos = worker.expect("Done")[1]
            self.assertGreater(nanos, 19_000_000)
            self.assertLess(nanos, time.monotonic_ns() - begun)


class ValuesWithoutTheCPart(Case):
    def test_the_same_rules_hold(self):
        # An interpreter without `_json`: a stand-in that fails to import, ahead of the real one.
        self.script("lib/sitecustomize.py", "import sys; sys.modules['_json'] = None")
        script = self.script("eval.py", "def main(params, context): return eval(params['code'])")
        worker = self.worker(env={"PYTHONPATH": self.path("lib")})
        self.assertEqual(worker.run(script, {"code": "{'a': (1, 'ü')}"}), {"a": [1, "ü"]})
        self.assertIn("result[0] is of type set", worker.fail(script, {"code": "[{1}]"}).message)
        self.assertIn("result[0] is nan", worker.fail(script, {"code": "[float('nan')]"}).message)
        for raw in (b"NaN", b"[1", b"{} x", b"\x0c1"):
            self.assertEqual(worker.failure(worker.submit(script, raw=raw)).kind, FailureKind.PARAMS_INVALID, raw)
        self.assertEqual(worker.run(script, {"code": "'on'"}), "on")


if __name__ == "__main__":
    unittest.main()
