"""Runs a coroutine task, for inline and threaded workers.

Call it only after `library.asyncio` has loaded the module.
"""

from .failure import FailureKind, SoftTimeout, TaskFailure


async def run_task(awaitable, context):
    """Returns `(error, value)`: no exception of a task reaches the event loop, SystemExit included."""
    from asyncio import CancelledError

    try:
        if context.cancelled or context._is_overdue:  # before its first step
            getattr(awaitable, "close", bool)()
            raise CancelledError
        return None, await awaitable
    except CancelledError as error:
        if context._is_overdue:
            timeout = SoftTimeout()
            timeout.__cause__ = error
            return timeout, None
        if context.cancelled:
            failure = TaskFailure(FailureKind.CANCELLED, "the task was cancelled")
            failure.__cause__ = error
            return failure, None
        return error, None
    except BaseException as error:
        return error, None


def cancel_remaining(loop):
    """Cancels what a coroutine task left running on the loop, and waits for its end."""
    import asyncio

    remaining = asyncio.all_tasks(loop)
    for task in remaining:
        task.cancel()
    if remaining:
        loop.run_until_complete(asyncio.gather(*remaining, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
