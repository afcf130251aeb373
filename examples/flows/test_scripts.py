"""What the example flows give, with their scripts called by hand: standard library only, Python 3.8 and newer.

    python3 examples/flows/test_scripts.py
"""

import csv
import importlib
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "scripts"))


def call(script, **params):
    return importlib.import_module(script).main(params, None)


class Etl(unittest.TestCase):
    def run_with(self, rows):
        split = call("split_csv", file="data/orders.csv", rows=rows)
        parts = [call("clean_orders", file="data/orders.csv", part=part) for part in split["parts"]]
        total = call("add_up", parts=parts)
        report = call("report", totals=total["categories"], broken=total["broken"], source=split["file"])
        return split, total, report

    def test_the_parts_cover_the_file_and_their_sum_is_that_of_the_whole(self):
        with open(os.path.join(HERE, "data", "orders.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        good = [row for row in rows if row["quantity"].isdigit()]
        cents = sum(int(row["quantity"]) * int(row["price_cents"]) for row in good)
        for size in (1, 7, 100, 1000):
            split, total, report = self.run_with(size)
            self.assertEqual(sum(part["rows"] for part in split["parts"]), len(rows))
            self.assertEqual(split["columns"][0], "order")
            self.assertEqual(sum(entry["cents"] for entry in total["categories"].values()), cents)
            self.assertEqual((report["orders"], report["broken"]), (len(good), len(rows) - len(good)))
        self.assertTrue(0 < report["broken"] < 40)
        self.assertIn("| category | orders | items | turnover |", report["text"])

    def test_a_part_needs_at_least_one_row(self):
        for rows in (0, -1, "9", True):
            self.assertRaises(ValueError, call, "split_csv", file="data/orders.csv", rows=rows)


class Branch(unittest.TestCase):
    def test_each_way_gives_lines_and_they_join(self):
        small = call("inspect_file", file="data/orders.csv", large=10**6)
        large = call("inspect_file", file="data/orders.csv", large=1000)
        self.assertEqual((small["is_large"], large["is_large"]), (False, True))
        count = call("count_lines", file=small["file"])
        self.assertEqual(count, {"lines": 361, "exact": True})
        estimate = call("count_lines", file=large["file"], sample=4096)
        self.assertFalse(estimate["exact"])
        self.assertTrue(340 < estimate["lines"] < 380)
        joined = call("join", upstream_results={"count": count})
        self.assertEqual(joined, {"way": "count", "lines": 361, "exact": True})


class Numbers(unittest.TestCase):
    def test_chain_and_chord(self):
        self.assertEqual(call("multiply", value=call("sum", values=[4, 6]), by=10), 100)
        self.assertEqual(call("sum", values=[call("multiply", value=n, by=n) for n in (2, 3, 4)]), 29)

    def test_the_sessions(self):
        passed = [call("pass_on", value=call("sum", values=values)) for values in ([1, 2, 3], [4, 5, 6], [7, 8, 9])]
        self.assertEqual((passed, call("sum", values=passed)), ([6, 15, 24], 45))
        self.assertEqual((call("divide", value=5, by=2), call("divide", value=7, by=2)), (2.5, 3.5))
        self.assertRaises(ZeroDivisionError, call, "divide", value=1, by=0)


if __name__ == "__main__":
    unittest.main()
