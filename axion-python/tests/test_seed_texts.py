"""The documents of the older packages: each piece of code in them runs, and gives what is printed there.

The texts are those in `seeds/`, unchanged. What differs when they run:

| in the text | when it runs |
| --- | --- |
| `parallelism`, `cpu_load_balancer` | `axion.scheduler` and `axion`; in log lines, `axion` |
| `...` among arguments | the script of the same document; or nothing, where other arguments are given |
| `executor=...` | `executor=Process` |
| `...`, `<… (float)>`, `<… (str)>`, `%Y, %m, …` in what is printed | any text |
| `TIMESTAMP`, `PID:TID` | a date and time, two numbers |
| `… nanoseconds`, `… microseconds` | a number and any unit of time |
| `/path/to/script.py` | the script that the document shows |
| an indentation that is lost (000) | the one that the colons at the ends of lines ask for |
| `# Task 'p1' has been started` | nothing: says whose line it is |
| several spaces | one |
| `RaiseException(exception=E, traceback=…)` in a table | `E`, as in the same document's examples |
| a traceback's frame in the package's own files, and `^^^^^` | not there, and `~~^~~` |
| lines of tasks that run at the same time | in any order that their dependencies allow |

What is no code stands in the tables `PIECES_000` and `BLOCKS_001` with the reason.
"""

import contextlib
import doctest
import io
import json
import multiprocessing
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import axion
import pytest
from helpers import LONG

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]


def text_of(name):
    return (HERE / "seeds" / name).read_text(encoding="utf-8")


def run(source, **names):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, "<the document>", "exec"), names)
    return out.getvalue(), names


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# 000: the older Axion. No mark divides code from prose, so the table says where each piece begins.

PROSE = "prose"
COMMENTS = "comments only"
COMMANDS = "commands of the older package's repository; here `axion bench`"
PIECES_000 = [
    ("Axion v3.0", PROSE),
    ("from axion import Engine, Task, TaskType\n", "first"),
    ("# my_script.py\n", "script"),
    ("from axion import Engine, EngineConfig\n", "config"),
    ("| Parametre | ", "settings"),
    ("Axion, sistem yüküne göre", PROSE),
    ("# Queue-aware scaling\n", COMMENTS),
    ("Özellikler:\n", PROSE),
    ("# Görevler arası bağımlılık\n", "workflow"),
    ("Boş worker'lar", PROSE),
    ("# Worker A:", COMMENTS),
    ("Intelligent score-based", PROSE),
    ("# CPU-bound: Thread saturation", "scores"),
    ("Sistem aşırı yüklüyse", PROSE),
    ("# CPU > %100", COMMENTS),
    ("status = engine.get_status()\n", "status"),
    ("pool_status = ", "pool"),
    ("[CPU] Scale OUT +2 → 6 workers", "printed"),
    ("Sorun: Görev timeout alıyor\n", PROSE),
    ("# 1. Timeout süresini artır\n", "more time"),
    ("Sorun: TaskError: Queue dolu", PROSE),
    ("# Queue boyutunu artır\n", "more room"),
    ("Sorun: Memory kullanımı", PROSE),
    ("# 1. Result cache boyutu\n", COMMENTS),
    ("Sorun: Performans düşük\n", PROSE),
    ("# 1. Task tipini kontrol et\n", "faster"),
    ("config = EngineConfig(\ncpu_bound_count=multiprocessing", "for cpu"),
    ("config = EngineConfig(\ncpu_bound_count=2, # CPU için", "for io"),
    ("config = EngineConfig(\ncpu_bound_count=4,\n", "for both"),
    ("- Module Overview - Modül özeti\n", PROSE),
    ("# Performans testleri\n", COMMANDS),
    ("Dokümantasyonu geliştirmek için:", PROSE),
]
NO_CODE = (PROSE, COMMENTS, COMMANDS)


