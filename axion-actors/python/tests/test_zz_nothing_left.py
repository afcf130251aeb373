"""Runs last: no process of this run is alive, no file of it is left."""

import os
import unittest

import harness


class NothingLeft(unittest.TestCase):
    def test_no_process(self):
        left = [harness.processes_left()]
        harness.wait_until(lambda: not left[-1] or left.append(harness.processes_left()), "no process: %r" % left)

    def test_no_file(self):
        # The runtime's folder goes when this process ends.
        self.assertEqual([name for name in os.listdir(harness.ROOT) if name not in ("runtime", "hidden")], [])

    def test_no_byte_code_in_the_folder_that_the_engine_embeds(self):
        self.assertFalse(os.path.exists(os.path.join(harness.PYTHON_FOLDER, "axion_worker", "__pycache__")))


if __name__ == "__main__":
    unittest.main()
