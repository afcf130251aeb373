"""Compares Axion with other ways to run Python functions in processes, side by side on this machine.

All run the same task, one that does nothing, so the figures are the cost of the machinery alone. In
each round every system is measured once, in turn and in processes of its own. Three things are measured:
how many tasks a second two workers get through when the tasks are handed in one by one and all results
are awaited; how long one task takes from submit to result when it is alone with a warm worker; and how
long it takes from the import of the system, whose file system cache is warm, to the first result.

Runs on Linux. `measure.py` has the peers and their settings. Axion is measured from Python there, and from
Rust by `benches/engine`. A peer that cannot run here is listed with the reason.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# What --only calls it: the name in the tables, and the package it comes in, if not with Python.
SYSTEMS = {
    "multiprocessing": ("multiprocessing.Pool.apply_async", None),
    "executor": ("concurrent.futures.ProcessPoolExecutor", None),
    "loky": ("loky", "loky"),
    "pebble": ("pebble", "Pebble"),
    "frisky": ("frisky", "frisky"),
    "flexiq": ("flexiq, SQLite", "flexiq"),
    "tarsk": ("tarsk, memory broker", "tarsk"),
    "mayu": ("mayu, Redis", "mayu"),
    "axion": ("axion, from Rust", None),
    "axion-python": ("axion, from Python", None),
}
# The peers are driven from Python, and so is the Axion that they are compared with.
REFERENCE = "axion-python"
# mayu needs a newer Python than the others have to have, and a place of its own.
MAYU, MAYU_PYTHON, MAYU_FOLDER = "mayu==0.2.5", (3, 13), HERE / ".venv-mayu"

LIMIT = 300  # seconds for one measurement; what takes longer hangs

EPILOG = """\
examples:
  make bench-peers                          the usual way: makes the venv, then runs this
  compare.py --rounds 1                     a quick look, about a minute
  compare.py --only executor,axion-python   two of them
  compare.py --markdown                     and the table for docs/reference/performance.md
  compare.py --json > figures.json          for scripts; what happens meanwhile goes to stderr

how to read it:
  Tasks a second are the median, the smallest and the largest of the rounds. The other columns are medians
  of the rounds. The columns "axion x" say how many times better Axion, driven from Python, was than the
  system of this row: the ratio is taken within each round, and the median of these is shown. Below 1, Axion
  loses. On a shared machine trust the ratios, not the figures, and look at the load average and at warnings
  of unsteady figures before you quote either. Much of a round trip can be the time to wake a sleeping core,
  which all of them pay.
