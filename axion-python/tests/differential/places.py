"""Where the code of programs lives, and how the process that runs it is started.

A place takes `Part`s, which it writes into a folder, and gives the command that runs them. Where they share a
namespace, their names differ already.
"""

import ast
import dataclasses
import textwrap

HEAD = "from harness import begin, end, initialize, show, state, value\n"


@dataclasses.dataclass
class Part:
    """One program: definitions, and steps that call them."""

    number: int
    definitions: str
    steps: str
    names: frozenset  # what it defines at the top level

    def at_top_level(self):
        return "%s\nbegin(%d)\n%s\n" % (self.definitions, self.number, self.steps)

    def in_a_function(self, name="steps"):
        declared = "global %s\n" % ", ".join(sorted(self.names)) if self.names else ""
        body = "%sbegin(%d)\n%s" % (declared, self.number, self.steps)
        return "%s\n\ndef %s():\n%s\n" % (self.definitions, name, textwrap.indent(body, "    "))


@dataclasses.dataclass
class Place:
    name: str
    write: object  # (folder, parts) -> the arguments for Python, and what it reads from standard input
    by_name: bool = False  # workers import the module, so what the caller sets in it stays in the caller
    shared: bool = True  # all parts live in one namespace
    spawns: bool = False  # its main module can be imported
    importable: bool = True  # `import` in the process gives the namespace, once the code has run

    def __repr__(self):
        return self.name


PLACES = {}


def place(name, **traits):
    def add(write):
        PLACES[name] = Place(name, write, **traits)
        return write
    return add


def top_level(parts):
    return HEAD + "".join(part.at_top_level() for part in parts) + "end()\n"


def guarded(parts):
    functions = ["steps_%d" % part.number for part in parts]
    calls = "".join("    %s()\n" % name for name in functions)
    bodies = "".join(part.in_a_function(name) for part, name in zip(parts, functions))
    return HEAD + bodies + "\nif __name__ == '__main__':\n" + calls + "    end()\n"


def save(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


@place("file")
def _(folder, parts):
    return [save(folder, "main.py", top_level(parts))], None


@place("file with a guard", spawns=True)
def _(folder, parts):
    return [save(folder, "main.py", guarded(parts))], None


@place("-m module", spawns=True)
def _(folder, parts):
    save(folder, "started.py", guarded(parts))
    return ["-m", "started"], None


@place("-m package")
def _(folder, parts):
    save(folder, "package/__init__.py", "")
    save(folder, "package/__main__.py", top_level(parts))
    return ["-m", "package"], None


@place("-c")
def _(folder, parts):
    return ["-c", top_level(parts)], None


@place("standard input")
def _(folder, parts):
    return ["-"], top_level(parts)


@place("cProfile", importable=False)  # before Python 3.12
def _(folder, parts):
    return ["-m", "cProfile", "-o", "/dev/null", save(folder, "main.py", top_level(parts))], None


@place("runpy")
def _(folder, parts):
    path = save(folder, "main.py", top_level(parts))
    return ["-c", "import runpy\nrunpy.run_path(%r, run_name='__main__')" % path], None


@place("console")
def _(folder, parts):
    """Line by line, each compiled on its own, as an interactive console or a notebook does it."""
    text = top_level(parts)
    inputs = [segment_of(text, node) for node in ast.parse(text).body]
    return [save(folder, "main.py", """
import linecache
def run_cells(cells):
    for number, text in enumerate(cells):
        name = "<cell %%d>" %% number
        linecache.cache[name] = len(text), None, text.splitlines(True), name
        exec(compile(text, name, "exec"), globals())
run_cells(%r)
""" % (inputs,))], None


def segment_of(text, node):
    first = min([node.lineno, *[each.lineno for each in getattr(node, "decorator_list", [])]])
    return "\n".join(text.splitlines()[first - 1:node.end_lineno]) + "\n"


@place("module", by_name=True, shared=False, spawns=True)
def _(folder, parts):
    lines = ["from harness import end"]
    for part in parts:
        save(folder, "part_%d.py" % part.number, HEAD + part.in_a_function())
        lines.append("import part_%d" % part.number)
    calls = ["    part_%d.steps()" % part.number for part in parts]
    return [save(folder, "main.py", "\n".join([*lines, "if __name__ == '__main__':", *calls, "    end()"]))], None


@place("module of a package", by_name=True, shared=False, spawns=True)
def _(folder, parts):
    save(folder, "package/__init__.py", "")
    lines = ["from harness import end"]
    for part in parts:
        save(folder, "package/part_%d.py" % part.number, HEAD + part.in_a_function())
        lines.append("from package.part_%d import steps as steps_%d" % (part.number, part.number))
    calls = ["    steps_%d()" % part.number for part in parts]
    return [save(folder, "main.py", "\n".join([*lines, "if __name__ == '__main__':", *calls, "    end()"]))], None


def in_spaces(make):
    """A main file that runs each part in a namespace that `make`, a piece of code, makes: `space`."""
    def write(folder, parts):
        lines = ["import sys, types, importlib.util", "from harness import end"]
        for part in parts:
            path = save(folder, "parts/part_%d.py" % part.number, HEAD + part.in_a_function())
            lines += ["name, path = %r, %r" % ("part_%d" % part.number, path), textwrap.dedent(make).strip(),
                      "space['steps']()"]
        return [save(folder, "main.py", "\n".join([*lines, "end()"]))], None
    return write


place("exec", shared=False, importable=False)(in_spaces("""
    space = {"__name__": name}
    exec(compile(open(path).read(), path, "exec"), space)
"""))

place("exec without names", shared=False, importable=False)(in_spaces("""
    space = {}
    exec(open(path).read(), space)
"""))

place("exec as main", shared=False, importable=False)(in_spaces("""
    space = {"__name__": "__main__", "__file__": path}
    exec(compile(open(path).read(), path, "exec"), space)
"""))

place("made module", shared=False)(in_spaces("""
    module = sys.modules[name] = types.ModuleType(name)
    space = vars(module)
    exec(compile(open(path).read(), "<made>", "exec"), space)
"""))

place("made module, not registered", shared=False, importable=False)(in_spaces("""
    module = types.ModuleType(name)
    space = vars(module)
    exec(compile(open(path).read(), "<made>", "exec"), space)
"""))

place("module from a file", by_name=True, shared=False)(in_spaces("""
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    space = vars(module)
"""))

place("module from a file, not registered", by_name=True, shared=False, importable=False)(in_spaces("""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    space = vars(module)
"""))
