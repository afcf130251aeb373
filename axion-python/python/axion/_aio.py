"""The engine in an event loop, which watches one descriptor for completions."""

import asyncio
from collections import deque
from itertools import count

from . import _axion
from ._code import Packed, pack, unpack
from ._engine import _NOW, _WAIT, native_options
from ._future import failure_reason
from .errors import SubmitError, refused


class _LoopInbox:
    """The completions that the coroutines of one loop await."""

    def __init__(self, loop):
        self.completions = _axion.Completions()
        self.waiting = {}
        self.numbers = count(1)
        self.submitting = asyncio.Lock()
        self._loop = loop
        loop.add_reader(self.completions.fileno(), self._read)
        self.completions.arm()

    def _read(self):
        while completions := self.completions.arm():
            for number, data, record in completions:
                waiter = self.waiting.pop(number, None)
                if waiter is None or waiter.done():
                    continue
                try:
                    if data is not None:
                        waiter.set_result(unpack(data))
                    elif type(record) is _axion.WorkflowRecord:
                        waiter.set_result(record)
                    else:
                        waiter.set_exception(failure_reason(record))
                except BaseException as error:
                    waiter.set_exception(error)


def _inbox(engine, loop):
    inbox = engine._loops.get(loop)
    if inbox is None:
        inbox = engine._loops[loop] = _LoopInbox(loop)
    return inbox


async def run(engine, options, fn, args, kwargs):
    native, loop = engine._running_native(), asyncio.get_running_loop()
    if type(options) is not _axion.Options:
        options = native_options(fn, options)
    payload = pack(args, kwargs, fn)
    if type(payload) is Packed:
        work, _hold = engine._call.function_for(fn, payload)
        payload = payload.payload
    else:
        work, _hold = engine._call.function(fn)
    inbox = _inbox(engine, loop)
    waiter, number = loop.create_future(), next(inbox.numbers)
    inbox.waiting[number] = waiter
    call = work, payload, options, inbox.completions, number
    task_id = None
    try:
        if not inbox.submitting.locked():
            task_id = _try_submit(native, call)
        if task_id is None:
            task_id = await _submit_when_there_is_room(native, call, inbox.submitting)
        return await waiter
    except asyncio.CancelledError:
        if task_id is not None and number in inbox.waiting:
            _cancel(native, task_id)
        raise
    finally:
        inbox.waiting.pop(number, None)


def _try_submit(native, call):
    """Returns the task's id, or None if the queue is full."""
    try:
        return native.submit(*call, _NOW)
    except RuntimeError as error:
        error = refused(error)
        if not isinstance(error, SubmitError) or error.code != "queue_full":
            raise error from None
        return None


async def _submit_when_there_is_room(native, call, submitting):
    """Submits in a thread, so that the loop goes on.

    Only one thread of the loop's executor waits at a time. A cancelled coroutine keeps the lock until its thread has
    returned.
    """
    submitted, cancelled = [], []

    def submit():
        if cancelled:
            return None
        submitted.append(native.submit(*call, _WAIT))
        if cancelled:
            _cancel(native, submitted[0])
        return submitted[0]

    await submitting.acquire()
    try:
        thread = asyncio.get_running_loop().run_in_executor(None, submit)
    except BaseException:
        submitting.release()
        raise
    thread.add_done_callback(lambda _: submitting.release())
    try:
        return await asyncio.shield(thread)
    except RuntimeError as error:
        raise refused(error) from None
    except asyncio.CancelledError:
        # Both sides check the other's list after filling their own, so at least one of them cancels.
        cancelled.append(True)
        if submitted:
            _cancel(native, submitted[0])
        raise


def _cancel(native, task_id):
    try:
        native.cancel(task_id)
    except RuntimeError:
        pass  # the engine has ended, and the task with it


class _Submitted:
    id = None

    def _name(self, titles):
        pass


async def run_workflow(engine, tasks, options):
    from ._workflow import results_of, submit

    native, loop, workflow = engine._running_native(), asyncio.get_running_loop(), _Submitted()
    inbox = _inbox(engine, loop)
    waiter, number = loop.create_future(), next(inbox.numbers)
    inbox.waiting[number] = waiter
    try:
        submit(engine, native, workflow, tasks, options, inbox.completions, number)
        return results_of(await waiter)
    except asyncio.CancelledError:
        if number in inbox.waiting:
            try:
                native.cancel_workflow(workflow.id)
            except RuntimeError:
                pass  # the engine has ended, and the workflow with it
        raise
    finally:
        inbox.waiting.pop(number, None)


async def amap(engine, options, fn, iterables, ordered=True, look_ahead=None):
    items = zip(*iterables)
    max_in_flight = look_ahead or 2 + 2 * max(engine.config.cpu_bound_count or 0, engine.config.io_bound_count or 0, 1)
    in_flight, finished = deque(), asyncio.Queue()

    def submit_ahead():
        while len(in_flight) < max_in_flight:
            for item in items:
                task = asyncio.ensure_future(run(engine, options, fn, item, {}))
                in_flight.append(task)
                if not ordered:
                    task.add_done_callback(finished.put_nowait)
                break
            else:
                return

    try:
        submit_ahead()
        while in_flight:
            if ordered:
                value = await in_flight[0]
                in_flight.popleft()
            else:
                task = await finished.get()
                in_flight.remove(task)
                value = task.result()
            yield value
            submit_ahead()
    finally:
        for task in in_flight:
            task.cancel()
        if in_flight:
            await asyncio.gather(*in_flight, return_exceptions=True)
