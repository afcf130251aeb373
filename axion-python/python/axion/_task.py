"""Script tasks, as the older Axion had them."""

import enum
import json
from dataclasses import dataclass, field

from . import _axion
from ._options import make_options
from ._step import Node, split_options
from .errors import TaskError


class TaskType(enum.Enum):
    """The pool a task is for."""

    CPU_BOUND = "cpu"
    IO_BOUND = "io"


class Task(Node):
    """A script with its parameters. `main(params, context)`, or `module()` returning an object with
    `run(params)`, is called in a worker; both may be `async def`.

    Args:
        script_path: the script's file.
        params: its parameters: any value with a JSON form.
        task_type: `TaskType.CPU_BOUND` or `TaskType.IO_BOUND`, the pool `cpu` or `io`.
        pool: the pool by its name, in place of the one that `task_type` means.
        dependencies: the tasks that it waits for: tasks, their ids, or names of steps of its workflow. It finds their
            results in `params["upstream_results"]`, by id and by name.
        name: its name as a step of a workflow.
        options: those of `Engine.options`: timeout, retries, priority, ttl …; and those of a step
            (docs/guides/flows.md): run_if, when, map_over, dynamic, keep_result.
    """

    def __init__(self, script_path, params=None, task_type=TaskType.IO_BOUND, dependencies=(), *, name=None, pool=None,
                 **options):
        self.script_path = script_path
        self.params = {} if params is None else params
        self.task_type = TaskType(task_type)
        self.dependencies = [dependencies] if isinstance(dependencies, (str, Node)) else list(dependencies)
        self.name = name
        self.pool = self.task_type.value if pool is None else pool
        self.options = options
        self._rules, own = split_options(options)
        self._native = make_options(pool=self.pool, **own)
        self.id = _axion.new_task_id()

    @classmethod
    def create(cls, script_path, params=None, task_type=TaskType.IO_BOUND, dependencies=(), *, name=None, pool=None,
               **options):
        """The same as the constructor."""
        return cls(script_path, params, task_type, dependencies, name=name, pool=pool, **options)

    def _payload(self):
        try:
            return json.dumps(self.params, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise TaskError("the parameters have no JSON form: %s" % error, "params_invalid") from error

    def __repr__(self):
        return "Task(id=%r, script_path=%r, task_type=%s)" % (self.id, self.script_path, self.task_type)


@dataclass(frozen=True)
class Result:
    """How a task ended. `data` is its return value, `error` a `RemoteError`, `duration` its run time in seconds.
    `record` has more: output, attempt, worker."""

    task_id: str
    is_success: bool
    data: object
    error: object
    duration: float
    record: object = field(repr=False)
