"""Other people's programs, with `concurrent.futures.ProcessPoolExecutor = axion.Executor`: the output is the same.

Not part of `make test`: `make test-outside` installs the programs and runs this.
"""

import collections
import os
import pathlib
import re
import time

import programs
import pytest
from helpers import LONG

STOCK = "import concurrent.futures\n"
OURS = "import concurrent.futures, axion\nconcurrent.futures.ProcessPoolExecutor = axion.Executor\n"
# A short run may be slower by this factor: the bound for `black` is 1.1 on a quiet machine with a release build.
MUCH_SLOWER = 5

pytestmark = pytest.mark.timeout(10 * LONG)


def needs(name):
    return pytest.importorskip(name, reason="%s is not installed: `make test-outside`" % name)


@pytest.fixture
def program(tmp_path):
    return programs.Program(tmp_path)


def sources(program, count):
    """Files of the standard library, the same in each run."""
    files = sorted(pathlib.Path(os.__file__).parent.glob("*.py"), key=lambda file: (file.stat().st_size, file.name))
    for file in files[20:20 + count]:
        program.write("src/" + file.name, file.read_text(encoding="utf-8"))


def both(program, run, *arguments, expect=(0,)):
    """The ended processes with the stock executor and with ours, and how much longer ours took."""
    done = []
    for name, head in (("stock", STOCK), ("ours", OURS)):
        program.write("run_%s.py" % name, head + "if __name__ == '__main__':\n    " + run)
        begun = time.monotonic()
        process = program.start("run_%s.py" % name, *arguments, PYTHONHASHSEED="0", timeout=4 * LONG)
        assert process.returncode in expect, process.stderr
        done.append((process, time.monotonic() - begun))
    (stock, stock_took), (ours, ours_took) = done
    print("%s: %.2f s, with axion.Executor %.2f s: %.2f x" % (run, stock_took, ours_took, ours_took / stock_took))
    assert ours_took < MUCH_SLOWER * stock_took
    return stock, ours


def test_black_gives_the_same_diffs(program):
    needs("black")
    sources(program, 100)
    stock, ours = both(program, "import black; black.patched_main()", "--diff", "--workers", "2", "src")

    def by_file(text):
        text = re.sub(r"\t\d{4}-\d\d-\d\d [^\n]*", "", text)
        return sorted(re.split(r"^(?=--- )", text, flags=re.MULTILINE))

    assert len(by_file(stock.stdout)) > 50
    assert by_file(ours.stdout) == by_file(stock.stdout)
    # The lines of progress come as files are ready, in any order.
    assert sorted(ours.stderr.splitlines()) == sorted(stock.stderr.splitlines())


def test_pylint_gives_the_same_messages(program):
    needs("pylint")
    sources(program, 12)
    run = "import pylint; pylint.run_pylint()"
    stock, ours = both(program, run, "-j", "2", "--score", "n", "src", expect=range(32))
    assert len(stock.stdout.splitlines()) > 50
    assert collections.Counter(ours.stdout.splitlines()) == collections.Counter(stock.stdout.splitlines())


def test_the_process_map_of_tqdm(program):
    needs("tqdm")
    program.write("work.py", "def work(n):\n    return n * n\n")
    run = "from tqdm.contrib.concurrent import process_map; from work import work; " \
          "print(process_map(work, range(200), max_workers=2, chunksize=5))"
    stock, ours = both(program, run)
    assert ours.stdout == stock.stdout and "200/200" in ours.stderr
