"""The code blocks of README and docs do what the pages say.

| block | how it is checked |
| --- | --- |
| `python` | runs as a program of its own; after a `print`, a comment is what it prints |
| `sh` | runs in bash, and every command in it succeeds |
| `console` | commands after `$ ` run and print the lines below them; `cat` shows a file that the reader makes |
| `toml` | is a flow (`axion flow check`) if it has steps, else a configuration (`axion config check`) |
| `json` | can be read |
| `rust` | is a doctest, by docs/doctests.rs |
| `text output` | is what the Python program before it prints |
| `text` | is not checked |
| `python file=PATH` | is this file, which a test of its own or a `server` runs |
| `sh server` | starts a server on port 8000 |
| `console client` | runs while the server before it does |

In an output, numbers may differ, and `…` stands for any text, or alone in a line for any lines. All blocks run in a
folder that has the project's examples and README. A word of `NOT_RUN` after the language exempts a block.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from helpers import LONG

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "axion-python" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = {
    "builds": "compiles or installs software",
    "fragment": "is a part of a program, which the page does not show whole",
}
MOST_NOT_RUN = 6
# The commands of the README for a fresh clone. The first runs with the program that is built here; the second
# is what runs this test.
FROM_A_CLONE = "cargo run --release -p axion-cli -- "
THIS_TEST = "make test"


class Block:
    def __init__(self, page, line, info, text):
        self.page, self.line, self.text = page, line, text
        self.language, *words = info.replace(",", " ").split() or [""]
        self.words = [word for word in words if "=" not in word]
        self.file = dict(word.split("=") for word in words if "=" in word).get("file")

    def __repr__(self):
        return "%s:%d" % (self.page.relative_to(ROOT), self.line)


def blocks_of(page):
    found, begun = [], None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = line.lstrip().startswith("```")
        if fence and begun is None:
            begun = Block(page, number, line.strip().strip("`"), "")
        elif fence:
            found.append(begun)
            begun = None
        elif begun is not None:
            begun.text += line + "\n"
    assert begun is None, "%s: a block has no end" % begun
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of(*languages):
    """Runs a test for each block of these languages that is not exempt."""
    elsewhere = {*NOT_RUN, "server", "client"}
    chosen = [block for block in BLOCKS if block.language in languages and not elsewhere & set(block.words)]
    chosen = [block for block in chosen if block.file is None]
    return pytest.mark.parametrize("block", chosen, ids=repr)


@pytest.fixture
def clone(tmp_path):
    """A folder with what a clone has for a reader who tries things."""
    for name in ("examples", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def environment():
    """That of a reader whose virtual environment has the package."""
    binaries = os.path.dirname(sys.executable)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AXION_")}
    return {**kept, "PATH": binaries + os.pathsep + os.environ["PATH"], "NO_COLOR": "1"}


def run(command, folder, **more):
    return subprocess.run(command, cwd=folder, env=environment(), text=True, timeout=LONG, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)


def succeed(command, folder):
    done = run(command, folder)
    assert done.returncode == 0, done.stdout
    return done.stdout


def output_of(block):
    """The block that shows what this program prints, if the page has one."""
    after = BLOCKS[BLOCKS.index(block) + 1:][:1]
    return next((each for each in after if each.page == block.page and "output" in each.words), None)


def commented_prints(text):
    return re.findall(r"^\s*print\(.*\)\s+# (.*)$", text, re.MULTILINE)


@of("python")
def test_python(block, clone):
    program = clone / "block.py"
    program.write_text(block.text, encoding="utf-8")
    printed = succeed([sys.executable, str(program)], clone)
    for wanted in commented_prints(block.text):
        assert wanted in printed.splitlines(), printed
    shown = output_of(block)
    if shown is not None:
        assert matches(shown.text, printed), "printed:\n" + printed


@of("sh")
def test_shell(block, clone):
    if block.text.strip() == THIS_TEST:
        pytest.skip("runs this test")
    succeed(["bash", "-euo", "pipefail", "-c", block.text.replace(FROM_A_CLONE, "axion ")], clone)


def exchanges(text):
    """The commands of a `console` block, each with what it should print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def matches(shown, printed):
    """Whether a program printed what a page shows. A line with `…` alone stands for any lines, or none."""
    pattern = re.escape(without_numbers(shown)).replace("…\\\n", "…\n")
    pattern = re.sub("^…\n", "(.*\n)*?", pattern, flags=re.MULTILINE).replace("…", ".*?")
    return re.fullmatch(pattern, without_numbers(printed))


