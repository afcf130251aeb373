"""The package in the caller's process: interpreter, signals, forks, threads."""

import os
import pathlib
import select
import signal
import subprocess
import sys
import time

import pytest
from helpers import LONG, alive

import axion
from axion import _byte_code


def python(source, tmp_path, *, inputs=None, check=True, env=None):
    path = tmp_path / "program.py"
    path.write_text(source)
    done = subprocess.run([sys.executable, "-W", "error", path], capture_output=True, text=True, timeout=LONG,
                          input=inputs, env={**os.environ, **(env or {})})
    if check:
        assert (done.stderr, done.returncode) == ("", 0), done
    return done.stdout


def test_the_import_says_nothing_and_brings_nothing_heavy_along(tmp_path):
    # What it takes is measured by the bench.
    out = python("""
import sys
import axion
heavy = "asyncio cloudpickle concurrent.futures.process joblib dask multiprocessing numpy tqdm subprocess"
print(sorted(set(heavy.split()) & set(sys.modules)))
""", tmp_path)
    assert out == "[]\n"


def byte_code_of_runtime():
    """The module -> the flags of its byte code, in this worker."""
    package = next(name for name in sys.modules if name.startswith("_axion_worker_") and "." not in name)
    modules = [module for name, module in sys.modules.items() if name.startswith(package)]
    flags = {}
    for module in modules:
        with open(module.__cached__, "rb") as file:
            flags[module.__name__[len(package):]] = int.from_bytes(file.read(8)[4:], "little")
    return flags


def test_the_package_has_all_of_the_runtime():
    repository = pathlib.Path(__file__).parents[2]
    ours, source = repository / "axion-python/python/axion/_runtime", repository / "axion-actors/python/axion_worker"
    assert sorted(file.name for file in ours.glob("*.py")) == sorted(file.name for file in source.glob("*.py"))


def test_workers_need_not_compile_their_runtime():
    with axion.Executor(1) as executor:
        flags = executor.submit(byte_code_of_runtime).result()
    # What the package brings is checked by the hash of its source (PEP 552). What a worker compiles has the time of its.
    assert len(flags) > 15 and set(flags.values()) == {3}


@pytest.mark.parametrize("damage", ["other source", "none"])
def test_workers_compile_their_runtime_where_the_package_has_no_byte_code_for_it(damage, monkeypatch):
    def other():
        source = _byte_code.util.source_hash(b"of another version")
        return [(name, data[:8] + source + data[16:]) for name, data in code]

    code = _byte_code.byte_code()
    monkeypatch.setattr("axion._engine.byte_code", other if damage == "other source" else list)
    with axion.Executor(1) as executor:
        assert executor.submit(abs, -1).result() == 1


def test_an_engine_that_was_never_shut_down_ends_its_children_without_noise(tmp_path):
    out = python("""
import axion, os, time
engine = axion.Engine(cpu_bound_count=2).start()
print(engine.submit(os.getpid).result(), flush=True)
forgotten = engine.submit(time.sleep, 60)
""", tmp_path)
    assert not alive(int(out))


def test_an_engine_that_is_dropped_ends_its_children(tmp_path):
    engine = axion.Engine(cpu_bound_count=1).start()
    pid = engine.submit(os.getpid).result()
    del engine
    assert not alive(pid)


def test_ctrl_c_ends_a_wait_and_what_is_waited_for(tmp_path):
    path = tmp_path / "program.py"
    path.write_text("""
import axion, signal, time
def once(*_):
    if not interrupted:
        interrupted.append(True)
        raise KeyboardInterrupt
interrupted = []
with axion.Engine(cpu_bound_count=1, cancel_grace=0.1) as engine:
    engine.submit(pow, 1, 1).result()
    future = engine.submit(time.sleep, 1000)
    signal.signal(signal.SIGINT, once)
    try:
        print("waiting", flush=True)
        future.result()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise
""")
    program = subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with program:
        assert program.stdout.readline() == b"waiting\n"
        # There is no sign of its being in the wait; and one that comes just before it sleeps does not wake it.
        while not select.select([program.stdout], [], [], 0.2)[0]:
            program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=LONG)
    assert out == b"interrupted\n" and err.endswith(b"\nKeyboardInterrupt\n")
    assert program.returncode == -signal.SIGINT