def pieces_000():
    text, starts = text_of("000_axion_v3.txt"), []
    for mark, _ in PIECES_000:
        starts.append(text.index(mark, starts[-1] + 1 if starts else 0))
    assert starts[0] == 0
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)])]
    return list(zip((what for _, what in PIECES_000), parts))


PARTS_000 = dict(reversed([part for part in pieces_000() if part[0] not in NO_CODE]))


def indented(source):
    """Source with the indentation that the colons at the ends of its lines ask for."""
    lines, depth, openers, in_text = [], 0, [], False
    for line in source.splitlines():
        if line.startswith(("else:", "elif ", "except")):
            depth = openers.pop()
        lines.append(line if in_text else "    " * depth + line)
        in_text ^= line.count('"""') == 1
        if not in_text and line.split("#")[0].rstrip().endswith(":"):
            if line.startswith(("if ", "else:", "try:")):
                openers.append(depth)
            depth += 1
    return "\n".join(lines) + "\n"


def test_the_pieces_that_are_no_code_have_none():
    """In 000. A piece of code that is called prose would otherwise pass unseen."""
    for what, part in pieces_000():
        lines = part.splitlines()
        if what == COMMENTS:
            assert all(line.startswith("#") for line in lines), part
        if what == PROSE:
            assert not [line for line in lines if re.search(r"\w\(.*\)$|^\w+ = |^import |^from |^def ", line)], part
        if what == COMMANDS:
            assert all(line.startswith(("#", "python benchmarks/")) for line in lines), part


@pytest.fixture
def my_script(folder):
    (folder / "my_script.py").write_text(indented(PARTS_000["script"]), encoding="utf-8")


def test_c0_1_the_first_example_prints_what_the_document_prints(my_script):
    out, names = run(indented(PARTS_000["first"]))
    _, wanted, time, *_ = PARTS_000["printed"].splitlines()[1:]
    assert wanted == "Sonuç: {'result': 84, 'status': 'success'}" and out == wanted + "\n"
    assert re.fullmatch(r"Süre: \d+\.\d\ds", time) and re.fullmatch(r"Süre: \d+\.\d\ds", f"Süre: {names['result'].duration:.2f}s")


def test_c0_3_a_missing_entry_point_is_named_as_printed(engine, folder):
    (folder / "my_script.py").write_text("x = 1\n")
    result = engine.get_result(engine.submit_task(axion.Task("my_script.py")), timeout=LONG)
    line = next(line for line in PARTS_000["printed"].splitlines() if line.startswith("Hata: "))
    function, path = re.fullmatch(r"Hata: Script'te '(\w+)' fonksiyonu bulunamadı: (\S+)", line).groups()
    assert not result.is_success and function in str(result.error) and path in str(result.error)


@pytest.mark.parametrize("what", ["config", "more room", "faster", "for cpu", "for io", "for both"])
def test_c0_4_the_configurations_are_accepted(engine, what):
    _, names = run(PARTS_000[what], multiprocessing=multiprocessing, engine=engine, EngineConfig=axion.EngineConfig)
    given = dict(re.findall(r"^(?:config = EngineConfig\()?(\w+)=(\d+)\b(?!\*)", PARTS_000[what], re.MULTILINE))
    assert given, what
    for key, value in given.items():
        if what != "more room" or key != "input_queue_size":  # the next configuration there replaces it
            assert getattr(names["config"], key) == int(value)


def test_c0_4_the_defaults_are_those_of_the_table():
    names = re.findall(r"^(\w+) \|\n.*\| (\S+) \|$", PARTS_000["settings"], re.MULTILINE)
    defaults = axion.EngineConfig()
    assert len(names) == 8
    for name, wanted in names:
        if wanted == "CPU_COUNT-1":
            wanted = str(max(len(os.sched_getaffinity(0)) - 1, 1))
        assert str(getattr(defaults, name)) == wanted.strip('"'), name


