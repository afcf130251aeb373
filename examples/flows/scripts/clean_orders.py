"""Reads one part of the orders and sums it up by category; rows that cannot be read are counted and named.

Gets the part as {"part": {"start": ..., "end": ...}} from a step that is mapped over the parts.
"""

import csv
import io
import os

HERE = os.path.dirname(os.path.abspath(__file__))


def main(params, context):
    part = params["part"]
    full = os.path.join(HERE, os.pardir, params["file"])
    with open(full, "rb") as file:
        header = file.readline().decode("utf-8")
        file.seek(part["start"])
        text = file.read(part["end"] - part["start"]).decode("utf-8")
    categories, broken = {}, []
    for row in csv.DictReader(io.StringIO(header + text)):
        try:
            quantity = int(row["quantity"])
            cents = quantity * int(row["price_cents"])
        except ValueError:
            broken.append({"order": row["order"], "quantity": row["quantity"]})
            continue
        entry = categories.setdefault(row["category"], {"orders": 0, "items": 0, "cents": 0})
        entry["orders"] += 1
        entry["items"] += quantity
        entry["cents"] += cents
    return {"categories": categories, "broken": broken}
