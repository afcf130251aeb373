"""The baseline: the least a Python child can do for a task. Reads frames of fixed size from fd 0 and
writes one answer of fixed size per frame to fd 1, one `write` each, as L2 asks of a real worker."""

import os

FRAME, ANSWER = 80, b"x" * 36

held = 0
while True:
    data = os.read(0, 1 << 16)
    if not data:
        break
    held += len(data)
    while held >= FRAME:
        held -= FRAME
        os.write(1, ANSWER)
