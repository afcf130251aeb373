"""The native part of axion: it converts and forwards. Use the names of `axion` itself."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, final

from typing_extensions import Buffer

__all__ = ["Awaited", "Completions", "Config", "config_keys", "dropped_log_lines", "Engine", "fingerprint", "log_as", "mark_log", "new_task_id", "open_log", "program",
           "Record", "Function", "Options", "Part", "Rules", "Watch", "WorkflowRecord", "__version__"]
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

def dropped_log_lines() -> int:
    """The lines of the log that were dropped, because nobody read them in time."""

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
    """A function's code, which workers are sent once, and the parts that it needs."""

    def __new__(cls, name: str, code: bytes, parts: Sequence[Part] = ...) -> Function: ...
    def needing(self, parts: Sequence[Part]) -> Function:
        """The same function for a call whose arguments need these parts, too."""
    @property
    def id(self) -> str: ...

@final
class Part:
    """Bytes that functions need, which workers are sent once."""

    def __new__(cls, code: Buffer | list[Buffer]) -> Part: ...
    @staticmethod
    def secret(bytes: bytes) -> Part:
        """A part that records and facts leave out. Its id is random."""
    @property
    def id(self) -> bytes:
        """The hash of the bytes, by which the worker finds them."""
    def __len__(self) -> int: ...

def fingerprint(buffer: Buffer) -> bytes:
    """A hash of 128 bits of a contiguous buffer, which is not copied."""

@final
class Options:
    """What a task asks for beyond being run. Times are in seconds."""

    def __new__(cls, *, kind: str = "cpu", pool: str | None = None, timeout: float | None = None, soft_timeout: float | None = None,
                retries: int | None = None, retry_on: list[str] | None = None, retry_delay: float | None = None,
                retry_factor: float | None = None, retry_max_delay: float | None = None,
                retry_jitter: float | None = None, priority: int | None = None, ttl: float | None = None,
                delay: float | None = None, max_worker_losses: int | None = None,
                unique: str | None = None, slots: int | None = None, cpu: float | None = None,
                memory: float | str | None = None, concurrency: tuple[str, int] | None = None,
                rate: str | tuple[str, str] | None = None, eta: str | None = None) -> Options: ...

@final
class Awaited:
    """A number that is awaited. Dropping it gives up."""

@final
class Completions:
    """Collects the records of many tasks."""

    def __new__(cls) -> Completions: ...
    def fileno(self) -> int: ...
    def arm(self) -> list[tuple[int, bytes | bytearray | None, Record | WorkflowRecord | str | None]]: ...
    def take(self) -> list[tuple[int, bytes | bytearray | None, Record | WorkflowRecord | str | None]]: ...
    def wait(self, limit: float | None = None) -> list[tuple[int, bytes | bytearray | None, Record | WorkflowRecord | str | None]]: ...
    def wait_for(self, number: int, awaited: Callable[[], bool],
                 deliver: Callable[[bytes | bytearray | None, Record | WorkflowRecord | str | None], bool],
                 limit: float | None = None) -> bool: ...
    def release(self, number: int) -> None: ...
    def notify(self) -> None: ...

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
    @property
    def has_output(self) -> bool: ...
    def to_json(self) -> str: ...

@final
class Rules:
    """What a step asks for beside its task, from JSON text with the keys of a flow's steps, and what fills the holes in
    a function's arguments: steps and paths."""

    def __new__(cls, options: str, inputs: Sequence[tuple[str, str, str | None]]) -> Rules: ...

@final
class Watch:
    """The events of an engine that pass a filter, from its creation on."""

    def wait(self) -> list[tuple[str, str | None, str]] | None: ...
    def close(self) -> None: ...

@final
class WorkflowRecord:
    """A workflow at its end, or where it stands."""

    @property
    def id(self) -> str: ...
    @property
    def state(self) -> str: ...
    def results(self) -> list[tuple[str, str | None, bytes | bytearray | None]]: ...
    def raised(self) -> tuple[bytes | None, str | None]: ...
    def failures(self) -> list[tuple[str, str, str, str]]: ...
    def to_json(self) -> str: ...

_Step = tuple[str, str | None, Function | str, bytes | list[Buffer], Options, Rules | None, list[str]]

@final
class Engine:
    """A running engine. What it refuses is a `RuntimeError` of a stable code and words."""

    def __new__(cls, config: Config, arguments: list[str], byte_code: list[tuple[str, bytes]]) -> Engine: ...
    def wait_ready(self, limit: float | None = None) -> bool: ...
    def watch(self, kinds: set[str] | None = None, tasks: set[str] | None = None,
              workflow: str | None = None) -> Watch: ...
    def progress(self, id: str) -> tuple[float, str] | None: ...
    def submit(self, work: Function | str, payload: bytes | list[Buffer], options: Options, completions: Completions,
               number: int, wait: int, id: str | None = None) -> str: ...
    def follow(self, id: str, completions: Completions, number: int) -> Awaited: ...
    def ended(self, id: str) -> Record | str | None: ...
    def cancel(self, id: str) -> bool: ...
    def withdraw(self, id: str) -> bool: ...
    def submit_workflow(self, steps: list[_Step], settings: str, completions: Completions, number: int) -> str: ...
    def submit_flow(self, path: str | PathLike[str], params: str | None, changes: list[str], completions: Completions,
                    number: int) -> tuple[str, list[tuple[str, str]]]: ...
    def workflow(self, id: str) -> WorkflowRecord | None: ...
    def cancel_workflow(self, id: str) -> bool: ...
    def status(self) -> str: ...
    def health(self) -> str: ...
    def shutdown(self, limit: float) -> int: ...
