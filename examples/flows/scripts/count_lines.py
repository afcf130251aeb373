"""Counts the lines of a file, or estimates them from its first bytes."""

import os

HERE = os.path.dirname(os.path.abspath(__file__))


def main(params, context):
    full = os.path.join(HERE, os.pardir, params["file"])
    size, sample = os.path.getsize(full), params.get("sample")
    with open(full, "rb") as file:
        text = file.read() if sample is None else file.read(sample)
    lines, exact = text.count(b"\n"), len(text) == size
    if not exact and text:
        lines = round(lines * size / len(text))
    return {"lines": lines, "exact": exact}