def without_numbers(text):
    text = re.sub(r"0x[0-9a-f]+|\d+([.,]\d+)*", "0", text)
    return re.sub(r"\b0 (ns|µs|ms|s)\b", "0 s", text)


@of("console")
def test_console(block, clone):
    for command, wanted in exchanges(block.text):
        shows = re.fullmatch(r"cat (\S+)", command)
        if shows and not (clone / shows[1]).exists():
            (clone / shows[1]).write_text(wanted, encoding="utf-8")
            continue
        printed = run(["bash", "-c", command], clone).stdout
        assert matches(wanted, printed), "printed:\n" + printed


SERVERS = [(block, client) for block, client in zip(BLOCKS, BLOCKS[1:]) if "server" in block.words]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.parametrize("server, client", SERVERS, ids=repr)
def test_server(server, client, clone):
    assert "client" in client.words and client.page == server.page
    port = free_port()
    with subprocess.Popen(shlex.split(server.text.replace("8000", port)), cwd=clone, env=environment(),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        try:
            # Both say the address when they accept connections. What they print later fits into the pipe.
            said = ""
            while "127.0.0.1:" + port not in said:
                line = program.stdout.readline()
                said += line
                assert line, said
            for command, wanted in exchanges(client.text):
                command = command.replace("8000", port).replace("curl ", "curl --retry 9 --retry-connrefused --max-time 60 ")
                printed = run(["bash", "-c", command], clone).stdout
                assert matches(wanted, printed if printed.endswith("\n") else printed + "\n"), "printed:\n" + printed
        finally:
            program.terminate()
            assert program.wait(LONG) in (0, -signal.SIGTERM), program.stdout.read()


def test_a_block_of_a_file_is_that_file():
    found = [block for block in BLOCKS if block.file]
    assert found and not [block for block in found if (ROOT / block.file).read_text(encoding="utf-8") != block.text]


@of("toml")
def test_toml(block, clone):
    steps = "[[steps]]" in block.text
    path = clone / "examples" / "flows" / "block.toml" if steps else clone / "axion.toml"
    path.write_text(block.text, encoding="utf-8")
    succeed(["axion", "flow" if steps else "config", "check", str(path)], clone)


@of("json")
def test_json(block):
    json.loads(block.text)


def test_every_block_has_a_language_that_says_how_it_is_checked():
    known = {"python", "sh", "console", "toml", "json", "rust", "text"}
    assert not [block for block in BLOCKS if block.language not in known]
    words = {"no_run", "output", "server", "client", *NOT_RUN}
    assert not [block for block in BLOCKS if set(block.words) - words]


def test_few_blocks_are_exempt():
    exempt = [block for block in BLOCKS if NOT_RUN.keys() & set(block.words)]
    assert len(exempt) <= MOST_NOT_RUN, exempt


def test_every_page_with_rust_is_a_doctest():
    doctests = (ROOT / "docs" / "doctests.rs").read_text(encoding="utf-8")
    for page in {block.page for block in BLOCKS if block.language == "rust"}:
        assert '"%s"' % os.path.relpath(page, ROOT / "docs") in doctests, page


def test_an_output_that_differs_is_noticed():
    assert matches("a: 1.5 ms\n…\nend\n", "a: 12 s\nb\nc\nend\n")
    assert matches("a\n…\nend\n", "a\nend\n") and matches("a: …!\n", "a: b!\n")
    assert not matches("a: 1.5 ms\n", "b: 1.5 ms\n") and not matches("a: …!\n", "a: b\n!\n")
    assert commented_prints("print(1)  # 1\nx = 2  # 2\n") == ["1"]
