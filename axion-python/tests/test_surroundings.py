"""What tasks find around them: as in a child of the caller (L18)."""

import glob
import os
import shutil
import subprocess
import sys

import pytest
from helpers import LONG, run_program


def module(folder, name, source):
    folder.mkdir(exist_ok=True)
    (folder / (name + ".py")).write_text(source)


# sys.path


def test_the_modules_are_the_callers_not_those_of_the_current_folder(tmp_path):
    module(tmp_path / "a", "utils", "def price(n): return 'a', n")
    module(tmp_path / "b", "utils", "def price(n): return 'b', n")
    module(tmp_path / "b", "decimal", "raise SystemExit('the decimal.py of the current folder was executed')")
    assert run_program("""
import axion
from utils import price
def uses(n):
    import decimal, utils
    return utils.price(n), str(decimal.Decimal(n))
with axion.Executor(1) as executor:
    print(executor.submit(price, 2).result(), executor.submit(uses, 3).result())
""", tmp_path / "a", cwd=tmp_path / "b") == "('a', 2) (('a', 3), '3')\n"


def test_an_entry_that_the_program_puts_in_front_shadows_the_others(tmp_path):
    module(tmp_path / "new", "tool", "def version(): return 'new'")
    module(tmp_path, "tool", "def version(): return 'old'")
    assert run_program("""
import sys
sys.path.insert(0, "new")
import axion, tool
def path():
    return sys.path
with axion.Engine(cpu_bound_count=1) as engine:
    print(engine.submit(tool.version).result(), engine.submit(path).result() == sys.path)
    sys.path.append("late")
    print(engine.submit(path).result() == sys.path)
""", tmp_path) == "new True\nTrue\n"


def test_a_folder_that_an_initializer_adds_stays(tmp_path):
    module(tmp_path / "plugins", "plugin", "def f(): return 'plugged'")
    assert run_program("""
import axion, os, sys
def add(folder):
    sys.path.insert(0, folder)
def use():
    import plugin
    return plugin.f(), sys.path[0]
with axion.Executor(1, initializer=add, initargs=("plugins",)) as executor:
    first = executor.submit(use).result()
    sys.path.append("another")
    print(first, executor.submit(use).result(), executor.submit(lambda: sys.path[-1]).result())
""", tmp_path) == "('plugged', 'plugins') ('plugged', 'plugins') another\n"


def test_a_relative_entry_is_of_the_folder_where_the_program_is(tmp_path):
    module(tmp_path / "there", "near", "def f(): return 'near'")
    assert run_program("""
import sys
sys.path.insert(0, "")
import axion, os
with axion.Engine(cpu_bound_count=1) as engine:
    os.chdir("there")
    import near
    print(engine.submit(near.f).result(), engine.submit(os.getcwd).result() == os.path.dirname(os.getcwd()))
""", tmp_path) == "near True\n"


def test_without_the_current_folder_in_the_path_a_worker_does_not_have_it_either(tmp_path):
    for flag in "-P", "-I":
        assert run_program("""
import axion, sys
with axion.Engine(cpu_bound_count=1) as engine:
    print("" in engine.submit(lambda: sys.path).result(), sys.path == engine.submit(lambda: sys.path).result())
""", tmp_path, flag) == "False True\n"


# What goes by name.


def test_a_plugin_that_was_loaded_from_a_file_is_executed_once_from_that_file(tmp_path):
    module(tmp_path / "plugins", "one", """
import os
with open("count", "a") as file: file.write("%d " % os.getpid())
class Point:
    def __init__(self, x): self.x = x
def moved(point): return Point(point.x + 1)
""")
    assert run_program("""
import axion, importlib.util, os, sys
def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
with axion.Executor(1) as executor:
    executor.submit(abs, 1).result()
    one = load("plugins.one", "plugins/one.py")
    points = [executor.submit(one.moved, one.Point(x)).result() for x in (1, 2)]
    print([type(point) is one.Point and point.x for point in points])
    with open("count") as file: pids = file.read().split()
    print(len(pids), executor.submit(os.getpid).result() == int(pids[1]))
""", tmp_path) == "[2, 3]\n2 True\n"


