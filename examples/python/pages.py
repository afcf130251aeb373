"""Runs many coroutines in the IO pool and prints each result when it is ready."""

import asyncio
import random

import axion


async def load(page):
    await asyncio.sleep(random.random() / 10)
    return "page %d" % page


async def main():
    with axion.Engine(io_bound_count=1) as engine:
        async for page in engine.amap(load, range(20), ordered=False, look_ahead=20):
            print(page)


asyncio.run(main())
