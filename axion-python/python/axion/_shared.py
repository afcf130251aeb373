"""Objects of `multiprocessing` as arguments of tasks: locks, events, conditions, queues, shared memory, connections.

Those of a spawn or forkserver context have names, by which any process opens them. The semaphores of the default (fork)
context have no name any more: forked processes inherit them, and an Axion worker is not forked from the program. In a
worker such an object has *remote* semaphores: a thread of this program acts on the real one, one thread for each thread
that uses it, so that an `RLock` knows its owner. When the connection ends, its thread releases the mutexes that it holds:
a worker that dies leaves no lock behind.

Descriptors, of pipes and of shared memory, are passed over the same socket.
"""

import os
import sys
import threading
import weakref
from itertools import count

_MUTEX = 1  # the value of a lock
_METHODS = frozenset(("acquire", "release", "_count", "_is_mine", "_get_value", "_is_zero"))


def reduce(thing):
    """What a pickler's `reducer_override` returns for an object of `multiprocessing`; else NotImplemented."""
    module = str(getattr(type(thing), "__module__", None))
    if module == "multiprocessing.synchronize" and hasattr(thing, "_semlock"):
        return _reduce_semaphore(thing)
    if module == "multiprocessing.connection" and hasattr(thing, "_handle"):
        from multiprocessing.connection import rebuild_connection  # pyright: ignore[reportAttributeAccessIssue]

        return rebuild_connection, (_server().descriptor(thing, thing.fileno()), thing.readable, thing.writable)
    if module == "multiprocessing.heap" and hasattr(thing, "fd"):
        from multiprocessing.heap import rebuild_arena

        return rebuild_arena, (thing.size, _server().descriptor(thing, thing.fd))
    if module.startswith("multiprocessing.") or hasattr(thing, "_wrapper"):
        return _reduce_for_spawn(thing)
    return NotImplemented


def _reduce_for_spawn(thing):
    """Reduces an object that only a process which starts another one may pickle. Its parts come to `reduce` later."""
    from multiprocessing.context import get_spawning_popen, set_spawning_popen
    from multiprocessing.managers import BaseProxy
    from multiprocessing.reduction import ForkingPickler

    if isinstance(thing, BaseProxy):
        return NotImplemented  # it goes everywhere, and would show its key to a process that is started
    reducer = ForkingPickler._extra_reducers.get(type(thing))  # pyright: ignore[reportAttributeAccessIssue]
    before = get_spawning_popen()
    set_spawning_popen(_spawning)  # pyright: ignore[reportArgumentType]
    try:
        return reducer(thing) if reducer is not None else thing.__reduce_ex__(4)
    finally:
        set_spawning_popen(before)


_spawning = object()


def _reduce_semaphore(thing):
    semaphore = thing._semlock
    if type(semaphore) is RemoteSemaphore:
        return _with_semaphore, (type(thing), semaphore)
    if getattr(thing, "_is_fork_ctx", True):
        number = _server().register(thing)
        remote = RemoteSemaphore(_server().address, number, semaphore.kind, semaphore.maxvalue)
        return _with_semaphore, (type(thing), remote)
    return _reduce_for_spawn(thing)


def _with_semaphore(kind, semaphore):
    """In a worker: a lock of this class."""
    thing = kind.__new__(kind)
    thing._semlock = semaphore
    thing._is_fork_ctx = False
    thing._make_methods()
    return thing


# In the program


