"""Says which process it runs in, after a while that keeps its worker busy."""

import os
import time


def main(params, context):
    time.sleep(0.005)
    return os.getpid()