def test_c0_6_the_workflow_runs_in_order(engine, my_script):
    source = PARTS_000["workflow"].replace("(...", "('my_script.py', {'value': 4}")
    _, names = run(source, engine=engine, Task=axion.Task)
    names["task_ids"].result()
    results = [engine.get_result(task.id, LONG) for task in (names["task_a"], names["task_b"], names["task_c"])]
    assert [result.data["result"] for result in results] == [8, 8, 8]


def test_c0_8_the_scores_are_those_of_the_formulas():
    loads = {(5, 10, 0.80): 12.04, (2, 3, 0.40): 4.22, (8, 15, 0.95): 18.6475}
    for (running, queued, cpu), wanted in loads.items():
        _, names = run(PARTS_000["scores"], thread_load=running, process_load=queued, cpu_usage=cpu)
        assert names["score_cpu"] == pytest.approx(wanted)
    engine_room = (ROOT / "axion-actors" / "src" / "policy" / "placement.rs").read_text()
    for factor in re.findall(r"\* (\d\.\d+)", PARTS_000["scores"]):
        assert factor in engine_room, "the engine has the same factors"


def test_c0_10_the_status_has_what_the_document_prints(engine):
    engine.submit(pow, 2, 2).result()
    out, names = run(indented(PARTS_000["status"]) + indented(PARTS_000["pool"]), engine=engine)
    assert re.match(r"Engine: True\nInput Queue: 0\nCPU Workers: \d\nIO Workers: \d\n(cpu-\d: \d active, \d queued\n)*", out)
    assert "cpu_worker_tasks" in names["pool_status"].metrics


def test_the_scaling_lines_are_those_of_the_policy():
    """Its own tests have them: `axion-v3` in axion-actors."""
    wanted = [line for line in PARTS_000["printed"].splitlines() if line.startswith(("[CPU]", "[IO]"))]
    tests = (ROOT / "axion-actors" / "src" / "policy" / "scaling" / "tests" / "axion_v3.rs").read_text()
    assert len(wanted) == 4 and all(line in tests for line in wanted[1:])
    assert wanted[0].split("|")[0].replace("6", "4") == wanted[1].split("|")[0], "the short form of the next one"


def test_a_result_may_take_more_time(engine, my_script):
    task_id = engine.submit_task(axion.Task("my_script.py"))
    _, names = run(PARTS_000["more time"], engine=engine, task_id=task_id, EngineConfig=axion.EngineConfig)
    assert names["result"].data == {"result": 0, "status": "success"} and names["config"].io_bound_count == 16


# 001: its predecessor. The blocks are marked.

SHELL = "commands of another repository"
DRAWING = "a drawing"
BLOCKS_001 = [SHELL, SHELL, "start", "with", "status", DRAWING, DRAWING, "script", "config", SHELL, SHELL, "components",
              "health"]


def blocks_001():
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text_of("001_cpu_load_balancer.txt"), re.MULTILINE | re.DOTALL)
    assert len(found) == len(BLOCKS_001)
    for (language, _), what in zip(found, BLOCKS_001):
        assert language == {SHELL: "bash", DRAWING: ""}.get(what, "python"), "only what is Python runs, and all of it"
    return {what: source for what, (_, source) in zip(BLOCKS_001, found)}


PARTS_001 = blocks_001()


@pytest.fixture
def in_001(folder):
    """Runs a block as the document has it, but for the package's name and the path of the script."""
    script = folder / "script.py"
    script.write_text(PARTS_001["script"], encoding="utf-8")

    def run_block(what, **names):
        source = PARTS_001[what].replace("from cpu_load_balancer ", "from axion ")
        return run(source.replace('"/path/to/script.py"', repr(str(script))), **names)

    return run_block


def printed_label(what, at):
    """The words before the value in a `print` of a block: in the broken encoding of the document."""
    return re.findall(r'print\(f"([^{]*)\{', PARTS_001[what])[at]


def test_c1_2_start_and_shutdown(in_001):
    out, names = in_001("start")
    assert out == printed_label("start", 0) + "{'result': 0, 'status': 'ok'}\n"
    assert names["engine"].shutdown() == 0, "again"


