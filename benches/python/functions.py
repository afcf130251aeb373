"""Functions of the program in workers, beside the standard pools and loky, in one run: `make bench-functions`.

Each figure is the median of some rounds, taken in turns, so that whatever else the machine does hits all of them. The
functions are those of this file, which is `__main__`: they travel by value, with what they need of it.
"""

import argparse
import concurrent.futures
import gc
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import axion

ARRAY_MB, LARGE_MB, SHARED_MB, SCORE_MB = 10, 100, 500, 80

# What `reaches_much` needs: ten globals, a class, a dict of 100 entries.
RATE, NAME, LIMIT, SCALE, UNIT, ROUNDING, STEPS, ORIGIN, SUFFIX, IS_STRICT = 7, "price", 1e6, 2.5, "EUR", 2, (1, 2, 3), 0, ".", True
TABLE = {"key %d" % n: n for n in range(100)}
array = None


class Price:
    currency = UNIT

    def __init__(self, amount):
        self.amount = amount

    def total(self):
        return self.amount * RATE


def nothing():
    return None


def same(value):
    return value


def square(value):
    return value * value


def reaches_much(value):
    names = NAME, LIMIT, SCALE, UNIT, ROUNDING, STEPS, ORIGIN, SUFFIX, IS_STRICT
    return len(names) + Price(value).total() + len(TABLE)


def of_array(at):
    return float(array[at])


def warm(_):
    import numpy

    time.sleep(0.2)  # so that each of four workers gets one
    return numpy.ones(1).sum()


def meet(values, barrier):
    total = float(values.sum())
    barrier.wait()
    barrier.wait()
    return total


def rate(submit, function, *arguments, count):
    begun = time.perf_counter()
    futures = [submit(function, *arguments) for _ in range(count)]
    took = time.perf_counter() - begun
    for future in futures:
        future.result()
    return count / took


def seconds(call):
    gc.collect()
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def proportional(pid):
    """The memory of a process and its descendants, shared pages by share, in MiB."""
    total, pids = 0, [pid]
    while pids:
        pid = pids.pop()
        try:
            with open("/proc/%d/smaps_rollup" % pid) as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
            for task in os.listdir("/proc/%d/task" % pid):
                with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                    pids += map(int, file.read().split())
        except OSError:
            pass
    return total / 1024


def short_job(start):
    def run():
        with start() as pool:
            assert sum(pool.map(square, range(100))) == 328350
    return run


def standard(method, workers=2):
    context = multiprocessing.get_context(method)
    return lambda: concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)


class Figures:
    def __init__(self):
        self._of = {}

    def note(self, what, who, value):
        self._of.setdefault(what, {}).setdefault(who, []).append(value)

    def show(self):
        for what, by in self._of.items():
            medians = {who: statistics.median(values) for who, values in by.items()}
            own = medians.get("axion")
            print(what)
            for who, values in by.items():
                ratio = "" if who == "axion" or own is None else "   axion is %.2f x" % (own / medians[who])
                print("    %-38s %12.4g  (%.4g to %.4g)%s" % (who, medians[who], min(values), max(values), ratio))


def submits(figures):
    with axion.Executor(2) as executor:
        for function in (nothing, reaches_much):
            executor.submit(function, *(() if function is nothing else (2,))).result()
        figures.note("submits of what needs nothing, /s (150,000)", "axion", rate(executor.submit, nothing, count=20_000))
        figures.note("submits of what reaches much, /s (30,000)", "axion",
                     rate(executor.submit, reaches_much, 2, count=10_000))


def large_global(figures, numpy):
    global array
    array = numpy.arange(ARRAY_MB * 125_000, dtype=float)
    what = "100 submits with a global of %d MB, s (0.3)" % ARRAY_MB
    for who, start in (("axion", lambda: axion.Executor(2)), ("fork", standard("fork"))):
        with start() as pool:
            pool.submit(of_array, 0).result()
            figures.note(what, who, seconds(lambda: [it.result() for it in [pool.submit(of_array, n) for n in range(100)]]))
    array = None


def there_and_back(figures, numpy):
    values = numpy.ones(LARGE_MB * 125_000)
    for who, start in (("axion", lambda: axion.Executor(2)), ("fork", standard("fork"))):
        with start() as pool:
            for _ in range(2):  # the first call also makes what is used again
                took = seconds(lambda: pool.submit(same, values).result())
            figures.note("%d MB there and back, s" % LARGE_MB, who, took)


