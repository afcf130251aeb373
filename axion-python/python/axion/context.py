"""The context of the running task."""

import sys


def current():
    """The context of the task that calls this, or None outside of tasks.

    It has `task_id`, `worker_id`, `attempt`, `deadline` (on `time.monotonic()`, or None), `cancelled`,
    `progress(fraction, message="")` and `log(message, level="info")`.
    """
    module = sys.modules.get("_axion_task")
    return None if module is None else module.current()
