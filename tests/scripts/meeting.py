"""Two coroutines that can only end together: each waits for the other (C4-4)."""

import asyncio

ARRIVED = {}


async def main(params, context):
    here = ARRIVED.setdefault(params["me"], asyncio.Event())
    other = ARRIVED.setdefault(params["other"], asyncio.Event())
    here.set()
    await other.wait()
    return params["me"]
