"""Many calls of one function, in chunks."""

import time
from collections import deque
from itertools import chain, islice
from operator import length_hint
from queue import Empty, SimpleQueue

from ._code import pack_value
from ._engine import _WAIT

_CHUNK_SECONDS = 0.02  # the run time that a chunk should have
_MAX_CHUNK = 10_000  # items
_GROWTH = 16  # the largest ratio of a chunk's size to the one before


class Map:
    """The iterator that `Engine.map` returns. Work begins at once and stays a few chunks ahead of the reader."""

    def __init__(self, engine, options, fn, items, single=None, *, chunksize=None, ordered=True, look_ahead=None,
                 timeout=None, progress=False, total=None):
        if chunksize is not None and chunksize < 1:
            raise ValueError("chunksize is 1 or more")
        self._engine, self._options, self._fn = engine, options, fn
        self._coder = engine._each if single is None else engine._each_of_one
        self._items = iter(items if single is None else single)
        self._size = chunksize or 1
        self._sizes_chunks = chunksize is None
        self._ordered = ordered
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._max_in_flight = look_ahead or 2 + 2 * _worker_count(engine)
        self._in_flight = deque()
        self._finished = SimpleQueue()
        # `chain` yields each value in C.
        self._values = chain.from_iterable(self._chunks())
        self._bar = _bar(total if single is None else length([single])) if progress else None
        self._submit_ahead()

    def __iter__(self):
        return self._values

    def __next__(self):
        return next(self._values)

    def _chunks(self):
        while self._in_flight:
            try:
                future = self._next_future()
                results = future.result()
            except BaseException:
                self.close()
                raise
            self._observe_duration(future)
            self._submit_ahead()
            if self._bar is not None:
                self._bar.update(len(results))
            yield results
        self.close()

    def _next_future(self):
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        if self._ordered:
            future = self._in_flight[0]
            future.exception(left)
            self._in_flight.popleft()
            return future
        try:
            future = self._finished.get(timeout=left)
        except Empty:
            raise TimeoutError("no result in time") from None
        self._in_flight.remove(future)
        return future

    def _submit_ahead(self):
        while len(self._in_flight) < self._max_in_flight:
            chunk = list(islice(self._items, self._size))
            if not chunk:
                return
            future = self._engine._submit(self._coder, self._fn, pack_value(chunk, self._fn), self._options, _WAIT)
            future._axion_items = len(chunk)
            self._in_flight.append(future)
            if not self._ordered:
                future.add_done_callback(self._finished.put)

    def _observe_duration(self, future):
        if self._sizes_chunks and future.record is not None:
            self._size = next_size(future._axion_items, future.record.duration)

    def close(self):
        """Ends the iteration and cancels the chunks that have not started."""
        self._items = self._values = iter(())
        while self._in_flight:
            self._in_flight.popleft().cancel()
        if self._bar is not None:
            self._bar.close()


def next_size(items, seconds, growth=_GROWTH):
    """The size of the next chunk, after `items` items took `seconds`; at most `growth` times `items`."""
    wanted = int(_CHUNK_SECONDS * items / seconds) if seconds > 0 else _MAX_CHUNK
    return max(1, min(wanted, items * growth, _MAX_CHUNK))


def _worker_count(engine):
    return max(engine.config.cpu_bound_count or 0, engine.config.io_bound_count or 0, 1)


class _CounterLine:
    """A line on standard error, for an interpreter without tqdm."""

    def __init__(self):
        import sys

        self._out, self._count, self._shown = sys.stderr, 0, 0.0

    def update(self, count):
        self._count += count
        now = time.monotonic()
        if now - self._shown > 0.5:
            self._shown = now
            self._out.write("\r%d done" % self._count)
            self._out.flush()

    def close(self):
        if self._out is not None:
            self._out.write("\r%d done\n" % self._count)
            self._out = None


def length(iterables):
    """The number of items, or None if it is unknown."""
    lengths = [length_hint(items, -1) for items in iterables]
    return None if -1 in lengths else min(lengths, default=None)


def _bar(total):
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _CounterLine()
    return tqdm(total=total)