def shared_array(figures, numpy):
    """How much memory one array in four workers takes beside the program's own, as a share of its size."""
    values = numpy.ones(SHARED_MB * 125_000)
    values.flags.writeable = False
    barrier = multiprocessing.get_context("spawn").Barrier(5)
    with axion.Executor(4) as executor:
        list(executor.map(warm, range(4)))  # each worker has loaded NumPy
        before = proportional(os.getpid())
        begun = time.perf_counter()
        tasks = [executor.submit(meet, values, barrier) for _ in range(4)]
        barrier.wait()  # all four have read it
        took, after = time.perf_counter() - begun, proportional(os.getpid())
        barrier.wait()
        assert [it.result() for it in tasks] == [SHARED_MB * 125_000.0] * 4
    size = SHARED_MB * 1e6 / (1 << 20)
    figures.note("memory for an array of %d MB in 4 workers, x its size (1.1)" % SHARED_MB, "axion", (after - before) / size)
    figures.note("%d MB to 4 workers, s" % SHARED_MB, "axion", took)


def short_jobs(figures):
    for who, start in (("axion", lambda: axion.Executor(2)), ("spawn", standard("spawn")), ("fork", standard("fork")),
                       ("forkserver", standard("forkserver"))):
        figures.note("one short job from start to end, s", who, seconds(short_job(start)))


def now():
    return time.monotonic()


def split_of_a_short_job(figures):
    """Where the time of a short job goes, by the caller's clock, which its workers share."""
    what = "of one short job, s"
    begun = now()
    bare = subprocess.run([sys.executable, "-c", "import time; print(time.monotonic())"], capture_output=True, text=True)
    figures.note(what, "a bare interpreter: to its first line", float(bare.stdout) - begun)
    begun = now()
    executor = axion.Executor(2)
    made = now()
    first = executor.submit(now)
    submitted = now()
    called = first.result()
    received = now()
    assert sum(executor.map(square, range(100))) == 328350
    mapped = now()
    executor.shutdown()
    ended = now()
    for who, since, until in (("1 engine and processes begun", begun, made), ("2 first submit", made, submitted),
                              ("3 until a worker makes its call", submitted, called), ("4 its result", called, received),
                              ("5 100 more calls", received, mapped), ("6 end of the workers", mapped, ended),
                              ("in all", begun, ended)):
        figures.note(what, who, until - since)


def joblib_calls(figures):
    import joblib

    import axion.joblib

    axion.joblib.register()

    def call(backend):
        return lambda: joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(square)(n) for n in range(100))

    for who, backend in (("axion", "axion"), ("loky", "loky")):
        call(backend)()
        figures.note("a later call of Parallel, s", who, statistics.median(seconds(call(backend)) for _ in range(5)))


def scores(figures, numpy):
    import joblib
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import cross_val_score

    import axion.joblib

    axion.joblib.register()
    random = numpy.random.default_rng(1)
    samples = random.normal(size=(SCORE_MB * 125_000 // 20, 20))
    target = samples @ random.normal(size=20)
    for who, backend in (("axion", "axion"), ("loky", "loky")):
        with joblib.parallel_config(backend=backend, n_jobs=2):
            figures.note("cross_val_score of %d MB, s" % SCORE_MB, who,
                         seconds(lambda: cross_val_score(LinearRegression(), samples, target, cv=5)))


BLACK = """
import sys
if sys.argv.pop(1) == "axion":
    import axion, concurrent.futures
    concurrent.futures.ProcessPoolExecutor = axion.Executor
from black import patched_main
patched_main()
"""


def black(figures):
    import black as _

    source = pathlib.Path(axion.__file__).with_name("_engine.py").read_text()
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder, "run_black.py")
        program.write_text(BLACK)
        for n in range(100):
            pathlib.Path(folder, "file_%d.py" % n).write_text(source[:4000] + "\n'''" + "\n" * n)
        for who in ("axion", "stock pool"):
            command = [sys.executable, str(program), who, "--check", "--quiet", "--workers", "2", folder]
            environment = {**os.environ, "BLACK_CACHE_DIR": os.path.join(folder, "cache")}
            figures.note("black on 100 files, s", who,
                         seconds(lambda: subprocess.run(command, env=environment, capture_output=True)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="a part of the name of a figure's function")
    options = parser.parse_args()
    try:
        import numpy
    except ImportError:
        numpy = None
    figures = Figures()
    groups = [submits, short_jobs, split_of_a_short_job, joblib_calls, black]
    if numpy is not None:
        groups += [large_global, there_and_back, shared_array, scores]
    for n in range(options.rounds):
        for group in groups:
            if options.only not in group.__name__:
                continue
            try:
                group(figures, numpy) if group.__code__.co_argcount == 2 else group(figures)
            except ImportError as error:
                print("without %s: %s" % (group.__name__, error), file=sys.stderr)
    print("Python %s, %d processors, %d rounds" % (sys.version.split()[0], os.cpu_count(), options.rounds))
    figures.show()


if __name__ == "__main__":
    main()
