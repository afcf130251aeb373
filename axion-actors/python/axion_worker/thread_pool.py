"""The threads of a threaded worker."""

import threading

from .cpython import thread_types
from .failure import end_worker

_, SimpleQueue, _, _ = thread_types()


class ThreadPool:
    """Calls `handle(item)` for queued items, in their order, in at most `limit` threads.

    A thread is started when an item is queued that no idle thread can take.
    """

    def __init__(self, name, limit, handle):
        self._name = name
        self._limit = limit
        self._handle = handle
        self._queue = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._queued = 0

    def has_room(self):
        """Whether a thread would take the next item at once."""
        with self._lock:
            return self._queued < self._idle or self._threads < self._limit

    def put(self, item):
        with self._lock:
            self._queued += 1
            grow = self._queued > self._idle and self._threads < self._limit
            self._threads += grow
        if grow:
            self._start_thread()
        self._queue.put(item)

    def _start_thread(self):
        name = "%s-%d" % (self._name, self._threads)
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:  # the system has no more threads: the existing ones do the work
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    raise

    def _run(self, end_worker=end_worker):
        try:
            while True:
                with self._lock:
                    self._idle += 1
                item = self._queue.get()
                with self._lock:
                    self._idle -= 1
                    self._queued -= 1
                self._handle(item)
                item = None
        except BaseException as error:
            # `handle` lets no exception of a task through. A worker without this thread would hold its task for ever (L1).
            end_worker(error)
