"""What inline and threaded workers do alike with a coroutine task.

Only called once `library.asyncio` has loaded the module.
"""

from .failure import Kind, SoftTimeout, TaskFailure


async def awaited(awaitable, context):
    """Ends in `(error, value)`: no exception of a task reaches the event loop, SystemExit included."""
    from asyncio import CancelledError

    try:
        if context.cancelled or context._soft:  # before its first step
            getattr(awaitable, "close", bool)()
            raise CancelledError
        return None, await awaitable
    except CancelledError as error:
        if context._soft:
            late = SoftTimeout()
            late.__cause__ = error
            return late, None
        if context.cancelled:
            failure = TaskFailure(Kind.CANCELLED, "the task was cancelled")
            failure.__cause__ = error
            return failure, None
        return error, None
    except BaseException as error:
        return error, None


def cancel_all(loop):
    """Ends what a coroutine task left running behind it."""
    import asyncio

    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
