"""Says how large a file is, and whether that is large."""

import os

HERE = os.path.dirname(os.path.abspath(__file__))


def main(params, context):
    size = os.path.getsize(os.path.join(HERE, os.pardir, params["file"]))
    return {"file": params["file"], "bytes": size, "is_large": size >= params["large"]}
