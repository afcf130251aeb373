"""Waits many times at once, like a task that talks to many servers.

    axion run examples/scripts/async_waits.py -p count=1000 -p seconds=0.5

`main` is a coroutine, so many such tasks share one event loop of an IO worker.
"""

import asyncio
import time

MOST = 100000


async def main(params, context):
    count, seconds = params.get("count", 100), params.get("seconds", 0.1)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= MOST:
        raise ValueError("count must be a whole number from 1 to %d, got %r" % (MOST, count))
    # `not >=` also refuses NaN, which compares false with everything.
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 <= seconds <= 3600:
        raise ValueError("seconds must be a number from 0 to 3600, got %r" % (seconds,))

    begun = time.monotonic()
    await asyncio.gather(*(asyncio.sleep(seconds) for _ in range(count)))
    return {"elapsed": time.monotonic() - begun, "in_a_row": count * seconds}