def test_tests_in_pytests_importlib_mode(tmp_path):
    module(tmp_path / "tests", "test_it", """
import axion
def helper(n): return n + 1
class Point:
    x = 5
def test_it():
    with axion.Executor(1) as executor:
        assert executor.submit(helper, 1).result() == 2
        assert type(executor.submit(Point).result()) is Point
""")
    assert "1 passed" in run_program("""
import sys, pytest
sys.exit(pytest.main(["--import-mode=importlib", "-q", "-p", "no:cacheprovider", "tests"]))
""", tmp_path)


def test_a_module_that_has_changed_since_the_caller_loaded_it_is_refused(tmp_path):
    module(tmp_path, "changing", "def f(): return 'old'")
    done = run_program("""
import axion, changing
with open("changing.py", "w") as file:
    file.write("def f(): return 'newer'")
with axion.Executor(1) as executor:
    try:
        print(executor.submit(changing.f).result())
    except axion.RemoteError as error:
        print(error.code, str(error))
""", tmp_path)
    assert done.startswith("module_changed the module changing of this worker is not the caller's: ")


def test_a_module_that_was_reloaded_is_refused_by_a_worker_that_has_the_older_one(tmp_path):
    module(tmp_path, "changing", "def f(): return 'old'")
    assert run_program("""
import axion, changing, importlib
with axion.Executor(1) as executor:
    print(executor.submit(changing.f).result())
    with open("changing.py", "w") as file:
        file.write("def f(): return 'newer'")
    importlib.reload(changing)
    print(executor.submit(changing.f).exception().code)
""", tmp_path) == "old\nmodule_changed\n"


# Of the process.


def test_the_arguments_are_the_programs_in_a_replacement_too(tmp_path):
    assert run_program("""
import axion, os, signal, sys
with axion.Engine(cpu_bound_count=1) as engine:
    print(engine.submit(lambda: sys.argv).result()[1:], sys.argv[1:])
    sys.argv.append("late")
    engine.options(max_worker_losses=0).submit(os.kill, 0, signal.SIGKILL).exception()
    print(engine.submit(lambda: sys.argv).result()[1:])
""", tmp_path, arguments=["--size", "3"]) == "['--size', '3'] ['--size', '3']\n['--size', '3']\n"


def test_limits_and_contexts_are_those_of_the_submit(tmp_path):
    assert run_program("""
import axion, decimal, sys, warnings
def here():
    return (sys.getrecursionlimit(), sys.get_int_max_str_digits(), str(decimal.Decimal(1) / 3),
            [str(each[:1]) + str(each[4]) for each in warnings.filters])
async def there():
    return here()
with axion.Engine(cpu_bound_count=1, io_bound_count=1) as engine:
    for kind in "cpu", "io":
        print(engine.options(kind=kind).submit(here).result() == here())
    sys.setrecursionlimit(2345)
    sys.set_int_max_str_digits(0)
    decimal.getcontext().prec = 5
    warnings.filterwarnings("error", "some text", DeprecationWarning, lineno=77)
    for kind in "cpu", "io":
        print(engine.options(kind=kind).submit(here).result() == here())
    print(engine.submit(there).result() == here())
    with decimal.localcontext() as context:
        context.prec = 2
        print(engine.submit(here).result()[2])
    print(engine.submit(here).result()[2])
""", tmp_path) == "True\nTrue\nTrue\nTrue\nTrue\n0.33\n0.33333\n"


def test_a_filter_about_a_class_of_a_module_waits_for_that_module(tmp_path):
    module(tmp_path, "noisy", "class Noise(UserWarning): pass\ndef make(): import warnings; warnings.warn('loud', Noise)")
    assert run_program("""
import axion, noisy, sys, warnings
warnings.simplefilter("error", noisy.Noise)
with axion.Executor(1) as executor:
    print(executor.submit(lambda: "noisy" in sys.modules).result())
    print(type(executor.submit(noisy.make).exception()) is noisy.Noise)
""", tmp_path) == "False\nTrue\n"


# multiprocessing


def test_objects_of_multiprocessings_managers_are_arguments(tmp_path):
    assert run_program("""
import axion, multiprocessing, sys
def put(queue, value):
    queue.put((value, sys.modules["multiprocessing"].current_process().authkey is not None))
if __name__ == "__main__":
    with axion.Executor(1) as executor:
        print(executor.submit(lambda: "multiprocessing" in sys.modules).result())
        with multiprocessing.get_context("spawn").Manager() as manager:
            queue = manager.Queue()
            executor.submit(put, queue, 5).result()
            print(queue.get())
""", tmp_path) == "False\n(5, True)\n"


