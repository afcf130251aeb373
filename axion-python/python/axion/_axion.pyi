"""The native part of axion: it converts and forwards. Use the names of `axion` itself."""

from collections.abc import Mapping
from os import PathLike
from typing import Any, final

from typing_extensions import Buffer

__all__ = ["Completions", "Config", "config_keys", "Engine", "log_as", "mark_log", "new_task_id", "open_log", "program", "Record", "Function", "Options", "__version__"]
__version__: str

def config_keys() -> list[tuple[str, str, str]]:
    """The names of all settings, and what each means and takes."""

def new_task_id() -> str:
    """A new task id: a UUID of version 7."""

def program(arguments: list[str], python: str | PathLike[str] | None) -> int:
    """Runs the program `axion`; returns its exit code."""

def open_log() -> int | None:
    """Opens the log of this process; returns the descriptor from which its lines are read."""

def log_as(config: Config) -> None:
    """Has as much written as these settings ask for."""

def mark_log() -> bool:
    """Writes a mark behind all lines so far."""

@final
class Config:
    """The settings of an engine."""

    def __new__(cls, values: Mapping[str, Any], environment: bool = False,
                file: str | PathLike[str] | None = None) -> Config: ...
    def get(self, name: str) -> Any:
        """The value of a setting: times in seconds, sizes in bytes, None if it is not set."""

@final
class Function:
    """A function's code, which workers are sent once."""

    def __new__(cls, name: str, code: bytes) -> Function: ...
    @property
    def id(self) -> str: ...

@final
class Options:
    """What a task asks for beyond being run. Times are in seconds."""

    def __new__(cls, *, kind: str = "cpu", timeout: float | None = None, soft_timeout: float | None = None,
                retries: int | None = None, retry_on: list[str] | None = None, retry_delay: float | None = None,
                retry_factor: float | None = None, retry_max_delay: float | None = None,
                retry_jitter: float | None = None, priority: int | None = None, ttl: float | None = None,
                delay: float | None = None, max_worker_losses: int | None = None,
                unique: str | None = None, slots: int | None = None, cpu: float | None = None,
                memory: float | str | None = None, concurrency: tuple[str, int] | None = None,
                rate: str | tuple[str, str] | None = None) -> Options: ...

@final
class Completions:
    """Where the records of many tasks come together."""

    def __new__(cls) -> Completions: ...
    def fileno(self) -> int: ...
    def arm(self) -> list[tuple[int, bytes | bytearray | None, Record | str | None]]: ...
    def take(self) -> list[tuple[int, bytes | bytearray | None, Record | str | None]]: ...
    def wait(self, limit: float | None = None) -> list[tuple[int, bytes | bytearray | None, Record | str | None]]: ...
    def ring(self) -> None: ...

@final
class Record:
    """How a task ended."""

    @property
    def task_id(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def json(self) -> str | None: ...
    @property
    def pickle(self) -> bytes | bytearray | None: ...
    @property
    def duration(self) -> float: ...
    @property
    def attempt(self) -> int | None: ...
    @property
    def worker_id(self) -> str | None: ...
    @property
    def code(self) -> str | None: ...
    @property
    def message(self) -> str | None: ...
    @property
    def exception(self) -> str | None: ...
    @property
    def traceback(self) -> str | None: ...
    @property
    def causes(self) -> list[tuple[str, str]]: ...
    @property
    def raised(self) -> bytes | None: ...
    @property
    def post_mortem(self) -> str | None: ...
    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...
    def to_json(self) -> str: ...

@final
class Engine:
    """A running engine. What it refuses is a `RuntimeError` of a stable code and words."""

    def __new__(cls, config: Config) -> Engine: ...
    def submit(self, work: Function | str, payload: bytes | list[Buffer], options: Options, completions: Completions,
               number: int, wait: int, id: str | None = None) -> str: ...
    def follow(self, id: str, completions: Completions, number: int) -> None: ...
    def cancel(self, id: str) -> bool: ...
    def withdraw(self, id: str) -> bool: ...
    def status(self) -> str: ...
    def health(self) -> str: ...
    def shutdown(self, limit: float) -> int: ...
