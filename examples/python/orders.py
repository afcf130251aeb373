"""A workflow that splits a file, cleans its parts in parallel, adds them up and writes a report. It is the flow
examples/flows/etl.toml, written in Python."""

import os

from axion import Engine, Ref, Task, TaskType

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "flows", "scripts")


def step(name, script, params, **options):
    return Task(os.path.join(SCRIPTS, script), params, TaskType.CPU_BOUND, name=name, **options)


tasks = [
    step("split", "split_csv.py", {"file": "data/orders.csv", "rows": 100}),
    step("clean", "clean_orders.py", {"file": "data/orders.csv"}, retries=1,
         map_over={"ref": "split", "path": "parts", "as": "part", "max_parallel": 4}),
    step("total", "add_up.py", {"parts": Ref("clean")}),
    step("report", "report.py", {"totals": Ref("total", "categories"), "broken": Ref("total", "broken"),
                                 "source": Ref("split", "file")}),
]

with Engine(cpu_bound_count=2) as engine:
    workflow = engine.submit_workflow(tasks, name="orders by category", upstream="names")
    print(workflow.result(timeout=40)["report"]["text"])
    print("of %d parts" % len(engine.get_result(workflow["split"]).data["parts"]))
