import datetime
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from . import Engine

class RaiseException(NamedTuple):
    exception: BaseException
    traceback: str

class SchedulerResult(NamedTuple):
    execution_time: dict[str, datetime.datetime]
    elapsed_time: dict[str, float]
    raise_exception: dict[str, RaiseException]
    return_value: dict[str, Any]

class WorkerError(RuntimeError): ...
class ResourceError(RuntimeError): ...
class DependencyError(RuntimeError): ...

class Reference(NamedTuple):
    task: ScheduledTask

class ScheduledTask:
    """What `scheduled_task` makes."""

    name: str
    return_value: Reference
    def __init__(self, kind: str, name: str, fn: Callable[..., Any], args: Iterable[Any],
                 kwargs: Mapping[str, Any] | None, continual: bool, units: int, processor: float,
                 memory: float) -> None: ...

def scheduled_task(kind: Literal["process", "thread"] | type[multiprocessing.Process] | type[threading.Thread],
                   name: str, target: Callable[..., Any], args: Iterable[Any] = (),
                   kwargs: Mapping[str, Any] | None = None, *, continual: bool = False, processes: int = 1,
                   threads: int = 1, system_processor: float = 0.0, system_memory: float = 0.0) -> ScheduledTask: ...
def task_scheduler(tasks: Iterable[ScheduledTask], processes: int = 1, threads: int = 1,
                   system_processor: float = 100.0, system_memory: float = 100.0,
                   engine: Engine | None = None) -> SchedulerResult: ...
