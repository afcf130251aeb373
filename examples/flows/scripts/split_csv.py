"""Finds the parts of a CSV file: byte ranges that begin and end with a row.

    axion run examples/flows/scripts/split_csv.py -p file=data/orders.csv -p rows=100

A part is {"start": ..., "end": ..., "rows": ...}; the header belongs to none.
"""

import os

HERE = os.path.dirname(os.path.abspath(__file__))


def main(params, context):
    path = params["file"]
    rows = params.get("rows", 100)
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise ValueError("rows must be a whole number from 1, got %r" % (rows,))
    # Relative to the flow's folder, not to wherever the worker stands.
    full = os.path.join(HERE, os.pardir, path)
    parts, start, count = [], None, 0
    with open(full, "rb") as file:
        header = file.readline()
        start = file.tell()
        for line in iter(file.readline, b""):
            count += 1
            if count == rows:
                parts.append({"start": start, "end": file.tell(), "rows": count})
                start, count = file.tell(), 0
        if count:
            parts.append({"start": start, "end": file.tell(), "rows": count})
    columns = header.decode("utf-8").strip().split(",")
    return {"file": path, "columns": columns, "parts": parts}
