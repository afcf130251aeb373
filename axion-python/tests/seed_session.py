"""Runs pieces of code as a person would: files as a program, lines as in the interactive interpreter.

Reads `[kind, source]` pairs as JSON from standard input. Writes what each piece printed, standard error included, and
the traceback if it failed, as JSON to standard output."""

import __main__
import io
import json
import pathlib
import sys
import traceback


def run(kind, source, names):
    printed, out, err = io.StringIO(), sys.stdout, sys.stderr
    sys.stdout = sys.stderr = printed
    failed = None
    try:
        if kind == "file":
            path = pathlib.Path("main.py").absolute()
            path.write_text(source, encoding="utf-8")
            exec(compile(source, str(path), "exec"), names)
        else:
            exec(compile(source, "<stdin>", "single"), names)
    except BaseException:
        failed = traceback.format_exc()
    finally:
        sys.stdout, sys.stderr = out, err
    return printed.getvalue(), failed


if __name__ == "__main__":
    pieces = json.load(sys.stdin)
    json.dump([run(kind, source, vars(__main__)) for kind, source in pieces], sys.stdout)
