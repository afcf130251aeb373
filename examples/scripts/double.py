"""Doubles a number: the smallest task there is.

    axion run examples/scripts/double.py -p value=21
"""


def main(params, context):
    return {"result": params.get("value", 0) * 2, "status": "success"}
