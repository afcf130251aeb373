"""Divides a number; by zero, it fails with Python's own error."""


def main(params, context):
    return params["value"] / params["by"]
