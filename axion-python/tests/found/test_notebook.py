"""A notebook behaves as in one process: functions, classes, redefinitions, a lazily loaded global."""

import pytest

nbclient = pytest.importorskip("nbclient", reason="not installed: notebooks are not tested")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

from helpers import LONG  # noqa: E402

CELLS = [
    ("import axion\nengine = axion.Engine(cpu_bound_count=1, cpu_bound_max=1).start()", ""),
    ("rate = 2\ndef gross(net):\n    return net * rate", ""),
    ("print(engine.submit(gross, 5).result())", "10\n"),
    ("rate = 3\nprint(engine.submit(gross, 5).result())", "15\n"),
    ("class Price:\n    made = 0\n    def __init__(self, net):\n        self.net = net\n"
     "    def gross(self):\n        return gross(self.net)", ""),
    ("first = engine.submit(Price, 5).result()\nprint(type(first) is Price, first.gross(), Price.made)", "True 15 0\n"),
    ("print(engine.submit(lambda it: (type(it) is Price, it.gross()), first).result())", "(True, 15)\n"),
    # The cell is run again with a change, as people do.
    ("class Price:\n    def __init__(self, net):\n        self.net = net\n    def gross(self):\n        return -gross(self.net)", ""),
    ("second = engine.submit(Price, 5).result()\n"
     "print(type(second) is Price, type(first) is Price, first.gross(), second.gross())", "True False 15 -15\n"),
    ("print(engine.submit(lambda a, b: (a.gross(), b.gross(), type(a) is type(b)), first, second).result())",
     "(15, -15, False)\n"),
    ("def gross(net):\n    return net * rate + 1", ""),
    ("print(engine.submit(second.gross).result(), first.gross())", "-16 16\n"),
    ("data, loads = None, 0\ndef load():\n    global data, loads\n    if data is None:\n        data = list(range(3))\n"
     "        loads += 1\n    return loads, len(data)", ""),
    ("print([engine.submit(load).result() for _ in range(3)], data, loads)", "[(1, 3), (1, 3), (1, 3)] None 0\n"),
    ("from enum import Enum\nclass Color(Enum):\n    RED = 1\nprint(engine.submit(lambda c: c is Color.RED, Color.RED).result(),"
     " engine.submit(lambda: Color.RED).result() is Color.RED)", "True True\n"),
    ("def fail():\n    raise KeyError('k')  # the line of the cell\n"
     "error = engine.submit(fail).exception()\nprint(type(error).__name__, 'the line of the cell' in str(error.__cause__))",
     "KeyError True\n"),
    ("import inspect\nprint(engine.submit(lambda: inspect.getsource(load)).result() == inspect.getsource(load))", "True\n"),
    ("_ = engine.submit(lambda: In[1]).exception()\nprint(engine.submit(gross, 1).result())", "4\n"),
    ("del rate\nprint(repr(engine.submit(gross, 1).exception()))", "NameError(\"name 'rate' is not defined\")\n"),
    ("print(await engine.run(abs, -1), await engine.run(len, first.__dict__))", "1 1\n"),
    ("%time x = engine.submit(pow, 2, 3).result()\nengine.shutdown()\nprint(x)", None),
]


def test_a24_a_notebook_behaves_as_in_one_process(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source, _ in CELLS])
    client = nbclient.NotebookClient(notebook, timeout=LONG, kernel_name="python3",
                                     resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    for cell, (source, wanted) in zip(notebook.cells, CELLS):
        printed = "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")
        if wanted is not None:
            assert printed == wanted, source
    assert printed.endswith("8\n")