def test_c1_1_the_context_manager(in_001):
    out, names = in_001("with")
    assert out == printed_label("with", 0) + "{'result': 20, 'status': 'ok'}\n"


def test_c1_3_the_status(in_001):
    out, names = in_001("status")
    names["engine"].shutdown()
    assert re.match(r"Engine running: True\nInput queue size: 0\nActive tasks: 0\nQueue health: healthy\n"
                    r"Queue metrics: \{.*\}\nOverall health: \w+\nHealthy components: \d\n$", out)


def test_c1_3_the_components_and_the_health(in_001, engine):
    out, _ = in_001("components", engine=engine)
    assert "input_queue: healthy\n" in out and out.endswith("Queue size: 0\nQueue fullness: 0.0\n")
    out, _ = in_001("health", engine=engine)
    assert re.fullmatch(r"Overall: \w+\nHealthy: \d\nUnhealthy: \d\n", out)


def test_c1_4_the_configuration(in_001):
    _, names = in_001("config")
    assert names["config"].output_queue_size == 5000
    listed = re.findall(r"^  - `(\w+)`: .*\((?:[^():]*: )?([^():]+)\)$", text_of("001_cpu_load_balancer.txt"), re.MULTILINE)
    assert len(listed) == 11
    defaults = axion.EngineConfig()
    for name, wanted in listed:
        if not wanted.startswith("None = "):
            assert str(getattr(defaults, name)) == wanted.strip('"'), name


# 003: the scheduler. Blocks of a file, and sessions of the interactive interpreter.

NAME_003 = "003_parallelism.txt"


def sources_003():
    """The pieces in their order: kind ("file" or "line"), source, what is printed."""
    text = text_of(NAME_003)
    lines = text.splitlines()
    found = []
    for example in doctest.DocTestParser().get_examples(text):
        found.append((example.lineno, "line", example.source, example.want))
    for at, line in enumerate(lines):
        if line.strip() == ".. code-block:: python":
            end = next(n for n in range(at + 1, len(lines)) if lines[n].strip().startswith((".. py:", ">>>")))
            found.append((at, "file", textwrap.dedent("\n".join(lines[at + 1:end]) + "\n"), ""))
        if line == "# Built-in modules":
            end = lines.index("Code flow")
            found.append((at, "file", "\n".join(lines[at:end]) + "\n", ""))
    return [piece[1:] for piece in sorted(found)]


def to_run(source):
    source = source.replace("from parallelism import", "from axion.scheduler import")
    source = source.replace("executor=...", "executor=__import__('multiprocessing').Process")
    return re.sub(r", \.\.\.(?=[,)])", "", source)


def pattern(line):
    """The pattern for a line of what is printed."""
    line = re.sub(r"\s+# Task '\w+' has been started", "", line)
    line = line.replace("parallelism:", "axion:")
    for text, stands_for in (("TIMESTAMP", "§date"), ("PID:TID", "§ids"), ("datetime.datetime(%Y, %m, %d, %H, %M, %S, %f)", "§some"),
                             ("<time in seconds (float)>", "§number"), ("float(...)", "§number"), ("...", "§some")):
        line = line.replace(text, stands_for)
    line = re.sub(r"\b(nano|micro)seconds", "§unit", line)
    line = re.escape(re.sub(r" +", " ", line.strip()))
    for name, regex in (("date", r"[-\d]+ [\d:,]+"), ("ids", r"\d+:\d+"), ("number", r"[-+.e\d]+"), ("some", ".*"), ("unit", r"(nano|micro|milli)?seconds")):
        line = line.replace("§" + name, regex)
    return line


def prepared(want):
    """What is printed, with the parts of a `RaiseException` in a table as its exception alone."""
    return re.sub(r"RaiseException\(\s*exception=(.*),\s*traceback=<.*>,\s*\)", r"\1", want)


