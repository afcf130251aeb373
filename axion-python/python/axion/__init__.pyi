"""The types of `axion`; what everything means is said beside the code."""

import concurrent.futures
from collections.abc import (AsyncIterator, Awaitable, Callable, Collection, Coroutine, Generator, Iterable, Iterator,
                             Mapping, Sequence)
from dataclasses import dataclass
from enum import Enum
from os import PathLike
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeAlias, TypeVar, overload

from ._axion import Record as _Record, WorkflowRecord as _WorkflowRecord, __version__ as __version__, config_keys as config_keys
from ._task import Result as Result, Task as Task, TaskType as TaskType
from .context import current as current
from .errors import (AxionError as AxionError, CircularDependency as CircularDependency, ConfigError as ConfigError,
                     DependencyFailed as DependencyFailed, EngineError as EngineError, FlowError as FlowError,
                     InitializerFailed as InitializerFailed, RemoteError as RemoteError, SubmitError as SubmitError,
                     TaskCancelled as TaskCancelled, TaskError as TaskError, TaskExpired as TaskExpired,
                     TaskTimeout as TaskTimeout, UnknownDependency as UnknownDependency, WorkerLost as WorkerLost,
                     WorkflowFailed as WorkflowFailed, WorkflowRefused as WorkflowRefused)

__all__ = [
    "AxionError", "CircularDependency", "ComponentStatus", "ConfigError", "DependencyFailed", "Engine", "EngineConfig",
    "EngineError", "Executor", "FlowError", "Future", "Health", "HealthReport", "InitializerFailed", "Ref", "RemoteError",
    "Result", "Step", "SubmitError", "Task", "TaskCancelled", "TaskError", "TaskExpired", "TaskTimeout", "TaskType",
    "UnknownDependency", "WorkerLost", "Workflow", "WorkflowFailed", "WorkflowRefused", "__version__", "chain",
    "chord", "config_keys", "current", "group", "step", "task", "wait_for_all", "wait_for_any",
]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_Kind: TypeAlias = Literal["cpu", "io"]
_OnFailure: TypeAlias = Literal["continue", "stop"]
_Impossible: TypeAlias = Literal["refuse", "cancel"]
_RunIf: TypeAlias = Literal["all_succeeded", "any_succeeded", "all_done", "any_failed"]
_Upstream: TypeAlias = Literal["both", "names", "ids"]
_Futures: TypeAlias = concurrent.futures._base.DoneAndNotDoneFutures[_T]

class Future(concurrent.futures.Future[_T]):
    task_id: str | None
    record: _Record | None
    def __init__(self, engine: Engine | None = None) -> None: ...
    def kill(self) -> bool: ...
    def __await__(self) -> Generator[Any, None, _T]: ...

class Workflow(concurrent.futures.Future[dict[str, Any]]):
    task_id: None
    id: str | None
    record: _WorkflowRecord | None
    def __init__(self, engine: Engine, titles: Sequence[tuple[str | None, str]] = ()) -> None: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: str | int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> list[str]: ...
    def __contains__(self, key: object) -> bool: ...
    @overload
    def future(self, step: Step[_T]) -> Future[_T]: ...
    @overload
    def future(self, step: Task | str | int) -> Future[Any]: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def kill(self) -> bool: ...
    def status(self) -> dict[str, Any]: ...
    def __await__(self) -> Generator[Any, None, dict[str, Any]]: ...

class Ref:
    path: str
    def __init__(self, step: str | Task | Step[Any] | Future[Any], path: str = "", *, default: Any = ...) -> None: ...
    @property
    def step(self) -> str: ...

_Node: TypeAlias = Task | Step[Any]
_Rule: TypeAlias = Mapping[str, Any] | _Node | Ref

class Step(Generic[_T_co]):
    id: str
    name: str | None
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    dependencies: list[Any]
    def __init__(self, fn: Callable[..., Any], args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None,
                 options: Mapping[str, Any] | None = None) -> None: ...
    def options(self, *, name: str | None = None, dependencies: str | _Node | Iterable[str | _Node] = (),
                run_if: _RunIf = ..., when: _Rule = ..., map_over: _Rule = ..., dynamic: bool = ...,
                keep_result: bool = ..., kind: _Kind | None = ..., pool: str | None = ..., timeout: float | None = ..., soft_timeout: float | None = ...,
                retries: int | None = ..., retry_on: list[str] | None = ..., retry_delay: float | None = ...,
                retry_factor: float | None = ..., retry_max_delay: float | None = ..., retry_jitter: float | None = ...,
                priority: int | None = ..., ttl: float | None = ..., delay: float | None = ...,
                max_worker_losses: int | None = ..., unique: str | None = ..., slots: int | None = ...,
                cpu: float | None = ..., memory: float | str | None = ..., concurrency: tuple[str, int] | None = ...,
                rate: str | tuple[str, str] | None = ...) -> Self: ...

