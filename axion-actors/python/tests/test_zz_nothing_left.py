"""Runs last: no process of this run is alive, no folder of it is left."""

import glob
import os
import tempfile
import unittest

import harness


class NothingLeft(unittest.TestCase):
    def test_no_process(self):
        left = []
        harness.wait_until(lambda: not left.__imul__(0) and not left.extend(harness.processes_left()) and not left,
                           "the end of every process")
        self.assertEqual(left, [])

    def test_no_file(self):
        # The runtime's folder goes when this process ends.
        mine = [path for path in glob.glob(os.path.join(tempfile.gettempdir(), "axion-test-*"))
                if path != harness._shared and os.stat(path).st_mtime > harness.STARTED]
        self.assertEqual(mine, [])
        compiled = [path for path, _, _ in os.walk(os.path.join(harness.PYTHON_FOLDER, "axion_worker"))
                    if path.endswith("__pycache__")]
        self.assertEqual(compiled, [], "byte code in the folder that the engine embeds")


if __name__ == "__main__":
    unittest.main()
