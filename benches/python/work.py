"""What is called: in a module, so that every runner can import it."""


def nothing(_=None):
    return None


def same(value):
    return value
