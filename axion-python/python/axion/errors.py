"""The exceptions of this package, each with a stable code.

    AxionError
    ├── EngineError         the engine: not started, started twice, shut down, in a forked process
    ├── ConfigError         a setting (also a ValueError)
    ├── FlowError           a flow's file (also a ValueError)
    └── TaskError           a task
        ├── SubmitError     it was not accepted: queue full, overload, too large, not picklable
        │   └── WorkflowRefused, of which are CircularDependency and UnknownDependency
        ├── WorkflowFailed  a workflow that was accepted and did not succeed
        └── RemoteError     it was accepted and did not succeed
            ├── TaskTimeout (also a TimeoutError), TaskCancelled, TaskExpired, WorkerLost, DependencyFailed
            └── InitializerFailed (also a BrokenExecutor)
"""

from concurrent.futures import BrokenExecutor, CancelledError

# The codes of the older Axion, for the errors that it had, too.
_LEGACY = {"already_started": "ENG001", "not_started": "ENG002", "queue_full": "TASK001",
           "queue_bytes_full": "TASK001", "overloaded": "TASK002"}


class AxionError(Exception):
    """The base class of all. `code` is stable; `legacy_code` is the code in the older Axion, or None."""

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
    forked, start_failed, not_ready, result_unknown, id_invalid."""


class ConfigError(AxionError, ValueError):
    """A setting that does not exist, or a value that it does not take. Code: config."""


class TaskError(AxionError):
    """An error about one task. Code: params_invalid, or result_unreadable if a result's bytes are broken."""


class SubmitError(TaskError, RuntimeError):
    """The task was not accepted. Codes: queue_full, queue_bytes_full, overloaded, params_too_large,
    part_too_large, pool_disabled, unknown_pool, needs_impossible, limits_invalid, not_picklable."""


class WorkflowRefused(SubmitError):
    """A workflow was not accepted. None of its steps runs.

    `problems` has the code and message of each problem; `code` is the first one's. Codes:
    circular_dependency, unknown_dependency, duplicate_task, duplicate_name, bad_name, empty_workflow, too_many_steps,
    too_many_dependencies, too_many_workflows, params_not_an_object, condition_too_deep, out_of_range, never_runs,
    needs_impossible, and those of `SubmitError`.
    """

    problems = ()


class CircularDependency(WorkflowRefused):
    """Steps wait for each other, or a step for itself. Code: circular_dependency."""


class UnknownDependency(WorkflowRefused):
    """A step waits for something that is neither a step nor a task of the engine. Code: unknown_dependency."""


class FlowError(AxionError, ValueError):
    """A flow's file cannot be read or is invalid. `problems` has line, column and message of each. Code: flow."""

    def __init__(self, message, problems=()):
        super().__init__(message, "flow")
        self.problems = tuple(problems)


class WorkflowFailed(TaskError):
    """A step did not succeed. `failures` lists each step that failed by itself: name or id, state, code, message.
    Code: workflow_failed."""

    def __init__(self, message, failures=()):
        super().__init__("the workflow failed: %s" % message, "workflow_failed")
        self.failures = failures


class RemoteError(TaskError):
    """A task that did not succeed, described as text.

    `code` is the failure's code (exception, timeout, worker_lost …), `exception` the name of the exception's type,
    `message` its text, `traceback` the remote traceback, and `causes` the chain of causes as (type, text), nearest
    first. `post_mortem` describes how the worker ended. `task_id`, `attempt` and `worker_id` say where the task ran.
    """

    exception = traceback = post_mortem = task_id = attempt = worker_id = None
    causes = ()


class TaskTimeout(RemoteError, TimeoutError):
    """The task reached a time limit. Codes: timeout, soft_timeout."""


class TaskCancelled(RemoteError, CancelledError):
    """The task was cancelled, or the engine was shut down first. A step is also cancelled if it was skipped, or if its
    workflow was stopped or cancelled. Codes: cancelled, shutdown, skipped, needs_impossible, workflow_stopped,
    workflow_cancelled."""


class DependencyFailed(RemoteError):
    """A step was not run because a dependency failed. The error names the steps that failed by themselves. Code:
    dependency_failed."""


class TaskExpired(RemoteError):
    """The task did not start within its time to live. Code: expired."""


class WorkerLost(RemoteError):
    """The task's worker process died, also in each retry that is allowed. Code: worker_lost."""


class InitializerFailed(RemoteError, BrokenExecutor):
    """The initializer of an executor failed. Code: initializer_failed."""


_ENGINE = frozenset(("not_started", "already_started", "shutting_down", "engine_stopped", "forked", "not_ready",
                     "id_invalid"))
_REMOTE = {"timeout": TaskTimeout, "soft_timeout": TaskTimeout, "cancelled": TaskCancelled, "shutdown": TaskCancelled,
           "skipped": TaskCancelled, "needs_impossible": TaskCancelled, "workflow_stopped": TaskCancelled,
           "workflow_cancelled": TaskCancelled, "dependency_failed": DependencyFailed, "expired": TaskExpired,
           "worker_lost": WorkerLost, "initializer_failed": InitializerFailed}


def refused(error):
    """The exception for a refusal of the native engine, `(code, message)`."""
    if len(error.args) != 2:
        return error
    code, message = error.args
    return (EngineError if code in _ENGINE else SubmitError)(message, code)


_WORKFLOW = {"circular_dependency": CircularDependency, "unknown_dependency": UnknownDependency}


def refused_workflow(error):
    """The exception for a workflow that the native engine refuses, `(code, message, problems)`."""
    if len(error.args) != 3:
        return refused(error)
    code, message, problems = error.args
    if code in _ENGINE:
        return EngineError(message, code)
    kinds = [_WORKFLOW[code] for code, _ in problems if code in _WORKFLOW]
    made = (kinds[0] if kinds else WorkflowRefused)(message, problems[0][0] if problems else code)
    if kinds:
        made.code = next(code for code, _ in problems if code in _WORKFLOW)
    made.problems = tuple(problems)
    return made


class RemoteTraceback(Exception):
    """The traceback in the worker, as the cause of the exception in the caller."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text

    def __str__(self):
        return self.text


def of_record(record):
    """The `RemoteError` that a record describes."""
    message = record.message or ""
    if record.exception:
        message = "%s: %s" % (record.exception, message) if message else record.exception
    error = _REMOTE.get(record.code, RemoteError)(message, record.code)
    error.message = record.message
    error.exception, error.traceback = record.exception, record.traceback
    error.causes, error.post_mortem = tuple(record.causes), record.post_mortem
    error.task_id, error.attempt, error.worker_id = record.task_id, record.attempt, record.worker_id
    if record.traceback:
        error.__cause__ = RemoteTraceback("\n\"\"\"\n%s\"\"\"" % record.traceback)
    return error