def test_two_quick_ctrl_c_end_the_program_and_leave_no_worker():
    program = subprocess.Popen([sys.executable, "-c", """
import axion, os, time
with axion.Engine(cpu_bound_count=1) as engine:
    print(engine.submit(os.getpid).result(), flush=True)
    engine.submit(time.sleep, 1000).result()
"""], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with program:
        worker = int(program.stdout.readline())
        program.send_signal(signal.SIGINT)
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=LONG)
    assert program.returncode == -signal.SIGINT and err.endswith("\nKeyboardInterrupt\n")
    assert not alive(worker)


class RunsInTheCaller:
    def __reduce__(self):
        return os.getpid, ()


def test_results_run_code_in_the_caller(engine):
    """A weakness that docs/internals/security.md states: a task chooses what its result runs when it is unpickled."""
    assert engine.submit(RunsInTheCaller).result(LONG) == os.getpid()


def test_a_forked_process_gets_a_clear_error(tmp_path):
    out = python("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
import axion, os, sys, time
with axion.Engine(cpu_bound_count=2, cancel_grace=0) as engine:
    engine.submit(pow, 1, 1).result()
    waiting = engine.submit(time.sleep, 1000)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        for call in (lambda: engine.submit(pow, 2, 2), waiting.result, engine.get_health):
            try:
                call()
            except axion.EngineError as error:
                print(error.code)
        with axion.Engine(cpu_bound_count=1) as own:
            print(own.submit(pow, 2, 3).result())
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    print("parent", engine.submit(pow, 2, 4).result(), waiting.kill())
""", tmp_path)
    assert out == "forked\nforked\nforked\n8\nparent 16 True\n"


FORKS = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
import axion, multiprocessing, os, subprocess, sys, time

def main():
    engine = axion.Engine(cpu_bound_count=1, io_bound_count=1).start()
    pids = [engine.options(kind=kind).submit(os.getpid).result() for kind in ("cpu", "io")]
    read, write = os.pipe()
    os.set_inheritable(write, True)
    engine.submit(sleeps_and_tells, os.getpid(), write)
    pids += [int(os.read(read, 20))]
    if sys.argv[1] == "fork":
        copy = os.fork()
        if copy == 0:
            time.sleep(1000)
    else:
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
        process.start()
        copy = process.pid
    print(copy, *pids, flush=True)
    time.sleep(1000)

def sleeps_and_tells(program, fd):
    import ctypes
    process = subprocess.Popen(["sleep", "1000"])
    with open("/proc/%d/fd/%d" % (program, fd), "wb", 0) as pipe:
        pipe.write(b"%d" % process.pid)
    ctypes.PyDLL(None).sleep(1000)  # holds the interpreter lock

main()
"""


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_l7_a_killed_program_leaves_no_worker_also_if_a_copy_of_it_lives_on(tmp_path, how):
    path = tmp_path / "program.py"
    path.write_text(FORKS)
    with subprocess.Popen([sys.executable, path, how], stdout=subprocess.PIPE, text=True) as program:
        copy, *pids = map(int, program.stdout.readline().split())
        assert len(pids) == 3 and all(map(alive, pids))
        try:
            program.kill()
            begun = time.monotonic()
            program.wait()
            while any(map(alive, pids)):
                assert time.monotonic() - begun < 1, "L7 allows a second"
                time.sleep(0.002)
            assert alive(copy)
        finally:
            os.kill(copy, signal.SIGKILL)


def test_no_guard_is_needed(tmp_path):
    assert python("""
import axion
class Point:
    def __init__(self, x): self.x = x
def moved(point): return Point(point.x + 1)
with axion.Executor(2) as executor:
    points = list(executor.map(moved, [Point(1), Point(2)]))
print([type(point) is Point and point.x for point in points])
""", tmp_path) == "[2, 3]\n"


def test_it_works_from_standard_input(tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", "-"], capture_output=True, text=True, timeout=LONG, input="""
import axion
with axion.Engine(cpu_bound_count=1) as engine:
    print(engine.submit(lambda n: n + 1, 1).result())
""")
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_errors_survive_a_pickle():
    import pickle

    error = axion.WorkerLost("gone", "worker_lost")
    error.task_id = "7"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code, again.task_id) == (axion.WorkerLost, "gone", "worker_lost", "7")


def test_an_engine_cannot_be_sent_to_a_task(engine):
    with pytest.raises(axion.SubmitError, match="lives in one process"):
        engine.submit(print, engine)


def test_a_task_can_have_an_engine_of_its_own(engine):
    def nested():
        with axion.Engine(cpu_bound_count=1) as inner:
            return inner.submit(pow, 2, 5).result()

    assert engine.submit(nested).result() == 32


LOGS = """
import axion, logging, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
axion._log._PATIENCE = 50  # the handlers are quick, whatever this machine is
if sys.argv[1:]:
    logging.basicConfig(level=sys.argv[1], format="%(levelname)s %(name)s %(message)s", stream=sys.stdout)

def say(n):
    for level in ("debug", "info", "warning", "error"):
        axion.current().log("%s of %%d %d" % (level, n), level=level)

with axion.Engine(cpu_bound_count=1, autoscaler="off", log_level=sys.argv[2] if sys.argv[2:] else "INFO") as engine:
    engine.submit(say, 1).result()
"""


@pytest.mark.parametrize("given, said", [
    ([], []),
    (["WARNING"], ["warning", "error"]),
    (["INFO"], ["info", "warning", "error"]),
    (["DEBUG", "DEBUG"], ["debug", "info", "warning", "error"]),
    (["DEBUG", "ERROR"], ["error"])])
def test_the_engines_log_is_pythons(tmp_path, given, said):
    path = tmp_path / "program.py"
    path.write_text(LOGS)
    done = subprocess.run([sys.executable, "-W", "error", path, *given], capture_output=True, text=True, timeout=LONG)
    assert (done.stderr, done.returncode) == ("", 0)
    lines = [line for line in done.stdout.splitlines() if " of %d 1 task=" in line]
    assert said[:1] == ["debug"] or lines == done.stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [[level.upper(), "axion", level] for level in said]
    assert all(line.endswith(" worker=cpu-0") for line in lines)


def test_a_forked_process_has_a_log_of_its_own(tmp_path):
    out = python(LOGS.replace("sys.argv[1:]", "True").replace("sys.argv[1]", "'INFO'").replace("def say", """
import queue
shown = queue.SimpleQueue()
class Shown(logging.Handler):
    def emit(self, record):
        shown.put(record)
logging.getLogger().addHandler(Shown())

def say""") + """
    for _ in range(3):
        shown.get()
    pid = os.fork()
    if pid == 0:
        with axion.Engine(cpu_bound_count=1) as own:
            own.submit(say, 2).result()
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    engine.submit(say, 3).result()
""", tmp_path)
    found = [line.split(" task=")[0] for line in out.splitlines()]
    assert found == ["%s axion %s of %%d %d" % (level.upper(), level, n)
                     for n in (1, 2, 3) for level in ("info", "warning", "error")]


def test_a_log_that_is_too_fast_blocks_nothing_and_reports_what_is_missing(tmp_path):
    out = python("""
import axion, logging, queue, sys, threading
go_on, come, lines = threading.Event(), queue.SimpleQueue(), []
class Slow(logging.Handler):
    def emit(self, record):
        go_on.wait()
        come.put(record.getMessage())
logging.getLogger("axion").addHandler(Slow())
logging.getLogger("axion").setLevel("INFO")

def say(count, word="many words"):
    for n in range(count):
        axion.current().log("%d %s" % (n, 40 * word))

# More than any pipe holds, also one of large pages.
with axion.Engine(cpu_bound_count=1, autoscaler="off") as engine:
    engine.submit(say, 10_000).result()
    go_on.set()
    while not axion._axion.mark_log():
        lines.append(come.get())  # there is no room yet
    axion._log._marked.wait()
    engine.submit(say, 1, "at last").result()
    engine.submit(say, 1, 10_000 * "x").result()
while not lines or len(lines[-1]) < 4000:
    lines.append(come.get())
dropped = [line for line in lines if line.endswith("lines of the log were dropped")]
print(len(lines) < 10_000, len(lines) - len(dropped) + sum(int(line.split()[0]) for line in dropped), len(lines[-1]))
""", tmp_path)
    assert out == "True 10002 4093\n"


def test_l6_where_exits_are_not_told_the_reason_is_right_all_the_same(tmp_path):
    out = python("""
import os, signal
import axion

signal.signal(signal.SIGCHLD, signal.SIG_IGN)

def spin():
    while True:
        pass

with axion.Engine(cpu_bound_count=1) as engine:
    for options, work in ({"timeout": 0.5}, spin), ({"max_worker_losses": 0}, lambda: os._exit(3)):
        error = engine.options(**options).submit(work).exception()
        print(error.code, "killed" in str(error), "unknown exit (the program ignores SIGCHLD" in str(error))
""", tmp_path)
    assert out == "timeout True False\nworker_lost False True\n"


def test_forked_programs_have_engines_and_tasks_of_other_names(tmp_path):
    out = python("""
import os
import axion

def work():
    with axion.Engine(cpu_bound_count=1) as engine:
        future = engine.submit(os.environ.get, "AXION_WORKER")
        return future.result().partition(":")[0] + " " + future.task_id

work()  # the program has drawn random numbers before it forks
for _ in range(4):
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, work().encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    print(os.read(reader, 1000).decode())
""", tmp_path)
    marks, ids = zip(*map(str.split, out.splitlines()), strict=True)
    assert len(set(marks)) == 4
    assert len({task[-12:] for task in ids}) == 4, "the random part"


FEW_DESCRIPTORS = """
import gc, os, resource, sys, threading
import axion

folder = sys.argv[1]
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

def limit(count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, most))

def attempt(count):
    engine = axion.Engine(cpu_bound_count=1, runtime_dir=folder)
    limit(count)
    try:
        with engine:
            return "result %s" % engine.submit(abs, -3).result(60)
    except axion.AxionError as error:
        assert "Too many open files" in str(error), error
        return error.code
    finally:
        limit(most)

def left():
    gc.collect()  # an engine that was shut down has its descriptors until it is collected
    threads = [it.name for it in threading.enumerate() if it.name == "axion-results"]
    return os.listdir(folder), threads, sorted(os.listdir("/proc/self/fd"))

if __name__ == "__main__":
    attempt(most)  # loads modules, and starts the thread of the log
    before = left()
    own, outcomes = len(before[2]), set()
    for count in range(own, own + 64, 2):
        outcome = attempt(count)
        assert left() == before, (count, outcome, left(), before)
        outcomes.add(outcome)
    print(sorted(outcomes))
"""


def test_l1_with_few_descriptors_an_engine_starts_or_says_why_and_leaves_nothing(tmp_path):
    program, folder = tmp_path / "few.py", tmp_path / "private"
    program.write_text(FEW_DESCRIPTORS)
    folder.mkdir()
    ran = subprocess.run([sys.executable, "-X", "dev", program, folder], capture_output=True, text=True, check=False,
                         timeout=LONG)
    assert (ran.stdout, ran.stderr) == ("['result 3', 'start_failed', 'worker_start_failed']\n", "")