def test_l17_the_key_of_multiprocessing_is_nowhere_to_be_seen(tmp_path):
    out = run_program("""
import axion, json, logging, multiprocessing, os, sys
logging.basicConfig(level="DEBUG", stream=sys.stdout)
multiprocessing.current_process().authkey = b"a-secret-key"
with axion.Executor(1, log_level="DEBUG") as executor:
    future = executor.submit(lambda: (os.getpid(), multiprocessing.current_process().authkey == b"a-secret-key"))
    pid, is_known = future.result()
    print(is_known, repr(future.record), json.dumps(executor._engine.get_status()))
    for name in "cmdline", "environ":
        with open("/proc/%d/%s" % (pid, name), "rb") as file: print(file.read())
""", tmp_path)
    assert "True" in out and "secret" not in out


def test_l17_the_key_of_multiprocessing_is_only_in_parts_that_facts_leave_out(tmp_path):
    assert run_program("""
import axion, multiprocessing
from axion import _axion, _code, _surroundings
sent = {"open": [], "secret": []}
class Native:
    fingerprint = staticmethod(_axion.fingerprint)
    class Part:
        def __new__(cls, data):
            sent["open"].append(bytes(data))
            return _axion.Part(data)
        @staticmethod
        def secret(data):
            sent["secret"].append(bytes(data))
            return _axion.Part.secret(data)
    def Function(name, code, parts):
        sent["open"].append(code)
        return _axion.Function(name, code, parts)
_code._axion = _surroundings._axion = Native
multiprocessing.current_process().authkey = b"a-secret-key"
def is_known(key):
    return bytes(multiprocessing.current_process().authkey) == key
with axion.Executor(1, initializer=is_known, initargs=(b"",)) as executor:
    print(executor.submit(is_known, b"a-secret-key").result())
    multiprocessing.current_process().authkey = b"another-secret-key"
    print(executor.submit(is_known, b"another-secret-key").result())
print(sent["secret"], any(b"secret-key" in data for data in sent["open"]), len(sent["open"]) > 3)
""", tmp_path) == "True\nTrue\n[b'a-secret-key', b'another-secret-key'] False True\n"


# Arguments of the interpreter.


@pytest.mark.parametrize("flags", [
    ["-O"], ["-OO"], ["-W", "error"], ["-X", "dev"], ["-X", "utf8"], ["-X", "later=3"], ["-I"], ["-P"], ["-E"], ["-s"], ["-b"], ["-B"],
    ["-O", "-W", "error", "-X", "dev", "-X", "utf8", "-I", "-P"], ["-W", "ignore:deprecated stuff:UserWarning"]])
def test_the_flags_are_the_callers(tmp_path, flags):
    assert run_program("""
import axion, sys, warnings
def seen():
    return list(sys.flags), sys.warnoptions, sys._xoptions, __debug__
with axion.Engine(cpu_bound_count=1, io_bound_count=1) as engine:
    here = seen()
    for kind in "cpu", "io":
        print(engine.options(kind=kind).submit(seen).result() == here)
""", tmp_path, *flags) == "True\nTrue\n"


def _python(version):
    """An interpreter of this version on this machine; None if there is none."""
    name = "python%d.%d" % version
    places = [shutil.which(name), *glob.glob(os.path.expanduser("~/.pyenv/versions/%d.%d.*/bin/python" % version))]
    check = "import sys; sys.exit(sys.version_info[:2] != %r)" % (version,)
    for place in filter(None, places):
        if subprocess.run([place, "-c", check], stderr=subprocess.DEVNULL).returncode == 0:
            return place
    return None


@pytest.mark.parametrize("flags", [["-O", "-W", "ignore::UserWarning", "-X", "dev", "-X", "utf8", "-P"], ["-I"],
                                   ["-E", "-P", "-s", "-b"], ["-X", "some_later_option=3", "-X", "int_max_str_digits=900"]])
