import datetime
import threading
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, TypeVar

from . import Engine

_V = TypeVar("_V")

class Table(dict[str, _V]):
    """A dict with one line for each task in its representation."""

class RaiseException(NamedTuple):
    exception: BaseException
    traceback: str

class SchedulerResult(NamedTuple):
    execution_time: Table[datetime.datetime]
    elapsed_time: Table[float]
    raise_exception: Table[RaiseException]
    return_value: Table[Any]

class WorkerError(RuntimeError): ...
class ResourceError(RuntimeError): ...
class DependencyError(RuntimeError): ...

class Reference:
    """The result of a task, or a part of it, as an argument of another."""

    def __init__(self, task: ScheduledTask, path: tuple[Callable[[Any], Any], ...] = ()) -> None: ...
    def __getitem__(self, key: Any) -> Reference: ...
    def __getattr__(self, name: str) -> Reference: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Reference: ...
    __iter__: None

class ScheduledTask:
    """What `scheduled_task` makes."""

    name: str
    return_value: Reference
    def __init__(self, name: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *,
                 thread: bool, needs: Iterable[ScheduledTask], use: Any, priority: int, continual: bool) -> None: ...

def scheduled_task(executor: type[BaseProcess] | type[threading.Thread], name: str, target: Callable[..., Any],
                   args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, *,
                   dependencies: Iterable[ScheduledTask] = (), priority: int = 5, processes: int = 0, threads: int = 0,
                   system_processor: float = 0.0, system_memory: float = 0.0,
                   continual: bool = False) -> ScheduledTask: ...
def task_scheduler(tasks: Iterable[ScheduledTask], processes: int | None = None, threads: int | None = None,
                   system_processor: float = 100.0, system_memory: float = 100.0,
                   engine: Engine | None = None) -> SchedulerResult: ...
