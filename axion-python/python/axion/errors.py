"""What can go wrong, each with a stable code.

    AxionError
    ├── EngineError         the engine: not started, started twice, shut down, in a forked process
    ├── ConfigError         a setting (also a ValueError)
    └── TaskError           a task
        ├── SubmitError     it was not accepted: queue full, overload, too large, not picklable
        └── RemoteError     it was accepted and did not succeed
            ├── TaskTimeout (also a TimeoutError), TaskCancelled, TaskExpired, WorkerLost
            └── InitializerFailed (also a BrokenExecutor)
"""

from concurrent.futures import BrokenExecutor, CancelledError

# The codes of the older Axion, where there was one for the same thing.
_LEGACY = {"already_started": "ENG001", "not_started": "ENG002", "queue_full": "TASK001",
           "queue_bytes_full": "TASK001", "overloaded": "TASK002"}


class AxionError(Exception):
    """The base of all. `code` is stable; `legacy_code` is what the older Axion called the same, or None."""

    def __init__(self, message, code="error"):
        super().__init__(message)
        self.code = code

    @property
    def legacy_code(self):
        return _LEGACY.get(self.code)

    def __reduce__(self):
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind, args, state):
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class EngineError(AxionError, RuntimeError):
    """The engine cannot do this now. Codes: not_started, already_started, shutting_down, engine_stopped,
    forked, start_failed, result_unknown."""


class ConfigError(AxionError, ValueError):
    """A setting that does not exist or takes no such value. Code: config."""


class TaskError(AxionError):
    """Something about one task."""


class SubmitError(TaskError, RuntimeError):
    """The task was not accepted. Codes: queue_full, queue_bytes_full, overloaded, params_too_large,
    pool_disabled, needs_impossible, limits_invalid, not_picklable."""


class RemoteError(TaskError):
    """A task that did not succeed, and everything that is known of it, as text.

    `code` is the failure's (exception, timeout, worker_lost …), `exception` the name of the exception's type,
    `message` its text, `traceback` the remote traceback, `causes` what stood behind it: (type, text), nearest
    first; `post_mortem` what is known of the worker's end; `task_id`, `attempt`, `worker_id` say where it ran.
    """

    exception = traceback = post_mortem = task_id = attempt = worker_id = None
    causes = ()


class TaskTimeout(RemoteError, TimeoutError):
    """It reached a time limit. Codes: timeout, soft_timeout."""


class TaskCancelled(RemoteError, CancelledError):
    """It was cancelled, or the engine was shut down first. Codes: cancelled, shutdown."""


class TaskExpired(RemoteError):
    """It had not started in its time to live. Code: expired."""


class WorkerLost(RemoteError):
    """Its worker process died under it, as often as it may be run again. Code: worker_lost."""


class InitializerFailed(RemoteError, BrokenExecutor):
    """The initializer of an executor failed. Code: initializer_failed."""


_ENGINE = frozenset(("not_started", "already_started", "shutting_down", "engine_stopped", "forked"))
_REMOTE = {"timeout": TaskTimeout, "soft_timeout": TaskTimeout, "cancelled": TaskCancelled, "shutdown": TaskCancelled,
           "expired": TaskExpired, "worker_lost": WorkerLost, "initializer_failed": InitializerFailed}


def refused(error):
    """The exception for what the native engine refuses with `(code, words)`."""
    if len(error.args) != 2:
        return error
    code, words = error.args
    return (EngineError if code in _ENGINE else SubmitError)(words, code)


class RemoteTraceback(Exception):
    """The traceback in the worker, as the cause of the exception in the caller."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text

    def __str__(self):
        return self.text


def of_record(record):
    """A `RemoteError` with all that a record says."""
    words = record.message or ""
    if record.exception:
        words = "%s: %s" % (record.exception, words) if words else record.exception
    error = _REMOTE.get(record.code, RemoteError)(words, record.code)
    error.message = record.message
    error.exception, error.traceback = record.exception, record.traceback
    error.causes, error.post_mortem = tuple(record.causes), record.post_mortem
    error.task_id, error.attempt, error.worker_id = record.task_id, record.attempt, record.worker_id
    if record.traceback:
        error.__cause__ = RemoteTraceback("\n\"\"\"\n%s\"\"\"" % record.traceback)
    return error
