"""Passes a value on, like a thread that hands on the result of a process."""


def main(params, context):
    return params["value"]
