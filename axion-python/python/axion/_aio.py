"""The engine in an event loop: one descriptor in the loop says that something has ended."""

import asyncio
from collections import deque
from itertools import count

from . import _axion
from ._code import pack, unpack
from ._engine import _NOW, _WAIT, native_options
from ._future import failure_reason
from .errors import SubmitError, refused


class _LoopInbox:
    """What the coroutines of one loop wait for."""

    def __init__(self, loop):
        self.completions = _axion.Completions()
        self.waiting = {}
        self.numbers = count(1)
        self.entering = asyncio.Lock()
        self._loop = loop
        loop.add_reader(self.completions.fileno(), self._read)
        self.completions.arm()

    def _read(self):
        while found := self.completions.arm():
            for number, data, record in found:
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
    work, payload = engine._call.function(fn), pack(args, kwargs)
    inbox = _inbox(engine, loop)
    waiter, number = loop.create_future(), next(inbox.numbers)
    inbox.waiting[number] = waiter
    call = work, payload, options, inbox.completions, number
    task_id = None
    try:
        if not inbox.entering.locked():
            task_id = _enter(native, call)
        if task_id is None:
            task_id = await _enter_when_there_is_room(native, call, inbox.entering)
        return await waiter
    except asyncio.CancelledError:
        if task_id is not None and number in inbox.waiting:
            _cancel(native, task_id)
        raise
    finally:
        inbox.waiting.pop(number, None)


def _enter(native, call):
    """The task's id; None if the queue is full."""
    try:
        return native.submit(*call, _NOW)
    except RuntimeError as error:
        error = refused(error)
        if not isinstance(error, SubmitError) or error.code != "queue_full":
            raise error from None
        return None


async def _enter_when_there_is_room(native, call, entering):
    """In a thread: the loop goes on. It has its other threads for itself: one enters after the other, and who is
    cancelled leaves its turn to the next one only when its thread is back.
    """
    entered, given_up = [], []

    def enter():
        if given_up:
            return None
        entered.append(native.submit(*call, _WAIT))
        if given_up:
            _cancel(native, entered[0])
        return entered[0]

    await entering.acquire()
    try:
        thread = asyncio.get_running_loop().run_in_executor(None, enter)
    except BaseException:
        entering.release()
        raise
    thread.add_done_callback(lambda _: entering.release())
    try:
        return await asyncio.shield(thread)
    except RuntimeError as error:
        raise refused(error) from None
    except asyncio.CancelledError:
        # Whoever of the two is the later one sees what the other has left.
        given_up.append(True)
        if entered:
            _cancel(native, entered[0])
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
    most = look_ahead or 2 + 2 * max(engine.config.cpu_bound_count or 0, engine.config.io_bound_count or 0, 1)
    flying, ended = deque(), asyncio.Queue()

    def fill():
        while len(flying) < most:
            for item in items:
                task = asyncio.ensure_future(run(engine, options, fn, item, {}))
                flying.append(task)
                if not ordered:
                    task.add_done_callback(ended.put_nowait)
                break
            else:
                return

    try:
        fill()
        while flying:
            if ordered:
                value = await flying[0]
                flying.popleft()
            else:
                task = await ended.get()
                flying.remove(task)
                value = task.result()
            yield value
            fill()
    finally:
        for task in flying:
            task.cancel()
        if flying:
            await asyncio.gather(*flying, return_exceptions=True)