class _Steps(list[_Node]): ...

_Block: TypeAlias = _Node | Sequence["_Block"]

@overload
def step(fn: _TaskFunction[..., Coroutine[Any, Any, _T]], /, *args: Any, **kwargs: Any) -> Step[_T]: ...
@overload
def step(fn: _TaskFunction[..., _T], /, *args: Any, **kwargs: Any) -> Step[_T]: ...
@overload
def step(fn: Callable[..., Coroutine[Any, Any, _T]], /, *args: Any, **kwargs: Any) -> Step[_T]: ...
@overload
def step(fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Step[_T]: ...
def chain(*blocks: _Block) -> _Steps: ...
def group(*blocks: _Block | Iterable[_Block]) -> _Steps: ...
def chord(header: Iterable[_Block], body: _Block) -> _Steps: ...

class EngineConfig:
    def __init__(self, **keys: Any) -> None: ...
    @classmethod
    def from_environment(cls, file: str | PathLike[str] | None = None, **keys: Any) -> Self: ...
    def __getattr__(self, name: str) -> Any: ...

class _Submits:
    """What an engine and its options have in common."""

    @overload
    def submit(self, fn: Callable[_P, Coroutine[Any, Any, _T]], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...
    @overload
    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...
    @overload
    async def run(self, fn: Callable[_P, Coroutine[Any, Any, _T]], /, *args: _P.args, **kwargs: _P.kwargs) -> _T: ...
    @overload
    async def run(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T: ...
    @overload
    def map(self, fn: Callable[..., Coroutine[Any, Any, _T]], *iterables: Iterable[Any], chunksize: int | None = None,
            ordered: bool = True, look_ahead: int | None = None, timeout: float | None = None,
            progress: bool = False) -> Iterator[_T]: ...
    @overload
    def map(self, fn: Callable[..., _T], *iterables: Iterable[Any], chunksize: int | None = None,
            ordered: bool = True, look_ahead: int | None = None, timeout: float | None = None,
            progress: bool = False) -> Iterator[_T]: ...
    @overload
    def starmap(self, fn: Callable[..., Coroutine[Any, Any, _T]], iterable: Iterable[tuple[Any, ...]], *,
                chunksize: int | None = None, ordered: bool = True, look_ahead: int | None = None,
                timeout: float | None = None, progress: bool = False) -> Iterator[_T]: ...
    @overload
    def starmap(self, fn: Callable[..., _T], iterable: Iterable[tuple[Any, ...]], *, chunksize: int | None = None,
                ordered: bool = True, look_ahead: int | None = None, timeout: float | None = None,
                progress: bool = False) -> Iterator[_T]: ...
    @overload
    def amap(self, fn: Callable[..., Coroutine[Any, Any, _T]], *iterables: Iterable[Any], ordered: bool = True,
             look_ahead: int | None = None) -> AsyncIterator[_T]: ...
    @overload
    def amap(self, fn: Callable[..., _T], *iterables: Iterable[Any], ordered: bool = True,
             look_ahead: int | None = None) -> AsyncIterator[_T]: ...

class _Options(_Submits): ...

class Engine(_Submits):
    config: EngineConfig
    def __init__(self, config: EngineConfig | None = None, *, main: Literal["run"] | None = None, **keys: Any) -> None: ...
    def start(self) -> Self: ...
    def shutdown(self, wait: bool = True, *, timeout: float | None = None) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None: ...
    def __del__(self) -> None: ...
    def options(self, *, wait: bool = True, kind: _Kind | None = None, pool: str | None = None,
                timeout: float | None = None,
                soft_timeout: float | None = None, retries: int | None = None, retry_on: list[str] | None = None,
                retry_delay: float | None = None, retry_factor: float | None = None,
                retry_max_delay: float | None = None, retry_jitter: float | None = None, priority: int | None = None,
                ttl: float | None = None, delay: float | None = None, max_worker_losses: int | None = None,
                unique: str | None = None, slots: int | None = None, cpu: float | None = None,
                memory: float | str | None = None, concurrency: tuple[str, int] | None = None,
                rate: str | tuple[str, str] | None = None) -> _Options: ...
    def submit_task(self, task: Task | Step[Any]) -> str: ...
    def submit_workflow(self, tasks: _Node | Iterable[_Block], *, name: str | None = None, on_failure: _OnFailure | None = None,
                        stop_running: bool | None = None, impossible: _Impossible | None = None,
                        upstream: _Upstream | None = None, limits: Mapping[str, Any] | None = None) -> Workflow: ...
    def submit_flow(self, path: str | PathLike[str], params: Mapping[str, Any] | None = None,
                    changes: Mapping[str, Any] | None = None) -> Workflow: ...
    async def run_workflow(self, tasks: _Node | Iterable[_Block], *, name: str | None = None,
                           on_failure: _OnFailure | None = None, stop_running: bool | None = None,
                           impossible: _Impossible | None = None, upstream: _Upstream | None = None,
                           limits: Mapping[str, Any] | None = None) -> dict[str, Any]: ...
    def get_result(self, task_id: str, timeout: float | None = None) -> Result | None: ...
    def cancel(self, task_id: str) -> bool: ...
    def get_status(self) -> dict[str, Any]: ...
    def get_health(self) -> HealthReport: ...
    def get_component_status(self, name: str) -> ComponentStatus: ...

class Executor(concurrent.futures.Executor):
    def __init__(self, max_workers: int | None = None, mp_context: object = None,
                 initializer: Callable[..., object] | None = None, initargs: Iterable[Any] = (), *,
                 max_tasks_per_child: int | None = None, kind: _Kind | None = None, pool: str | None = None,
                 main: Literal["run"] | None = None, show_output: bool = True, **config: Any) -> None: ...
    @overload
    def submit(self, fn: Callable[_P, Coroutine[Any, Any, _T]], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...
    @overload
    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...
    def map(self, fn: Callable[..., _T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1,
            buffersize: int | None = None) -> Iterator[_T]: ...

class Health(Enum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"

@dataclass(frozen=True)
class ComponentStatus:
    name: str
    health: Health
    why: Any
    metrics: dict[str, Any]
    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self: ...

@dataclass(frozen=True)
class HealthReport:
    overall_health: Health
    healthy_count: int
    unhealthy_count: int
    components: dict[str, ComponentStatus]

class _TaskFunction(Generic[_P, _T_co]):
    """A function with options."""

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _T_co: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self: _TaskFunction[Concatenate[Any, _Q], _T], instance: object,
                owner: type | None = None) -> _TaskFunction[_Q, _T]: ...
    @overload
    def submit(self: _TaskFunction[_P, Coroutine[Any, Any, _T]], engine: Engine, /, *args: _P.args,
               **kwargs: _P.kwargs) -> Future[_T]: ...
    @overload
    def submit(self: _TaskFunction[_P, _T], engine: Engine, /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...
    @overload
    async def run(self: _TaskFunction[_P, Coroutine[Any, Any, _T]], engine: Engine, /, *args: _P.args,
                  **kwargs: _P.kwargs) -> _T: ...
    @overload
    async def run(self: _TaskFunction[_P, _T], engine: Engine, /, *args: _P.args, **kwargs: _P.kwargs) -> _T: ...
    @overload
    def step(self: _TaskFunction[..., Coroutine[Any, Any, _T]], /, *args: Any, **kwargs: Any) -> Step[_T]: ...
    @overload
    def step(self: _TaskFunction[..., _T], /, *args: Any, **kwargs: Any) -> Step[_T]: ...
    @overload
    def map(self: _TaskFunction[..., Coroutine[Any, Any, _T]], engine: Engine, /, *iterables: Iterable[Any],
            **how: Any) -> Iterator[_T]: ...
    @overload
    def map(self: _TaskFunction[..., _T], engine: Engine, /, *iterables: Iterable[Any], **how: Any) -> Iterator[_T]: ...

@overload
def task(fn: Callable[_P, _T], /) -> _TaskFunction[_P, _T]: ...
@overload
def task(fn: None = None, /, *, wait: bool = True, kind: _Kind | None = None, pool: str | None = None,
                timeout: float | None = None,
         soft_timeout: float | None = None, retries: int | None = None, retry_on: list[str] | None = None,
         retry_delay: float | None = None, retry_factor: float | None = None, retry_max_delay: float | None = None,
         retry_jitter: float | None = None, priority: int | None = None, ttl: float | None = None,
         delay: float | None = None, max_worker_losses: int | None = None, unique: str | None = None,
         slots: int | None = None, cpu: float | None = None, memory: float | str | None = None,
         concurrency: tuple[str, int] | None = None,
         rate: str | tuple[str, str] | None = None) -> Callable[[Callable[_P, _T]], _TaskFunction[_P, _T]]: ...
def wait_for_all(futures: Iterable[concurrent.futures.Future[_T]], timeout: float | None = None) -> _Futures[_T]: ...
def wait_for_any(futures: Iterable[concurrent.futures.Future[_T]], timeout: float | None = None) -> _Futures[_T]: ...
