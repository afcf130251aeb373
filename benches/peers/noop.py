"""The task that does nothing, for the peers.

In a module of its own, so that every peer can send it by name: a function of `__main__` would be
sent by value by some of them, which costs more and is not what a real program does.
"""


def noop(params):
    return None
