"""Runs the suite: `python3 axion-actors/python/tests`; the same as

    python3 -m unittest discover -s axion-actors/python/tests

AXION_TEST_PYTHON is the interpreter of the workers under test; `all_pythons.py` goes through all.
"""

import os
import sys
import unittest

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    unittest.main(module=None, argv=[sys.argv[0], "discover", "-s", here] + sys.argv[1:])
