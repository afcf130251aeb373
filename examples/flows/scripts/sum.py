"""Adds numbers."""


def main(params, context):
    return sum(params["values"])
