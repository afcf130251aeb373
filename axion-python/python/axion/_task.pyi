from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from os import PathLike
from typing import Any, Self

from ._axion import Record
from ._step import Node

class TaskType(Enum):
    CPU_BOUND = "cpu"
    IO_BOUND = "io"

class Task(Node):
    id: str
    script_path: str | PathLike[str]
    params: Any
    task_type: TaskType
    pool: str
    dependencies: list[Any]
    name: str | None
    options: dict[str, Any]
    # For the modules beside.
    _native: Any
    _rules: dict[str, Any]
    def _payload(self) -> bytes: ...
    def __init__(self, script_path: str | PathLike[str], params: Any = None, task_type: TaskType = ...,
                 dependencies: str | Node | Iterable[str | Node] = (), *, name: str | None = None,
                 pool: str | None = None, **options: Any) -> None: ...
    @classmethod
    def create(cls, script_path: str | PathLike[str], params: Any = None, task_type: TaskType = ...,
               dependencies: str | Node | Iterable[str | Node] = (), *, name: str | None = None,
               pool: str | None = None, **options: Any) -> Self: ...

@dataclass(frozen=True)
class Result:
    task_id: str
    is_success: bool
    data: Any
    error: BaseException | None
    duration: float
    record: Record
