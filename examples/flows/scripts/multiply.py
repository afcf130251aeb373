"""Multiplies a number."""


def main(params, context):
    return params["value"] * params["by"]