class _Server:
    """Lets workers act on semaphores of this process, and gives them descriptors."""

    def __init__(self):
        from multiprocessing.connection import Listener
        from multiprocessing.process import current_process

        self._listener = Listener(family="AF_UNIX", backlog=64, authkey=bytes(current_process().authkey))
        self.address = self._listener.address
        self._numbers = count(1)
        self._number_of = weakref.WeakKeyDictionary()
        self._things = weakref.WeakValueDictionary()
        self._descriptors = {}
        self._holders = {}  # the number of a mutex -> the connection that holds it, and how often
        threading.Thread(target=self._accept, name="axion-shared", daemon=True).start()

    def register(self, thing):
        number = self._number_of.get(thing)
        if number is None:
            number = next(self._numbers)
            self._things[number] = thing
            self._number_of[thing] = number
            if thing._semlock.maxvalue == _MUTEX:
                semaphore = thing._semlock  # the program's own release takes the note away, too
                thing.release = lambda: self._release(semaphore, number)
        return number

    def descriptor(self, owner, fd):
        """A descriptor that workers can fetch as long as its owner lives."""
        number = self._number_of.get(owner)
        if number is None:
            number = next(self._numbers)
            self._descriptors[number] = os.dup(fd)
            self._number_of[owner] = number
            weakref.finalize(owner, self._close, number).atexit = False
        return RemoteDescriptor(self.address, number)

    def _close(self, number):
        os.close(self._descriptors.pop(number))

    def _accept(self):
        from multiprocessing import AuthenticationError

        while True:
            try:
                connection = self._listener.accept()
            except (AuthenticationError, EOFError, ConnectionError):
                continue  # one that does not have the key, or has gone
            except OSError:
                return  # closed at the end of the interpreter
            threading.Thread(target=self._serve, args=(connection,), name="axion-shared", daemon=True).start()

    def _serve(self, connection):
        try:
            with connection:
                while True:
                    number, method, arguments = connection.recv()
                    if method == "descriptor":
                        self._send_descriptor(connection, number, *arguments)
                    else:
                        connection.send(self._call(connection, number, method, arguments))
        except (EOFError, OSError):
            pass  # the worker, or its thread, has ended
        finally:
            self._release_all(connection)

    def _release_all(self, connection):
        """Releases the mutexes that a worker has left behind."""
        for number, (holder, times) in list(self._holders.items()):
            thing = self._things.get(number)
            if holder is connection and thing is not None:
                del self._holders[number]
                try:
                    for _ in range(times):
                        thing._semlock.release()
                except ValueError:
                    pass  # the program itself has released it

    def _call(self, connection, number, method, arguments):
        """The result of a method and None, or None and its exception."""
        thing = self._things.get(number)
        if thing is None or method not in _METHODS:
            return None, LookupError("the program does not have this object of multiprocessing any more")
        semaphore = thing._semlock
        is_mutex = semaphore.maxvalue == _MUTEX
        try:
            if is_mutex and method == "release":
                return self._release(semaphore, number), None
            value = getattr(semaphore, method)(*arguments)
        except Exception as error:
            return None, error
        if is_mutex and method == "acquire" and value:
            holder, times = self._holders.get(number, (connection, 0))
            self._holders[number] = connection, times + 1 if holder is connection else 1
        return value, None

    def _release(self, semaphore, number):
        """Releases a mutex. Any thread may release a `Lock` that another has acquired."""
        noted = self._holders.pop(number, None)
        # Before the release: after it, another thread may hold the mutex, and its note must stay.
        if noted is not None and noted[1] > 1:
            self._holders[number] = noted[0], noted[1] - 1
        try:
            semaphore.release()
        except Exception:
            if noted is not None:
                self._holders[number] = noted
            raise

    def _send_descriptor(self, connection, number, pid):
        from multiprocessing.reduction import send_handle

        fd = self._descriptors.get(number)
        connection.send(fd is not None)
        if fd is not None:
            send_handle(connection, fd, pid)


_the_server = None
_making = threading.Lock()


def _server():
    global _the_server
    if _the_server is None:
        with _making:
            if _the_server is None:
                _the_server = _Server()
    return _the_server


def _in_forked_child():
    """The server is the parent's. What it serves is the child's as well, which may serve it itself."""
    global _the_server, _making
    _the_server, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_in_forked_child)


# In a worker


class _Connections(threading.local):
    """The connections of one thread, by address."""

    def __init__(self):
        self.pid, self.by_address = os.getpid(), {}

    def ask(self, address, request, receive):
        if self.pid != os.getpid():
            self.__init__()  # of a forked process: the connections are its parent's
        connection = self.by_address.get(address)
        if connection is None:
            connection = self.by_address[address] = _connect(address)
        try:
            connection.send(request)
            return receive(connection)
        except BaseException:
            # Also by a signal in the middle of an answer. The other side releases what the thread holds.
            connection.close()
            del self.by_address[address]
            raise


def _connect(address):
    from multiprocessing.connection import Client
    from multiprocessing.process import current_process

    return Client(address, family="AF_UNIX", authkey=bytes(current_process().authkey))


_connections = _Connections()


class RemoteSemaphore:
    """Stands for a semaphore of the program. It has what `multiprocessing.synchronize` uses of `_multiprocessing.SemLock`."""

    handle = name = None

    def __init__(self, address, number, kind, maxvalue):
        self._of = address, number
        self.kind, self.maxvalue = kind, maxvalue

    def __reduce__(self):
        return RemoteSemaphore, (*self._of, self.kind, self.maxvalue)

    def _call(self, method, *arguments):
        address, number = self._of
        value, error = _connections.ask(address, (number, method, arguments), lambda connection: connection.recv())
        if error is not None:
            raise error
        return value

    def acquire(self, block=True, timeout=None):
        return self._call("acquire", block, timeout)

    def release(self):
        self._call("release")

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()

    def _count(self):
        return self._call("_count")

    def _is_mine(self):
        return self._call("_is_mine")

    def _get_value(self):
        return self._call("_get_value")

    def _is_zero(self):
        return self._call("_is_zero")


class RemoteDescriptor:
    """Stands for a descriptor of the program. `detach` gives one of this process, each time another."""

    def __init__(self, address, number):
        self._of = address, number

    def detach(self):
        from multiprocessing.reduction import recv_handle

        address, number = self._of

        def receive(connection):
            if not connection.recv():
                raise LookupError("the program does not have this object of multiprocessing any more")
            return recv_handle(connection)

        return _connections.ask(address, (number, "descriptor", (os.getpid(),)), receive)


def is_loaded():
    """Whether there can be such objects."""
    return "multiprocessing.context" in sys.modules
