"""Many calls of one function, in chunks."""

import time
from collections import deque
from itertools import chain, islice
from operator import length_hint
from queue import Empty, SimpleQueue

from ._code import pack_value
from ._engine import _WAIT

_FILL = 0.02  # seconds of work in a chunk
_MOST = 10_000  # items in one
_GROWTH = 16  # how much larger a chunk may be than the one before


class Map:
    """The results of `Engine.map`: an iterator. Work begins at once and stays a few chunks ahead of the reader."""

    def __init__(self, engine, options, fn, items, single=None, *, chunksize=None, ordered=True, look_ahead=None,
                 timeout=None, progress=False, total=None):
        if chunksize is not None and chunksize < 1:
            raise ValueError("chunksize is 1 or more")
        self._engine, self._options, self._fn = engine, options, fn
        self._coder = engine._each if single is None else engine._each_of_one
        self._items = iter(items if single is None else single)
        self._size = chunksize or 1
        self._automatic = chunksize is None
        self._ordered = ordered
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._most = look_ahead or 2 + 2 * _workers(engine)
        self._flying = deque()
        self._ended = SimpleQueue()
        # Of a million values, each is handed out in C.
        self._values = chain.from_iterable(self._chunks())
        self._bar = _bar(total if single is None else length([single])) if progress else None
        self._fill()

    def __iter__(self):
        return self._values

    def __next__(self):
        return next(self._values)

    def _chunks(self):
        while self._flying:
            try:
                future = self._next()
                results = future.result()
            except BaseException:
                self.close()
                raise
            self._observe_duration(future)
            self._fill()
            if self._bar is not None:
                self._bar.update(len(results))
            yield results
        self.close()

    def _next(self):
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        if self._ordered:
            future = self._flying[0]
            future.exception(left)
            self._flying.popleft()
            return future
        try:
            future = self._ended.get(timeout=left)
        except Empty:
            raise TimeoutError("no result in time") from None
        self._flying.remove(future)
        return future

    def _fill(self):
        while len(self._flying) < self._most:
            chunk = list(islice(self._items, self._size))
            if not chunk:
                return
            future = self._engine._submit(self._coder, self._fn, pack_value(chunk), self._options, _WAIT)
            future._axion_items = len(chunk)
            self._flying.append(future)
            if not self._ordered:
                future.add_done_callback(self._ended.put)

    def _observe_duration(self, future):
        if self._automatic and future.record is not None:
            self._size = next_size(future._axion_items, future.record.duration)

    def close(self):
        """Ends the iteration, and takes back what has not started."""
        self._items = self._values = iter(())
        while self._flying:
            self._flying.popleft().cancel()
        if self._bar is not None:
            self._bar.close()


def next_size(items, seconds, growth=_GROWTH):
    """How many items to put together, after so many took so long; at most `growth` times as many."""
    wanted = int(_FILL * items / seconds) if seconds > 0 else _MOST
    return max(1, min(wanted, items * growth, _MOST))


def _workers(engine):
    return max(engine.config.cpu_bound_count or 0, engine.config.io_bound_count or 0, 1)


class _Plain:
    """A line on standard error, where there is no tqdm."""

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
    """How many items there are to be, if that can be known."""
    lengths = [length_hint(items, -1) for items in iterables]
    return None if -1 in lengths else min(lengths, default=None)


def _bar(total):
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _Plain()
    return tqdm(total=total)
