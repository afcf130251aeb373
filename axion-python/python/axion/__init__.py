"""Axion runs Python functions and scripts in supervised worker processes.

    import axion

    with axion.Engine() as engine:
        print(engine.submit(pow, 2, 10).result())

A task that crashes, hangs or eats memory costs itself and nothing else. docs/guides/python.md is the guide.
"""

import concurrent.futures as _futures

from ._guards import leave_if_started_as_a_worker as _leave_if_started_as_a_worker

_leave_if_started_as_a_worker()  # before anything else

from ._axion import __version__, config_keys
from ._engine import Engine, EngineConfig
from ._executor import Executor
from ._future import Future, Progress
from ._status import ComponentStatus, Health, HealthReport
from ._task import Result, Task, TaskType
from ._step import Ref, Step, chain, chord, group, step
from ._watch import Event, Watch
from ._workflow import Workflow
from ._decorator import task
from .context import current
from .errors import (AxionError, CircularDependency, ConfigError, DependencyFailed, EngineError, FlowError,
                     InitializerFailed, RemoteError, SubmitError, TaskCancelled, TaskError, TaskExpired, TaskTimeout,
                     UnknownDependency, WorkerLost, WorkflowFailed, WorkflowRefused)

__all__ = [
    "AxionError", "CircularDependency", "ComponentStatus", "ConfigError", "DependencyFailed", "Engine", "EngineConfig",
    "EngineError", "Event", "Executor", "FlowError", "Future", "Health", "HealthReport", "InitializerFailed", "Progress", "Ref", "RemoteError",
    "Result", "Step", "SubmitError", "Task", "TaskCancelled", "TaskError", "TaskExpired", "TaskTimeout", "TaskType",
    "UnknownDependency", "Watch", "WorkerLost", "Workflow", "WorkflowFailed", "WorkflowRefused", "__version__", "chain",
    "chord", "config_keys", "current", "group", "step", "task", "wait_for_all", "wait_for_any",
]


def wait_for_all(futures, timeout=None):
    """Waits until all have ended or `timeout` seconds have passed; returns `(done, not_done)`, two sets."""
    return _futures.wait(futures, timeout, _futures.ALL_COMPLETED)


def wait_for_any(futures, timeout=None):
    """Waits until one has ended or `timeout` seconds have passed; returns `(done, not_done)`, two sets."""
    return _futures.wait(futures, timeout, _futures.FIRST_COMPLETED)