@pytest.mark.parametrize("version", [(3, 8), (3, 10), (3, 11), (3, 13)])
def test_another_interpreter_gets_the_flags_that_it_understands(tmp_path, version, flags):
    python = _python(version)
    if python is None:
        pytest.skip("there is no Python %d.%d here" % version)
    module(tmp_path, "flags", """
import os, sys
def seen():
    it = sys.flags
    found = {"safe_path": it.safe_path if hasattr(it, "safe_path") else False, "optimize": it.optimize,
             "isolated": it.isolated, "ignore_environment": it.ignore_environment, "no_user_site": it.no_user_site,
             "bytes_warning": it.bytes_warning, "dev_mode": it.dev_mode, "utf8_mode": it.utf8_mode}
    return found, "PYTHONSAFEPATH" in os.environ, sys._xoptions, list(sys.version_info[:2])
def warned():
    return sys.warnoptions
""")
    assert run_program("""
import sys
sys.path.insert(0, %r)
import axion, flags
pools = {"other": {"kind": "cpu", "workers": 1, "python": sys.argv[1]}}
here = flags.seen()
# `-P` has a variable for interpreters that may not know it, which `-E` has them ignore.
def judge(engine, **options):
    seen = engine.options(**options).submit(flags.seen).result()
    expected = dict(here[0])
    if seen[3] < [3, 11] or "-E" in sys.orig_argv:
        expected["safe_path"] = False
    print(seen[:3] == (expected, False, here[2]) or (seen, expected, here[2]), seen[3])
with axion.Engine(cpu_bound_count=0, cpu_bound_max=1, io_bound_count=0, pools=pools) as engine:
    judge(engine, pool="other")
with axion.Engine(cpu_bound_count=1, io_bound_count=0, python=sys.argv[1]) as engine:
    judge(engine)
    print(engine.submit(flags.warned).result() == flags.warned())
""" % str(tmp_path), tmp_path, *flags, arguments=[python]) == "True %s\nTrue %s\nTrue\n" % (list(version), list(version))


def test_texts_have_one_hash_in_all_workers_of_an_engine(tmp_path):
    source = """
import axion, os, signal, subprocess, sys
def seen():
    return hash("text"), "PYTHONHASHSEED" in os.environ, os.getpid()
with axion.Engine(cpu_bound_count=1, io_bound_count=1) as engine:
    found = [engine.submit(seen).result(), engine.options(kind="io").submit(seen).result()]
    engine.options(max_worker_losses=0).submit(os.kill, 0, signal.SIGKILL).exception()
    found.append(engine.submit(seen).result())
    print(len({pid for _, _, pid in found}), len({hash for hash, _, _ in found}), {shown for _, shown, _ in found})
    print(found[0][0])
"""
    outs = {run_program(source, tmp_path) for _ in range(2)}
    assert all(out.startswith("3 1 {False}\n") for out in outs) and len(outs) == 2
    (out,) = {run_program(source, tmp_path, env={"PYTHONHASHSEED": "5"}) for _ in range(2)}
    assert out.startswith("3 1 {True}\n")
    assert run_program("import axion; print(axion.Executor(1).submit(hash, 'text').result() == hash('text'))",
                       tmp_path, env={"PYTHONHASHSEED": "5"}) == "True\n"


def test_the_environment_and_the_folder_are_those_of_the_engines_start(tmp_path):
    assert run_program("""
import axion, os, signal
def seen():
    return os.environ.get("BEFORE"), os.environ.get("AFTER"), os.path.basename(os.getcwd())
os.environ["BEFORE"] = "1"
os.makedirs("start/there")
os.chdir("start")
with axion.Engine(cpu_bound_count=1, cpu_bound_worker={"env": {"OWN": "2"}}, io_bound_count=0,
                  io_bound_worker={"cwd": "there"}) as engine:
    os.environ["AFTER"] = "1"
    del os.environ["BEFORE"]
    os.chdir("/")
    print(engine.submit(seen).result())
    engine.options(max_worker_losses=0).submit(os.kill, 0, signal.SIGKILL).exception()
    print(engine.submit(seen).result(), engine.submit(lambda: os.environ.get("OWN")).result())
    print(engine.options(kind="io").submit(seen).result())
""", tmp_path) == "('1', None, 'start')\n('1', None, 'start') 2\n('1', None, 'there')\n"


