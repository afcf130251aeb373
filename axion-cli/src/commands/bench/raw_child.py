"""The least that a Python process can do for a task: it reads frames of fixed size from fd 0, and writes one answer of
fixed size for each to fd 1, one `write` each, as a worker does whose results must not be lost."""

import os
import signal

# Ctrl-C is its parent's business. It ends with the pipe.
signal.signal(signal.SIGINT, signal.SIG_IGN)

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