"""

NOTES = [
    "All are driven from Python, apart from the row that says otherwise.",
    "The round trip has one worker, the throughput has two.",
    "Tarsk's memory broker takes a whole batch and has no round trip. FlexiQ keeps each task in SQLite, and mayu in "
    "Redis: their tasks survive the end of the program, which Axion's do not. FlexiQ's two workers are threads.",
]


class Trouble(Exception):
    """What the user should read instead of a traceback."""


def main():
    options = parse_arguments()
    # A plain `kill` ends the measurements as Ctrl-C does: they have sessions of their own.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        names, missing = available(chosen(options.only))
        report = compare(names, options)
        report["machine"].update(versions(names))
        report["notes"] += missing
    except Trouble as trouble:
        sys.exit("compare.py: %s" % trouble)
    except KeyboardInterrupt:
        sys.exit("compare.py: stopped; nothing of it runs any more")
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print_text(report)
    if options.markdown:
        print()
        print_markdown(report)


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="compare.py",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rounds", type=positive, default=5, metavar="N", help="how often each is measured (default 5)"
    )
    parser.add_argument(
        "--tasks",
        type=positive,
        metavar="N",
        help="tasks per measurement of the throughput (default: for each peer as many as take it about "
        "1.2 s; Axion's bench has its own number)",
    )
    parser.add_argument(
        "--only", metavar="NAMES", help="measure only these, separated by commas: %s" % ", ".join(SYSTEMS)
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print the table as Markdown as well, last")
    form.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    return parser.parse_args()


def positive(text):
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError("%r is not a whole number above 0" % text)
    return int(text)


def chosen(only):
    if only is None:
        return list(SYSTEMS)
    asked = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in asked if name not in SYSTEMS]
    if unknown or not asked:
        raise Trouble("--only does not know %s; it knows %s" % (", ".join(unknown) or "nothing", ", ".join(SYSTEMS)))
    return [name for name in SYSTEMS if name in asked]


def available(names):
    """The systems that can run here, and why the others cannot."""
    reasons = {name: why_not(name) for name in names}
    missing = ["Not measured: %s, because %s." % (SYSTEMS[name][0], why) for name, why in reasons.items() if why]
    for line in missing:
        say(line)
    if all(reasons.values()):
        raise Trouble("nothing to measure")
    return [name for name in names if not reasons[name]], missing


def why_not(name):
    if name == "mayu":
        return why_not_mayu()
    package = SYSTEMS[name][1]
    if name == "axion-python":
        return None if axion_python() else "the Python package is not built: `make bench-peers` does that"
    if name == "axion":
        return None if shutil.which(os.environ.get("CARGO", "cargo")) else "there is no cargo"
    if package and not installed(package):
        return "%s is not installed for %s: `make bench-peers` does that" % (package, sys.executable)
    return None


def installed(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(names):
    found = {SYSTEMS[name][1].lower(): installed(SYSTEMS[name][1]) for name in names if SYSTEMS[name][1]}
    if "mayu" in found:
        found["mayu"] = MAYU.partition("==")[2]
    return found


def axion_python():
    """The interpreter that has the Python package, if there is one."""
    python = os.environ.get("AXION_BENCH_PACKAGE")
    return python if python and os.path.exists(python) else None


def why_not_mayu():
    """Makes its virtual environment, if that can be done."""
    if not shutil.which("redis-server"):
        return "it needs Redis, and there is no redis-server on the PATH"
    if (MAYU_FOLDER / "made").exists():
        return None
    python = next(filter(is_new_enough, pythons()), None)
    if python is None:
        return "it needs Python %d.%d or newer, and none was found" % MAYU_PYTHON
    say("installing %s" % MAYU)
    pip = [str(MAYU_FOLDER / "bin" / "pip"), "install", "--quiet", MAYU]
    for command in ([python, "-m", "venv", str(MAYU_FOLDER)], pip):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if done.returncode != 0:
            return "it could not be installed: %s" % done.stdout.strip().splitlines()[-1]
    (MAYU_FOLDER / "made").touch()
    return None


def pythons():
    yield sys.executable
    for minor in range(MAYU_PYTHON[1], MAYU_PYTHON[1] + 4):
        yield from filter(None, [shutil.which("python3.%d" % minor)])
    root = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv")
    yield from map(str, sorted(root.glob("versions/3.*/bin/python")))


def is_new_enough(python):
    code = "import sys; sys.exit(sys.version_info < %r)" % (MAYU_PYTHON,)
    try:
        return subprocess.run([python, "-c", code], stderr=subprocess.DEVNULL, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


# Measuring


def compare(names, options):
    with tempfile.TemporaryDirectory(prefix="axion-peers-") as folder:
        bench = prepare_bench(folder) if "axion" in names else None
        before = os.getloadavg()
        rounds = {name: [] for name in names}
        for number in range(options.rounds):
            # Another one begins each round, so that none always follows the same neighbour.
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                say("round %d of %d: %s" % (number + 1, options.rounds, name))
                earlier = rounds[name][0]["tasks"] if rounds[name] else options.tasks
                rounds[name].append(measure_axion(bench) if name == "axion" else measure_peer(name, earlier))
        machine = describe_machine()
    machine["load average before"] = "%.2f %.2f %.2f" % before
    machine["load average after"] = "%.2f %.2f %.2f" % os.getloadavg()
    systems = summarise(rounds)
    notes = NOTES + losses(systems) + unsteady(rounds)
    return {"machine": machine, "rounds": options.rounds, "systems": systems, "notes": notes}


def measure_peer(name, tasks):
    special = {"mayu": str(MAYU_FOLDER / "bin" / "python"), "axion-python": axion_python()}
    command = [special.get(name, sys.executable), str(HERE / "measure.py"), name]
    # Some say more than they are asked.
    return json.loads(run(command + ([str(tasks)] if tasks else [])).splitlines()[-1])


def prepare_bench(folder):
    """Builds the engine's bench and copies it, so that a later build does not change what is measured."""
    say("building the engine's bench")
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "bench", "--bench", "engine", "--no-run", "--message-format=json"]
    try:
        built = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, universal_newlines=True)
    except OSError as error:
        raise Trouble("cannot run %s: %s. Without Rust, leave axion out with --only" % (cargo, error))
    if built.returncode != 0:
        raise Trouble("`%s` failed, see above" % " ".join(command))
    for line in built.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message["target"]["kind"] == ["bench"]:
            return shutil.copy(message["executable"], folder)
    raise Trouble("`%s` named no program" % " ".join(command))


def measure_axion(bench):
    environment = dict(os.environ, AXION_BENCH_PYTHON=sys.executable)
    printed = run([bench, "--json", "--rounds", "1", "throughput", "round trip"], environment)
    figures = json.loads(printed.splitlines()[-1])
    try:
        return {
            "tasks": None,
            "rate": figures["throughput: no-op script tasks, 2 workers"],
            "p50": figures["round trip: engine, p50"],
            "p99": figures["round trip: engine, p99"],
            "start": None,
        }
    except KeyError as missing:
        raise Trouble("benches/engine has no figure called %s any more; see measure_axion" % missing)