def test_the_folder_of_the_runtime_is_put_back_for_a_new_worker(tmp_path):
    assert run_program("""
import axion, os, shutil, signal
os.mkdir("runtime")
with axion.Engine(cpu_bound_count=1, runtime_dir="runtime") as engine:
    print(engine.submit(pow, 2, 3).result())
    for name in os.listdir("runtime"):
        shutil.rmtree("runtime/" + name)
    engine.options(max_worker_losses=0).submit(os.kill, 0, signal.SIGKILL).exception()
    print(engine.submit(pow, 2, 4).result(), len(os.listdir("runtime")))
print(os.listdir("runtime"))
""", tmp_path) == "8\n16 1\n[]\n"


# The end.


def test_functions_of_atexit_run_when_a_worker_ends(tmp_path):
    assert run_program("""
import atexit, axion, os
def register(path):
    atexit.register(lambda: open(path, "w").close())
with axion.Engine(cpu_bound_count=1, io_bound_count=1) as engine:
    engine.submit(register, "cpu").result()
    engine.options(kind="io").submit(register, "io").result()
print([os.path.exists(path) for path in ("cpu", "io")])
engine = axion.Engine(cpu_bound_count=1).start()  # which nobody shuts down
engine.submit(register, "left").result()
""", tmp_path) == "[True, True]\n"
    assert (tmp_path / "left").exists()


# The output.


def test_an_executor_shows_all_of_a_tasks_output(tmp_path):
    out = run_program("""
import axion
def say():
    for n in range(40_000):
        print("line", n)
with axion.Executor(1) as executor:
    executor.submit(say).result()
""", tmp_path)
    assert out.splitlines() == ["line %d" % n for n in range(40_000)]


def test_output_that_the_programs_encoding_does_not_have_is_shown_with_escapes(tmp_path):
    assert run_program("""
import axion
with axion.Executor(1) as executor:
    executor.submit(print, "20 \N{DEGREE SIGN}C").result()
""", tmp_path, env={"PYTHONIOENCODING": "ascii"}) == "20 \\xb0C\n"


# main="run"


MAIN = """
import axion, multiprocessing, sys, os
names = [__name__]
class Point: pass
def seen():
    main = sys.modules["__main__"]
    return main is sys.modules["__mp_main__"], main.names, main.Point.__module__
if __name__ == "__main__":
    with axion.Executor(1, main="run") as executor:
        print(executor.submit(lambda: seen.__module__).result())
        print(executor.submit(seen).result())
"""


def test_a_worker_may_execute_the_main_module_as_a_spawned_process_does(tmp_path):
    assert run_program(MAIN, tmp_path) == "__main__\n(True, ['__mp_main__'], '__mp_main__')\n"


@pytest.mark.parametrize("start", ["axion.Executor(1, main='run').submit(abs, -1).result()",
                                   "multiprocessing.get_context('spawn').Process(target=print).start()"])
def test_a_main_module_without_a_guard_that_starts_processes_is_refused(tmp_path, start):
    done = run_program("""
import axion, multiprocessing
if __name__ == "__main__":
    with axion.Executor(1, main="run") as executor:
        print(executor.submit(abs, -1).exception())
else:
    %s
""" % start, tmp_path)
    assert done.startswith("RuntimeError: the main module failed in the worker: RuntimeError: ")
    assert "An attempt has been made to start a new process before" in done


# coverage


def test_coverages_report_on_subprocesses_works_without_a_source(tmp_path):
    pytest.importorskip("coverage")
    (tmp_path / "setup.cfg").write_text("[coverage:run]\npatch = subprocess\n")
    module(tmp_path, "lib", "def in_a_worker(n):\n    if n:\n        return n + 1\n    return 'never'\n")
    path = tmp_path / "program.py"
    path.write_text("import axion, lib\nwith axion.Executor(1) as executor:\n"
                    "    print(executor.submit(lib.in_a_worker, 1).result())\n")

    def coverage(*arguments):
        done = subprocess.run([sys.executable, "-m", "coverage", *arguments], cwd=tmp_path, capture_output=True,
                              text=True, timeout=LONG)
        assert (done.stderr, done.returncode) == ("", 0), done
        return done.stdout

    assert coverage("run", path) == "2\n"
    coverage("combine", "--quiet")
    assert "lib.py 4 1 75%" in " ".join(coverage("report").split())