def owner(line):
    """The task that a line of what is printed is about."""
    found = re.search(r"# Task '(\w+)'", line) or re.search(r"^\W*'(\w+)':|- '(\w+)' ", line)
    return found and next(filter(None, found.groups()))


def compare(want, printed, needs):
    """Each line is there once, and those of a task come after those of the tasks that it needs."""
    wanted = [line for line in prepared(want).splitlines() if line.strip()]
    left = [re.sub(r" +", " ", line.strip()) for line in printed.splitlines() if line.strip()]
    lines, places = list(left), {}
    for line in wanted:
        match = next((each for each in left if re.fullmatch(pattern(line), each)), None)
        assert match is not None, "%r is not in\n%s" % (line, printed)
        left.remove(match)
        if owner(line):
            places.setdefault(owner(line), []).append(lines.index(match))
    assert not left, "also printed: %r" % left
    for task, needed in needs:
        if task in places and needed in places:
            assert max(places[needed]) < min(places[task]), printed
    for own in places.values():
        assert own == sorted(own), printed


@pytest.fixture(scope="module")
def session_003(tmp_path_factory):
    """All of the document in one run: what each piece printed."""
    pieces = sources_003()
    given = json.dumps([(kind, to_run(source)) for kind, source, _ in pieces])
    done = subprocess.run([sys.executable, str(HERE / "seed_session.py")], input=given, stdout=subprocess.PIPE,
                          cwd=tmp_path_factory.mktemp("session"), text=True, timeout=LONG, check=True)
    return [(source, want, *answer) for (_, source, want), answer in zip(pieces, json.loads(done.stdout))]


def test_every_piece_of_003_runs(session_003):
    assert len(session_003) > 35
    for source, _, _, failed in session_003:
        assert failed is None, source + failed


def test_c3_the_tables_and_the_log_are_as_printed(session_003):
    needs, compared = [], 0
    for source, want, printed, _ in session_003:
        made = re.match(r"(\w+) = scheduled_task", source)
        if made:
            needs += [(made.group(1), needed) for needed in re.findall(r"(\w+)\.return_value", source)]
        if source.startswith("s1 = "):
            all_at_once = [owner(line) for line in want.splitlines() if "WARNING" in line and "lack of" in line]
            assert [owner(line) for line in printed.splitlines()][:len(all_at_once)] == all_at_once, "before anything starts"
        if "traceback" in source:
            continue
        if want:
            compare(want, printed, needs)
            compared += 1
        else:
            assert source.startswith(("from", "#")) or not printed.strip() or "task_scheduler(" in source
        if source.startswith("s1 = "):
            needs_of_last, needs = needs, []
            assert needs_of_last
    assert compared == 11


def test_c3_2_the_tables_have_the_order_of_start(session_003):
    tables = [printed for source, _, printed, _ in session_003 if source.startswith("s1.")]
    orders = [re.findall(r"^    '(\w+)':", printed, re.MULTILINE) for printed in tables]
    assert orders[0][:6] == ["p3", "p4", "p1", "p2", "t3", "t4"] and len(orders) == 4
    for order in orders[1:]:
        assert order == [name for name in orders[0] if name in order]


def test_c3_the_traceback_is_as_printed(session_003):
    source, want, printed, _ = next(it for it in session_003 if it[0].endswith(".traceback\n"))
    shown = [line.strip() for line in eval(printed).splitlines()]
    wanted = [line.strip() for line in want.splitlines()]
    own = next(at for at, line in enumerate(wanted) if "main.py" in line)
    wanted = wanted[:1] + wanted[own:]
    marks = re.compile(r"[~^]+")
    wanted, shown = ([line for line in lines if not marks.fullmatch(line)] for lines in (wanted, shown))
    assert len(shown) == len(wanted) == 4, "no frame of the worker's own"
    for line, found in zip(wanted, shown):
        assert re.fullmatch(re.escape(line).replace(r"\.\.\.", ".*"), found)
