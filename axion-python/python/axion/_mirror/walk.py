"""Walks from definitions over all that they reach."""

import io
import linecache
import pickle
import sys
import time
import weakref
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Optional

from .. import _definitions, _names, _needs
from .._packing import PROTOCOL
from .._references import CLASS, FROZEN, FUNCTION, FUNCTION_ATTRIBUTES, LINES, OBJECT
from ..errors import SubmitError
from .kinds import (MADE_ONCE, MISSING, annotate_of, contents_of, identities, is_atom, is_definition, is_same,
                    is_sentinel, place_of)
from .lookups import may_find, names_subclasses, with_packages
from .pickler import Dump, Pickler
from .pinned import Pinned
from .pins import (ABSENT, ATOM, DEFINED, HEADER, NAMED, REFUSED, VALUE, Imported, Slot, State, content_of, header_of,
                   pin_of, versions)
from .reach import AttributeReader, CellReader, DictReader, GlobalReader, Reach
from .refusals import refusal, refused
from .units import Value

SLOW_COMPARISON = 0.01  # seconds of processor time
_MAIN = ("__main__", "__mp_main__")  # `everything` lists what these need
_UNSENT = frozenset(("__builtins__", "__loader__", "__spec__", "__cached__", *HEADER))


class Walk:
    """One walk from some definitions, and functions that have no number, over all that they reach."""

    def __init__(self, mirror, roots, functions=(), offers: Optional[bool] = False, is_trial=False):
        self.mirror = mirror
        self._is_trial = is_trial  # it only finds out whether the roots can be sent
        self._tried = set()  # the numbers of definitions that can be
        self._looks_up = offers  # whether functions may find definitions by their names; None: it does not matter
        self._todo = list(roots.values())
        self.definitions = {}
        self._kept = []  # objects, until the walk has ended
        self.spaces = {}
        self.pinned = Pinned(mirror)
        self.names = {}  # id of a dict of globals -> how to check it
        self.refused = []  # the readers of values that are refused when they are used
        self.functions, self.classes = [], []
        self.imports = set()  # the names of modules without a file, or unknown ones, that functions import themselves
        self.slot_counts = []  # the slots of a definition, or of a space that functions can reach all of, and their number
        self._asks_for_subclasses, self.subclasses = False, {}
        self._inline = functions

    def reach(self):
        for function, _ in self._inline:
            self._walk_function(function, None)
        self._walk_definitions()
        while self._join_members() or self._join_subclasses():
            self._walk_definitions()
        self.pinned.pin_values()
        self.offers = self.mirror.offers() if self._looks_up else None
        return Reach(self)

    def _walk_definitions(self):
        while self._todo:
            definition = self._todo.pop()
            if definition is None:
                self._note_lookup()
                continue
            if definition.number in self.definitions:
                continue
            thing = definition.reference()
            if thing is None:
                continue
            self.definitions[definition.number] = definition
            self._kept.append(thing)
            if type(thing) is FunctionType:
                self._walk_function(thing, definition)
            elif not issubclass(type(thing), type):
                self._walk_object(thing, definition)
            else:
                self._walk_class(thing, definition)

    def _note_lookup(self):
        if self._looks_up is False:
            self._looks_up = True

    def _join_members(self):
        """Walks to the other slots of the units that it has met. False if it has met all."""
        met = {value.slot for value in self.pinned.values}
        joined = False
        for value in list(self.pinned.values):
            for slot, reference, name in value.slot.state.members if value.slot.state is not None else ():
                if slot in met:
                    continue
                met.add(slot)
                thing = reference()
                if thing is None:
                    continue
                if name is None:
                    known = self.mirror.definitions.get(id(thing))
                    if known is not None and known.number not in self.definitions:
                        self._todo.append(known)
                        joined = True
                else:
                    space, names = self.mirror.space_of(thing), thing.__globals__
                    check = self._check(space, names, thing)
                    if name not in check.seen:
                        self._walk_global(thing, space, names, check, name, True)
                        joined = True
        return joined

    def _join_subclasses(self):
        """Walks to the subclasses of the classes that it has met, if a function asks for them."""
        before = len(self._todo)
        for cls in self._kept if self._asks_for_subclasses else ():
            if issubclass(type(cls), type):
                found = [each for each in type.__subclasses__(cls) if is_definition(each)]
                self.subclasses[id(cls)] = weakref.ref(cls), len(found)
                self._todo += [each for each in map(self.mirror.define, found) if each.number not in self.definitions]
        return len(self._todo) > before

    def visit_global(self, space, name, thing):
        """Pins the name of a definition."""
        space = self.mirror.space_of_module(space, self.mirror.mirrored_modules()[space])
        self.spaces.setdefault(space.key, (space, {}))
        slot = space.slot(name)
        if not self.pinned.has(slot):
            self._visit(slot, thing, thing, None)

    # Definitions.

    def _walk_function(self, function, definition):
        mirror, code = self.mirror, function.__code__
        if mirror.needs(code)[2]:
            self._note_lookup()
        if names_subclasses(code):
            self._asks_for_subclasses = True
        space = mirror.space_of(function)
        if definition is not None:
            self._describe_function(function, definition, space)
            self._todo.extend(definition.found)
        self._note_submodules(function)
        used = self._walk_globals(function, space)
        self._walk_imports(function)
        self._walk_lines(code.co_filename)
        indices = []
        for at, cell in enumerate(function.__closure__ or ()):
            known = mirror.cell(cell)
            used.append(known.slot)
            if definition is None:
                continue  # it is pickled by value
            value, reader = contents_of(cell), CellReader(definition.reference, at)
            if code.co_name == "__annotate__" and code.co_freevars[at] == "__classdict__":
                value, reader = _names_of_class(value), None
            if self._visit(known.slot, value, function, reader) is not VALUE:
                indices.append(at)
        if definition is not None:
            self.pinned.used[definition.number] = used
        reference = definition.reference if definition is not None else weakref.ref(function)
        exact, annotations, annotate = {}, None, annotate_of(function)
        for name in FUNCTION_ATTRIBUTES:
            # Where annotations cannot be made, what makes them travels with the function.
            value = getattr(function, name, None) if annotate is None or name != "__annotations__" else None
            if name == "__annotations__" or name == "__type_params__":
                if annotate is not None and name == "__annotations__":
                    annotations = weakref.ref(annotate)
                    self._walk_annotations(function, _texts_of(annotate, code.co_varnames))
                elif type(value) is dict and definition is not None:
                    annotations = identities(value)
                if definition is not None and (value or value is not None and name in definition.slots):
                    self._visit(definition.slot(name), value, function, None, soft=True)
                    self._walk_annotations(function, value)
            elif definition is None:
                exact[name] = value
            elif value is None and name not in definition.slots:
                exact[name] = None
            elif self._visit(definition.slot(name), value, function, AttributeReader(reference, name)) is not VALUE:
                exact[name] = value
        attributes = None
        if function.__dict__ and definition is not None:
            attributes = identities(function.__dict__)
            for name, value in function.__dict__.items():
                self._visit(definition.slot(name), value, function, DictReader(reference, name))
        if definition is not None:
            for name, slot in self._slots_of(definition):
                if name not in FUNCTION_ATTRIBUTES and name not in function.__dict__:
                    self._visit(slot, MISSING, function, None)
        names = function.__name__, function.__qualname__, function.__doc__
        self.functions.append((reference, code, names, exact.get("__defaults__", MISSING),
                                exact.get("__kwdefaults__", MISSING), annotations, attributes,
                                [(at, id(contents_of(function.__closure__[at]))) for at in indices]))

    def _walk_object(self, thing, definition):
        """What `functools.lru_cache` has made, which begins with an empty cache in a worker; a type parameter; or an
        object that pickles by the name of a global.
        """
        with io.BytesIO() as file:
            pickler = Pickler(self.mirror, file)
            pickler.inline, pickler.registers = thing, True
            pickler.dump((OBJECT, thing, None, None))
            data = file.getvalue()
        if definition.seen != data:
            definition.pin = definition.number, next(versions), data, content_of(data)
            definition.found, definition.seen = tuple(pickler.found.values()), data
        self._todo.extend(definition.found)

    def _describe_function(self, function, definition, space):
        annotate = annotate_of(function)
        # The code of annotations may refer to the class whose method this is: it is not kept alive here.
        seen = (function.__code__, function.__name__, function.__qualname__, function.__module__, function.__doc__,
                None if annotate is None else weakref.ref(annotate))
        if definition.seen is not None and all(map(is_same, seen, definition.seen)):
            return
        code, name, cells = _definitions.function_structure(function)
        definition.cells = tuple(map(self.mirror.cell, cells or ()))
        definition.space = space
        names = ("__name__", "__qualname__", "__module__", "__doc__") + (() if annotate is None else ("__annotate__",))
        structure = code, name, cells, dict(zip(names, (*seen[1:5], annotate)))
        self._describe(definition, lambda: (FUNCTION, structure, space.key, place_of(function)), seen)

    def _describe(self, definition, describe, seen):
        try:
            self._describe_as(definition, describe(), seen)
        except SubmitError:
            raise
        except Exception as error:
            thing = definition.reference()
            raise SubmitError("%s cannot be sent to a worker: %s: %s" % (
                getattr(thing, "__qualname__", thing), type(error).__name__, error), "not_picklable") from error

    def _describe_as(self, definition, description, seen):
        with io.BytesIO() as file:
            pickler = Pickler(self.mirror, file)
            pickler.dump(description)
            data = file.getvalue()
        if definition.pin is None or definition.pin[2] != data:
            definition.pin = definition.number, next(versions), data, content_of(data)
        definition.found = tuple(pickler.found.values())
        definition.seen = seen

    def _walk_class(self, cls, definition):
        own = vars(cls)
        seen = cls.__name__, cls.__qualname__, own.get("__module__", MISSING), *cls.__bases__
        if definition.seen is None or len(seen) != len(definition.seen) or not all(map(is_same, seen, definition.seen)):
            self._describe(definition, lambda: (CLASS, _definitions.class_structure(cls), None, place_of(cls)), seen)
        self._todo.extend(definition.found)
        attributes = _definitions.class_attributes(cls)
        is_plain = _definitions.MEMBER_STATES not in attributes
        annotate = own.get("__annotate_func__")
        if own.get("__annotations__"):
            self._walk_annotations(cls, own["__annotations__"])
        elif type(annotate) is FunctionType:  # from Python 3.14 on
            self._walk_annotations(cls, _texts_of(annotate))
        for name, value in attributes.items():
            reader = None
            if is_plain and own.get(name, MISSING) is value:
                reader = DictReader(definition.reference, name)
            self._visit(definition.slot(name), value, cls, reader, soft=True)
        for name, slot in self._slots_of(definition):
            if name not in attributes:
                self._visit(slot, MISSING, cls, None)
        self.classes.append((definition.reference, cls.__name__, cls.__bases__, list(own), list(map(id, own.values())),
                             _definitions.registrations_elsewhere(cls)))

    def _slots_of(self, definition):
        """All slots of a definition whose own attributes have theirs. Other walks may add some later."""
        slots = list(definition.slots.items())
        self.slot_counts.append((definition.slots, len(slots)))
        return slots

    # Slots.

    def _walk_globals(self, function, space):
        """Walks to the globals that a function uses. Returns their slots."""
        if type(space) is Imported:
            return []
        names = function.__globals__
        _, needed, everything, _ = self.mirror.needs(function.__code__)
        check = self._check(space, names, function)
        for name in needed:
            self._walk_global(function, space, names, check, name, function.__code__.co_name == "__annotate__")
        if everything:
            self._walk_all_globals(function, space, names, check)
        return [space.slots[name] for name in needed if name in space.slots]

    def _note_submodules(self, function):
        """The import of a package imports no submodule: a worker imports those that code reaches through the package."""
        names, code = function.__globals__, function.__code__
        values = [names.get(name) for name in self.mirror.needs(code)[1]]
        values += [contents_of(cell) for cell in function.__closure__ or ()]
        for package in values:
            if type(package) is ModuleType and hasattr(package, "__path__"):
                self.mirror.note_submodules(package, _needs.submodules_needed(code, [package]))

    def _walk_imports(self, function):
        """Walks over the modules without a file that a function imports itself: any of their names may be asked for."""
        wanted = {name for name in with_packages(self.mirror.needs(function.__code__)[3])
                  if name not in _MAIN and (name not in sys.modules or _names.place_of_module(name) is None)}
        self.imports |= wanted
        modules = self.mirror.mirrored_modules() if wanted else {}
        for name in sorted(wanted.intersection(modules)):
            names = modules[name]
            space = self.mirror.space_of_module(name, names)
            check = self._check(space, names, None)
            self._walk_all_globals(function, space, names, check)

    def _walk_all_globals(self, function, space, names, check):
        if self._is_trial:
            return  # each of them has its own trial
        check.count = len(names)
        everything = {**names, **space.slots}
        for name in everything:
            if name not in _UNSENT:
                self._walk_global(function, space, names, check, name, True)
        self.slot_counts.append((space.slots, len(everything.keys() & space.slots.keys())))

    def _walk_global(self, function, space, names, check, name, soft):
        if name in check.seen:
            return
        check.seen.add(name)
        value = names.get(name, MISSING)
        if self._looks_up is False and not is_definition(value) and may_find(name, value):
            self._note_lookup()
        if value is MISSING:
            check.absent.append(name)
            if name in space.slots:
                self._visit(space.slots[name], MISSING, function, None)
            return
        reader = GlobalReader(check.owner, check.reference, name)
        try:
            kind = self._visit(space.slot(name), value, function, reader, uncertain=soft)
        except SubmitError:
            if not soft:
                raise
            kind = None
        if kind is not VALUE:
            check.names.append(name)
            check.ids.append(id(value))

    def _try(self, definitions):
        """Raises the error of a definition that cannot be sent: code that can reach all globals gets the others."""
        for each in definitions if self._looks_up is not None else ():
            if each is not None and each.number not in self.definitions and each.number not in self._tried:
                Walk(self.mirror, {each.number: each}, offers=None, is_trial=True).reach()
                self._tried.add(each.number)

    def _walk_annotations(self, thing, annotations):
        """Pins the names in annotations that are text."""
        wanted = _needs.names_in_annotations(annotations) if type(annotations) is dict else ()
        if not wanted:
            return
        names = getattr(thing, "__globals__", None) or self.mirror.mirrored_modules().get(
            getattr(thing, "__module__", None))
        if names is None:
            return
        name = names.get("__name__")
        function = thing if type(thing) is FunctionType else None
        if function is not None:
            space = self.mirror.space_of(function)
        else:
            space = self.mirror.space_of_module(name, names)
        if type(space) is not Imported:
            check = self._check(space, names, function)
            for each in sorted(wanted):
                self._walk_global(thing, space, names, check, each, True)

    def _check(self, space, names, function):
        self.spaces.setdefault(space.key, (space, header_of(names)))
        check = self.names.get(id(names))
        if check is None:
            owner = names if type(space.key) is str else None
            reference = None if function is None else weakref.ref(function)
            check = self.names[id(names)] = NamesCheck(space, owner, reference)
        return check

    def _walk_lines(self, name):
        entry = linecache.cache.get(name)
        if entry is None or len(entry) != 4 or entry[1] is not None:
            return
        slot = self.mirror.lines.get(name)
        if slot is None:
            slot = self.mirror.lines[name] = Slot((LINES, "", name))
        if slot.state is None or slot.state.held is not entry[2]:
            content = content_of(pickle.dumps((entry[2],), PROTOCOL))
            slot.state = State(NAMED, entry[2], (FROZEN, next(versions), (slot.key,), content))
        if not self.pinned.has(slot):
            self.pinned.add(slot)

    def _visit(self, slot, value, user, reader, soft=False, uncertain=False):
        """Pins a slot, or puts it off until all values are known. Returns how its value is compared."""
        state = slot.state
        if state is None or not state.is_of(value) or (
                type(value) is ModuleType and state.print is not self.mirror.submodules_of(value)):
            state = self._look(slot, value, state)
        if state is None:
            return self._visit_value(Value(slot, value, user, reader, soft, uncertain))
        if uncertain:
            self._try(state.found)
        slot.state = state
        self.pinned.add(slot)
        self._todo.extend(state.found)
        return state.kind

    def _look(self, slot, value, before):
        """The state of a slot whose value is compared by identity; None for any other."""
        if value is MISSING:
            if before is not None and before.kind is ABSENT:
                return before
            return State(ABSENT, None, (FROZEN, next(versions), (slot.key,), None))
        kind = type(value)
        if kind is FunctionType or kind in MADE_ONCE or issubclass(kind, type):
            if is_definition(value):
                definition = self.mirror.define(value)
                return State(DEFINED, definition, pin_of(slot, FROZEN, (definition.number,), before), (definition,))
            how = NAMED
        elif is_atom(value):
            return State(ATOM, value, pin_of(slot, FROZEN, content_of(pickle.dumps((value,), PROTOCOL)), before))
        elif kind is ModuleType or kind is BuiltinFunctionType and type(value.__self__) is ModuleType:
            how = NAMED
        elif is_sentinel(value):
            self.mirror.sentinel(value)
            how = NAMED
        else:
            return None
        dump = Dump(self.mirror, (value,))
        submodules = self.mirror.submodules_of(value) if kind is ModuleType else None
        return State(how, value, pin_of(slot, FROZEN, dump.content(), before), tuple(dump.found.values()), submodules)

    def _visit_value(self, value):
        try:
            began = time.thread_time()  # what a busy machine takes for others does not count
            value.dump = Dump(self.mirror, (value.value,))
            if time.thread_time() - began > SLOW_COMPARISON:
                self.mirror.warn_of(value)
        except Exception as error:
            problem = refusal(self.mirror, value, error)
            if not value.soft:
                raise problem from error
            value.slot.state = State(REFUSED, value.value, pin_of(value.slot, FROZEN, refused(problem), value.slot.state))
            self.pinned.add(value.slot)
            if value.reader is not None:
                self.refused.append(value.reader)
            return NAMED
        if value.uncertain:
            self._try(value.dump.found.values())
        self.pinned.values.append(value)
        self._todo.extend(value.dump.found.values())
        return VALUE


def _names_of_class(names):
    """What annotations are likely to find in the dict of their class, of which a worker makes one of its own."""
    return {name: value for name, value in names.items() if type(value) in (FunctionType, type) or is_atom(value)}


def _texts_of(annotate, parameters=()):
    """The annotations that are text, of a function that makes annotations, which may fail.

    For those of a function, the names of its parameters are among the constants, too.
    """
    operations = _needs.operations_of(annotate.__code__)
    following = [operation for operation, _ in operations[1:]] + [""]
    return {at: value for at, ((operation, value), after) in enumerate(zip(operations, following))
            if operation == "LOAD_CONST" and type(value) is str and after != "STORE_SUBSCR" and value not in parameters}


class NamesCheck:
    """The names of one dict of globals that a walk has met."""

    def __init__(self, space, owner, reference):
        self.space, self.owner, self.reference = space, owner, reference
        self.seen, self.names, self.ids, self.absent = set(), [], [], []
        self.count: Optional[int] = None  # of all names, if a function can reach them all
