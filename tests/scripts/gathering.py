"""Coroutines that wait until as many of their group are there as should be."""

import asyncio

_groups = {}


async def main(params, context):
    group = _groups.setdefault(params["group"], {"here": 0, "all": asyncio.Event()})
    group["here"] += 1
    if group["here"] == params["count"]:
        group["all"].set()
    await group["all"].wait()
    return group["here"]
