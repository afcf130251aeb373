"""The examples run."""

import importlib.util
import os
import subprocess
import sys

import pytest
from helpers import LONG

FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "python")


@pytest.mark.parametrize("name, needs, word", [("sklearn_on_axion", "sklearn", "mean score 0."),
                                               ("dask_on_axion", "dask", "285"), ("pages", "asyncio", "page 19"),
                                               ("orders", "axion", "# Turnover in data/orders.csv")])
def test_an_example(name, needs, word):
    if importlib.util.find_spec(needs) is None:
        pytest.skip("%s is not installed" % needs)
    done = subprocess.run([sys.executable, os.path.join(FOLDER, name + ".py")], capture_output=True, text=True,
                          timeout=LONG)
    assert word in done.stdout and (done.stderr, done.returncode) == ("", 0), done
