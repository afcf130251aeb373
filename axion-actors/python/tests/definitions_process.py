"""A process that takes definitions apart, or makes them again: for `test_definitions`. Runs on every Python.

    python -c "import definitions_process; definitions_process.main()" FOLDER PACKAGE

reads one request per line from standard input and answers with one line each. FOLDER has the runtime's package.
"""

import base64
import builtins
import importlib
import io
import json
import pickle
import sys
import traceback
import types

CALLER = "caller"  # the module whose definitions go by value
OWN = ("__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__spec__")
definitions = specials = needs = None


def goes_by_name(thing):
    return getattr(thing, "__module__", None) != CALLER and specials.is_importable(thing)


class Pickler(pickle.Pickler):
    """Holds the definitions of `caller` by value, and all that they refer to."""

    def __init__(self, file):
        super().__init__(file, 5)
        self._namespaces = {}

    def reducer_override(self, thing):
        if isinstance(thing, types.FunctionType) and not goes_by_name(thing):
            return definitions.reduce_function(thing, self._namespace(thing.__globals__))
        if isinstance(thing, type) and thing.__module__ != "builtins" and not goes_by_name(thing):
            return definitions.reduce_class(thing)
        if isinstance(thing, types.CellType):
            return definitions.reduce_cell(thing)
        if definitions.is_enum_member(thing) and not goes_by_name(type(thing)):
            return definitions.reduce_member(thing)
        if thing is sys.modules[CALLER]:
            return importlib.import_module, (CALLER,)
        return specials.reduce_special(thing, goes_by_name)

    def _namespace(self, names):
        """What the dict of a function's globals is read as: each dict is made once."""
        if id(names) not in self._namespaces:
            module = names.get("__name__")
            if names is getattr(sys.modules.get(module), "__dict__", None):
                made = definitions.Reduced(module_names, module)
            else:
                made = {key: value for key, value in names.items() if key != "__builtins__"}
                made["__builtins__"] = builtins
            self._namespaces[id(names)] = made
        return self._namespaces[id(names)]


def module_names(module):
    return vars(importlib.import_module(module))


def dumps(value):
    file = io.BytesIO()
    Pickler(file).dump(value)
    return file.getvalue()


def fresh_caller():
    module = sys.modules[CALLER] = types.ModuleType(CALLER)
    module.__builtins__ = builtins
    return vars(module)


def take_apart(source, expressions):
    """What the expressions give here; what they give after all has been made again here; and the pickle."""
    home = fresh_caller()
    exec(compile(source, "caller.py", "exec"), home)
    data = dumps({name: value for name, value in home.items() if name not in OWN})
    return {"pickle": base64.b64encode(data).decode(),
            "home": evaluate(home, expressions), "here": make(data, expressions)}


def make(data, expressions):
    names = fresh_caller()
    names.update(pickle.loads(data))
    return evaluate(names, expressions)


def evaluate(names, expressions):
    return [said(expression, names) for expression in expressions]


def said(expression, names):
    try:
        return repr(eval(expression, names))
    except Exception as error:
        return "%s: %s" % (type(error).__name__, error)


def run(source):
    """Runs a test that needs this module alone: `source` has what it checks as assertions."""
    names = fresh_caller()
    names.update(dumps=dumps, loads=pickle.loads, definitions=definitions, specials=specials, needs=needs)
    exec(compile(source, "caller.py", "exec"), names)
    return {}


def answer(request):
    try:
        if "pickle" in request:
            return {"away": make(base64.b64decode(request["pickle"]), request["expressions"])}
        return take_apart(**request) if "expressions" in request else run(**request)
    except BaseException:
        return {"error": traceback.format_exc()}


def main():
    global definitions, specials, needs
    folder, package = sys.argv[1:]
    sys.path.insert(0, folder)
    definitions, specials, needs = [importlib.import_module("%s.%s" % (package, name))
                                    for name in ("definitions", "specials", "needs")]
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
