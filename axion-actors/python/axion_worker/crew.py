"""Threads on demand, for a threaded worker."""

import threading
from _queue import SimpleQueue


class Crew:
    """Threads that do what is put into one queue, in its order; made when there is more than they can take."""

    def __init__(self, name, most):
        self._name = name
        self._most = most
        self._queue = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._waiting = 0

    def has_room(self):
        """Whether a thread would take the next thing at once."""
        with self._lock:
            return self._waiting < self._idle or self._threads < self._most

    def put(self, item, server):
        with self._lock:
            self._waiting += 1
            grow = self._waiting > self._idle and self._threads < self._most
            self._threads += grow
        if grow:
            self._grow(server)
        self._queue.put(item)

    def _grow(self, server):
        name = "%s-%d" % (self._name, self._threads)
        try:
            threading.Thread(target=self._work, args=(server,), name=name, daemon=True).start()
        except RuntimeError:  # the system gives no more threads: those that are there do the work
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    raise

    def _work(self, server):
        while True:
            with self._lock:
                self._idle += 1
            item = self._queue.get()
            with self._lock:
                self._idle -= 1
                self._waiting -= 1
            server.do(self, item)
            item = None
