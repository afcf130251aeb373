"""Passes a value on, as a thread that hands a process's result to somebody would."""


def main(params, context):
    return params["value"]
