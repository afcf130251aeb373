"""The task that does nothing."""


def main(params, context):
    return None
