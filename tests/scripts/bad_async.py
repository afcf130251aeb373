"""A coroutine that never ends by itself."""

import asyncio
import os


async def main(params, context):
    print(os.getpid())
    await asyncio.sleep(1000)
