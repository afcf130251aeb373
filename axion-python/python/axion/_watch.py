"""Watching an engine: its facts and notices as an iterator, for threads and for event loops."""

import json
import logging
import threading
from collections import deque
from dataclasses import dataclass

_logger = logging.getLogger("axion")


@dataclass(frozen=True)
class Event:
    """A fact or a notice of the engine (docs/reference/facts.md).

    `kind` is its name, `task_id` the task that it is about or None, and `data` everything as in JSON. The kinds
    `facts_missed` and `notices_missed` say in `data["count"]` how many were dropped, because they were read too slowly.
    """

    kind: str
    task_id: object
    data: dict


class Watch:
    """The events of an engine from its creation on: an iterator and an async iterator, which ends with the engine.

    The engine never waits for the reader. It keeps 32 MiB of facts and 4 MiB of notices for it, then drops the oldest
    ones and says how many. Close the watch, or use it as a context manager, when you need it no more.
    """

    def __init__(self, engine, native):
        self._engine, self._native = engine, native
        self._ready = deque()
        self._mailbox = None

    def _take_from(self):
        if self._engine._forked:
            from .errors import EngineError

            raise EngineError("the engine belongs to the parent process, before the fork", "forked")
        if self._mailbox is None:
            self._mailbox = _Mailbox()
            # The thread holds no reference to the watch: one that nobody holds any more closes itself.
            reader = threading.Thread(target=_read, args=(self._native, self._mailbox), name="axion-watch", daemon=True)
            reader.start()
        return self._mailbox

    def __iter__(self):
        return self

    def __next__(self):
        if not self._ready:
            batch = self._take_from().take()
            if batch is None:
                raise StopIteration
            self._ready.extend(batch)
        return self._event()

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self._ready:
            batch = await self._take_from().take_async()
            if batch is None:
                raise StopAsyncIteration
            self._ready.extend(batch)
        return self._event()

    def _event(self):
        kind, task_id, text = self._ready.popleft()
        return Event(kind, task_id, json.loads(text))

    def close(self):
        """Ends the watch, also for a thread or a coroutine that waits for the next event."""
        self._native.close()
        if self._mailbox is not None:
            self._mailbox.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if hasattr(self, "_mailbox"):
            self.close()


class _Mailbox:
    """One batch between the thread that reads from the engine and the reader of the watch.

    The thread takes the next batch from the engine when this one is taken, so the engine's own bounds hold (L9)."""

    def __init__(self):
        self._changed = threading.Condition()
        self._batch = None
        self._ended = False
        self._waiters = []  # of event loops: (loop, future)

    def put(self, batch):
        """Waits until the last batch has been taken. Returns whether there is still a reader."""
        with self._changed:
            self._changed.wait_for(lambda: self._batch is None or self._ended)
            if not self._ended:
                self._batch = batch
                self._wake()
            return not self._ended

    def take(self):
        """The next batch; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._batch is not None or self._ended)
            return self._taken()

    async def take_async(self):
        """The next batch; None at the end."""
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                if self._batch is not None or self._ended:
                    return self._taken()
                waiter = loop.create_future()
                self._waiters.append((loop, waiter))
            try:
                await waiter
            finally:
                with self._changed:
                    self._waiters = [other for other in self._waiters if other[1] is not waiter]

    def close(self):
        with self._changed:
            self._ended = True
            self._wake()

    def _taken(self):
        batch, self._batch = self._batch, None
        self._changed.notify_all()
        return batch

    def _wake(self):
        self._changed.notify_all()
        for loop, waiter in self._waiters:
            try:
                loop.call_soon_threadsafe(_resolve, waiter)
            except RuntimeError:
                pass  # the loop is closed


def _resolve(waiter):
    if not waiter.done():
        waiter.set_result(None)


def _read(native, mailbox):
    while True:
        batch = native.wait()
        if batch is None or not mailbox.put(batch):
            mailbox.close()
            return


def call_for_each(watch, callback):
    """Calls a function for each event in a thread of its own. What it raises is logged."""
    def run():
        for event in watch:
            try:
                callback(event)
            except Exception:
                _logger.exception("%r failed for the event %s", callback, event.kind)

    threading.Thread(target=run, name="axion-events", daemon=True).start()