def run(command, environment=None):
    """What a command prints. It has a process group of its own, and nothing of it is left afterwards."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
        )
        timer = threading.Timer(LIMIT, os.kill, [process.pid, signal.SIGKILL])
        try:
            timer.start()
            # Not yet reaped, so the group's number cannot belong to anyone else when it is killed.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        finally:
            timer.cancel()
            timer.join()
            end(process)
        if process.returncode != 0:
            errors.seek(0)
            raise Trouble(
                "this ended with %d (a kill after %d s is -9): %s\n%s"
                % (process.returncode, LIMIT, " ".join(command), errors.read()[-4000:])
            )
        output.seek(0)
        return output.read()


def end(process):
    """Ends the group of a process that is not reaped yet."""
    # First a request: loky's resource tracker outlives it, and removes what the others left in /dev/shm.
    os.killpg(process.pid, signal.SIGTERM)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def summarise(rounds):
    """Per system: the figures over the rounds, and how many times better Axion was."""
    reference = rounds.get(REFERENCE)
    systems = {}
    for name, measured in rounds.items():
        rates = [one["rate"] for one in measured]
        summary = {
            "title": SYSTEMS[name][0],
            "tasks": measured[0]["tasks"],
            "rate": {"median": statistics.median(rates), "min": min(rates), "max": max(rates)},
            "p50": middle(measured, "p50"),
            "p99": middle(measured, "p99"),
            "start": middle(measured, "start"),
            "rounds": measured,
        }
        if reference:
            pairs = list(zip(reference, measured))
            summary["axion_rate_ratio"] = statistics.median(a["rate"] / b["rate"] for a, b in pairs)
            for key in ("p50", "start"):
                if summary[key] is not None:
                    summary["axion_%s_ratio" % key] = statistics.median(b[key] / a[key] for a, b in pairs)
        systems[name] = summary
    return systems


def middle(measured, key):
    values = [one[key] for one in measured if one[key] is not None]
    return statistics.median(values) if values else None


LOSSES = [
    ("axion_rate_ratio", "tasks a second"),
    ("axion_p50_ratio", "the round trip"),
    ("axion_start_ratio", "the time to the first result"),
]


def losses(systems):
    """Where Axion loses, in words."""
    lost = []
    for name, system in systems.items():
        if name == REFERENCE:
            continue
        for key, what in LOSSES:
            if system.get(key, 1) < 1:
                lost.append("%s in %s (%.2f x)" % (system["title"], what, system[key]))
    if not any("axion_rate_ratio" in system for system in systems.values()):
        return []
    return ["Axion from Python loses to: %s." % ("; ".join(lost) or "none of these, in this work")]


def unsteady(rounds):
    """Warnings about figures that differ so much between rounds that their median says little."""
    # On virtual machines it can take 70 µs to wake a sleeping core. Whether a round trip pays that depends on
    # where the scheduler puts the two processes, hence on what else runs: p50 then jumps between two values.
    notes = []
    for key, unit in (("rate", "tasks/s"), ("p50", "µs")):
        for name, measured in rounds.items():
            values = [one[key] for one in measured if one[key] is not None]
            if values and max(values) > 1.5 * min(values):
                notes.append(
                    "Unsteady, do not quote: %s of %s went from {:,.0f} to {:,.0f} %s.".format(min(values), max(values))
                    % (key, SYSTEMS[name][0], unit)
                )
    return notes


def describe_machine():
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": "%s %s" % (platform.system(), platform.release()),
        "python": "%s %s" % (platform.python_implementation(), platform.python_version()),
    }


def cpu_model():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


# Printing


def say(text):
    print(text, file=sys.stderr, flush=True)


HEADS = ["system", "tasks/s", "min", "max", "axion x", "p50 µs", "p99 µs", "axion x", "first result ms", "axion x"]


def table(report):
    rows = []
    for system in report["systems"].values():
        rate = system["rate"]
        counts = ["{:,.0f}".format(rate[key]) for key in ("median", "min", "max")]
        times = ["–" if system[key] is None else "{:,.0f}".format(system[key]) for key in ("p50", "p99")]
        start = "–" if system["start"] is None else "{:,.0f}".format(system["start"])
        ratios = ["%.2f" % system[key] if key in system else "–" for key, _ in LOSSES]
        rows.append([system["title"]] + counts + ratios[:1] + times + ratios[1:2] + [start, ratios[2]])
    return rows


def print_text(report):
    rows = [HEADS] + table(report)
    widths = [max(map(len, column)) for column in zip(*rows)]
    print()
    for row in rows:
        print("  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]))
    print()
    for key, value in report["machine"].items():
        print("%-20s %s" % (key, value))
    print()
    for note in report["notes"]:
        print(note)


def print_markdown(report):
    print("| %s |" % " | ".join(HEADS).replace("axion x", "axion ×"))
    print("| --- |%s" % (" ---: |" * (len(HEADS) - 1)))
    for row in table(report):
        print("| %s |" % " | ".join(["`%s`" % row[0]] + row[1:]))
    print()
    facts = ", ".join("%s %s" % fact for fact in report["machine"].items())
    notes = " ".join(report["notes"])
    print("Median of %d rounds, 2 workers, a task that does nothing. %s. %s" % (report["rounds"], facts, notes))


if __name__ == "__main__":
    main()
