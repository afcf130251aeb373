"""The mirror of the caller's program in this worker (L18).

A function arrives with its *pins*: what it reaches in the caller's program, each in the version of its submit.
`Mirror.apply` brings the mirror to these versions. docs/internals/wire-protocol.md has the format:

    pins        = (ids, spaces, definitions, units, offers)
    ids         = the ids of the parts that the others refer to by their position
    spaces      = ((space, header), ...)             a namespace, and the names that it always has
    definitions = ((number, version, content), ...)  a function or class that is made by value
    units       = ((stage, version, keys, content), ...)  slots whose values share objects, set together
    offers      = None, or the content of what a module makes on demand: (names, definitions, units)

A *space* is a dict of globals: the name of a module that has no file, or the number of a dict that belongs to none. A
*slot* holds one value: `("g", space, name)` a global, `("a", number, name)` an attribute of a definition, and
`("c", number, "")` what a closure cell holds. *Content* is a pickle (bytes), or the position of a part that holds one,
or `(number,)` for a definition, or None for a slot that has been deleted.

The slots remember which version they have. What a task changes stays, until the caller's own value has changed.
"""

import sys
from _thread import RLock
from _weakref import ref
from io import BytesIO
from operator import is_not
from types import CellType, FunctionType, ModuleType

from . import definitions, needs, places, references, specials
from .failure import FailureKind, TaskFailure, type_name
from .library import remember_lines
from .packing import PROTOCOL, unpack
from .payloads import SharedPart
from .references import ATTRIBUTE, CELL, CLASS, FUNCTION, FUNCTION_ATTRIBUTES, GLOBAL, OBJECT, UNCERTAIN



class MirroredModule(ModuleType):
    """A module of the caller that has no file. Its functions and classes are made when they are asked for."""

    def __getattr__(self, name):
        mirror = _mirror
        if mirror is not None and not name.startswith("__") and mirror.make_offered(self.__name__, name):
            return self.__dict__[name]
        raise AttributeError("module %r has no attribute %r" % (self.__name__, name))


class _Space:
    """A dict of globals."""

    def __init__(self, names):
        self.names = names
        self.versions = {}

    def has(self, name):
        return name in self.names

    def get(self, name):
        return self.names[name]

    def set(self, name, value):
        self.names[name] = value

    def delete(self, name):
        self.names.pop(name, None)


class _Object:
    """A function or class of the caller."""

    def __init__(self, number, thing, died):
        self.number = number
        self.reference = ref(thing, died)
        self.identity = id(thing)
        self.version = None
        self.versions = {}
        self.space = None
        self.cells = ()
        self.is_own = False  # this worker has imported it: it stays as it is

    def has(self, _name):
        return False  # the attributes that it was made with are the caller's

    def get(self, name):
        thing = self.reference()
        return getattr(thing, name) if name in FUNCTION_ATTRIBUTES else thing.__dict__[name]

    def set(self, name, value):
        thing = self.reference()
        if self.is_own:
            return
        if not isinstance(thing, FunctionType):
            definitions.set_class_attribute(thing, name, value)
        elif name in FUNCTION_ATTRIBUTES:
            if type(value) is Refusal:  # the interpreter takes nothing but a dict, or a tuple
                value = value.stand_in(dict if name == "__annotations__" else tuple)
            definitions.set_function_attributes(thing, {name: value})
        else:
            thing.__dict__[name] = value
            if name == "registry":
                definitions.forget_dispatched(thing)

    def delete(self, name):
        thing = self.reference()
        if self.is_own:
            return
        if not isinstance(thing, FunctionType):
            if name in vars(thing):
                definitions.delete_class_attribute(thing, name)
        elif name in FUNCTION_ATTRIBUTES:
            definitions.set_function_attributes(thing, {name: None})
        else:
            thing.__dict__.pop(name, None)


class _Cell:
    """A closure cell."""

    def __init__(self):
        self.cell = definitions.new_cell()
        self.versions = {}
        self.users = 0

    def has(self, _name):
        return False

    def get(self, _name):
        return self.cell.cell_contents

    def set(self, _name, value):
        self.cell.cell_contents = value

    def delete(self, _name):
        try:
            del self.cell.cell_contents
        except ValueError:
            pass


class _Lines:
    """The source lines of code that has no file."""

    def __init__(self):
        self.versions = {}

    def has(self, _name):
        return False

    def set(self, name, lines):
        remember_lines(name, lines, sum(map(len, lines)))

    def delete(self, name):
        pass


class Mirror:
    """What this worker has of the caller's program, and in which versions."""

    def __init__(self, parts, only_forward):
        self.epoch = 0  # changes with every version: while it stays, what was applied holds
        self._parts = parts
        self._only_forward = only_forward  # of a worker that runs several tasks at a time
        self._lock = RLock()
        self._spaces = {}  # those that belong to no module are there as long as their functions are
        self._objects = {}
        self._cells = {}
        self._lines = _Lines()
        self._numbers = {}  # id of an object -> its number, and the object if nothing else keeps it
        self._sentinels = {}
        self._atoms = {}
        self._pending = {}  # while versions are applied: the definitions that are still to be made
        self._known_pins = {}  # part -> the pins in it
        self._offers = None  # of the function that runs
        self._read_offers = None, None
        self.pickle = None  # the module
        self._pickler = self._unpickler = None  # the classes

    # What a function needs.

    def read_pins(self, pins):
        """Pins, from their pickle or from the id of the part that holds it."""
        if type(pins) is tuple:
            return pins
        known = self._known_pins.get(pins)
        if known is None:
            if len(self._known_pins) > 16:
                self._known_pins.clear()
            known = self._known_pins[pins] = self.pickle.loads(self._parts[pins])
        return known

    def apply(self, pins):
        """Brings the mirror to the versions of some pins. Returns what keeps the definitions among them alive."""
        ids, spaces, needed, units, _ = pins
        with self._lock:
            kept = [known and known.reference() for known in [self._objects.get(number) for number, _, _ in needed]]
            stale = [each for each, thing in zip(needed, kept)
                     if thing is None or self._is_stale(self._version_of(each[0]), each[1])]
            units = [unit for unit in units if self._is_stale_unit(unit)]
            kept += [self._open_space(space, header) for space, header in spaces]
            if stale or units:
                kept += self._change(ids, stale, units)
                self.epoch += 1
        return kept

    def offer(self, pins):
        """What the modules make on demand from here on."""
        self._offers = pins

    def _version_of(self, number):
        known = self._objects.get(number)
        return None if known is None else known.version

    def _is_stale(self, applied, pinned):
        if applied is None:
            return True
        return applied < pinned if self._only_forward else applied != pinned

    def _is_stale_unit(self, unit):
        _, version, keys, _ = unit
        for kind, owner, name in keys:
            holder = self._find_holder(kind, owner)
            if holder is None or self._is_stale(holder.versions.get(name), version):
                return True
        return False

    def _change(self, ids, stale, units):
        outer = self._pending
        self._pending = {number: (version, content, ids) for number, version, content in stale}
        made = []
        try:
            for number, version, content in stale:
                if number in self._objects and number in self._pending:
                    self._update(number)
                made.append(self.object(number))
            for unit in sorted(units, key=_stage):
                self._set_unit(ids, *unit)
        finally:
            self._pending = outer
        return made

    # Spaces, definitions and slots.

    def _open_space(self, space, header):
        known = self._find_space(space)
        if known is None:
            names = self._mirrored_module(space).__dict__ if type(space) is str else {}
            names.setdefault("__builtins__", __builtins__)
            known = _Space(names)
            self._spaces[space] = ref(known, self._space_forgetter(space)) if type(space) is int else known
        for name, value in header.items():
            if known.names.get(name) is None:
                known.names[name] = _spec(*value) if name == "__spec__" else value
        return known

    def _find_space(self, space):
        known = self._spaces.get(space)
        return known() if type(known) is ref else known

    def _space_forgetter(self, space):
        spaces = self._spaces

        def forget(reference):
            if spaces.get(space) is reference:
                del spaces[space]

        return forget

    def _mirrored_module(self, name):
        module = sys.modules.get(name)
        if not isinstance(module, MirroredModule):
            if type(module) is ModuleType and name == "__main__":
                module.__class__ = MirroredModule
            else:
                module = sys.modules[name] = MirroredModule(name)
        return module

    def space(self, space):
        """The dict of a space, or of a module that this worker imports: `(name,)`."""
        return vars(import_module(space[0])) if type(space) is tuple else self._find_space(space).names

    def caller_space(self, space):
        """As `space`, in what another worker has sent. None is a new dict, of a function that a task has made."""
        return {"__builtins__": __builtins__} if space is None else self.space(space)

    def module(self, space):
        self._open_space(space, {})
        return sys.modules[space]

    def object(self, number):
        """The definition with this number, made now if it is still to be made."""
        known = self._objects.get(number)
        thing = None if known is None else known.reference()
        if thing is None:
            if number not in self._pending:
                raise LookupError("a function or class of the caller that this worker does not have")
            thing = self._make(number)
        return thing

    def _make(self, number):
        version, content, ids = self._pending.pop(number)
        kind, structure, space, place = self._load(content, ids)
        own = None if place is None else _own_of(place, kind, structure)
        if own is not None:
            thing = own
        elif kind == OBJECT:
            thing = structure
        elif kind == CLASS:
            thing = definitions.make_class(structure)
        else:
            thing = definitions.new_function(structure[:3], self.space(space))
            definitions.set_function_attributes(thing, structure[3])
        known = self._objects[number] = _Object(number, thing, self._forgetter(number))
        self._numbers[id(thing)] = number, None
        known.version = version
        known.is_own = own is not None
        if kind == FUNCTION and own is None:
            self._use(known, thing, space)
        return thing

    def _use(self, known, function, space):
        """The cells and the dict of a function are found as long as the function is there."""
        if type(space) is int:
            known.space = self._find_space(space)
        cells = {id(each.cell): number for number, each in self._cells.items()} if function.__closure__ else {}
        known.cells = [cells[id(cell)] for cell in function.__closure__ or () if id(cell) in cells]
        for number in known.cells:
            self._cells[number].users += 1

    def _update(self, number):
        version, content, ids = self._pending.pop(number)
        known = self._objects[number]
        thing = known.reference()
        kind, structure, _, _ = self._load(content, ids)
        if kind == FUNCTION and thing is not None and not known.is_own:
            definitions.update_function(thing, (structure[:3], structure[3]))
        elif kind == CLASS and thing is not None and not known.is_own:
            type.__setattr__(thing, "__name__", structure[1])
            for name, value in structure[3].items():
                if name != "__slots__":
                    type.__setattr__(thing, name, value)
            if thing.__bases__ != structure[2]:
                type.__setattr__(thing, "__bases__", structure[2])
        known.version = version

    def _forgetter(self, number):
        mirror = ref(self)

        def forget(reference):
            it = mirror()
            known = it and it._objects.get(number)
            if known and known.reference is reference:
                it._forget(known)

        return forget

    def _forget(self, known):
        del self._objects[known.number]
        if self._numbers.get(known.identity, (None,))[0] == known.number:
            del self._numbers[known.identity]
        for number in known.cells:
            cell = self._cells.get(number)
            if cell is not None:
                cell.users -= 1
                if not cell.users:
                    del self._cells[number]

    def cell(self, number):
        known = self._cells.get(number)
        if known is None:
            known = self._cells[number] = _Cell()
        return known.cell

    def sentinel(self, number, kind):
        """An object that is nothing but itself."""
        found = self._sentinels.get(number)
        if found is None:
            found = self._sentinels[number] = object.__new__(kind)
            self._numbers[id(found)] = number, found
        return found

    def sentinel_class(self, number):
        return type(self._sentinels[number]) if number in self._sentinels else None

    def _find_holder(self, kind, owner):
        if kind == GLOBAL:
            return self._find_space(owner)
        if kind == ATTRIBUTE:
            return self._objects.get(owner)
        return self._cells.get(owner) if kind == CELL else self._lines

    def _set_unit(self, ids, stage, version, keys, content):
        try:
            values = self._values(content, ids, keys)
        except TaskFailure:
            if stage == UNCERTAIN:
                return  # nothing is known to need it
            raise
        for key, value in zip(keys, map(self._one, values)):
            kind, owner, name = key
            holder = self._find_holder(kind, owner)
            if holder is None:
                continue  # of a definition that nothing refers to any more
            applied = holder.versions.get(name)
            if applied is None and holder.has(name):
                pass  # an initializer's work stays
            elif applied is not None and not self._is_stale(applied, version):
                continue
            elif value is _DELETED:
                holder.delete(name)
            else:
                holder.set(name, value)
            holder.versions[name] = version

    def _one(self, value):
        """One object for equal numbers, texts and bytes, also in defaults: code may compare them by identity."""
        kind = type(value)
        if kind is tuple and len(value) <= _MAX_ATOMS:
            parts = [self._one(part) for part in value]
            return tuple(parts) if any(map(is_not, parts, value)) else value
        if kind is dict and value and len(value) <= _MAX_ATOMS:
            for key, part in value.items():
                if type(part) in _ATOMS:
                    value[key] = self._one(part)
            return value
        if kind not in _ATOMS or kind in (str, bytes) and len(value) > _MAX_ATOM:
            return value
        if len(self._atoms) >= _MAX_KNOWN_ATOMS:
            self._atoms.clear()
        return self._atoms.setdefault((kind, repr(value) if kind in _SIGNED else value), value)

    def _values(self, content, ids, keys):
        if content is None:
            return [_DELETED] * len(keys)
        if type(content) is tuple:
            return (self.object(content[0]),)
        try:
            return self._load(content, ids)
        except TaskFailure:
            raise  # it says what is wrong with the module that was to be imported
        except Exception as error:
            text = "%s cannot be made in this worker: %s: %s" % (_name_of(keys), type_name(type(error)), error)
            raise TaskFailure(FailureKind.FUNCTION_NOT_LOADABLE, text) from error

    def _load(self, content, ids):
        if type(content) is int:
            content = self._parts[ids[content]]
        if content[0] == 0x80:
            return self._loads(content)
        # Arrays can be written to, and the part stays as it is.
        content = content.writable_copy() if type(content) is SharedPart else bytearray(content)
        return unpack(content, self._loads, None)

    def _loads(self, data, buffers=()):
        if self._unpickler is None:
            self._unpickler = _make_unpickler(self)
        return self._unpickler(BytesIO(data), buffers=buffers).load()

    def value(self, key):
        """What a slot holds that another value refers to."""
        kind, owner, name = key
        return self._find_holder(kind, owner).get(name)

    def array(self, part, dtype, shape, order):
        """An argument that is an array of NumPy's, in a part that other tasks share: it cannot be written to."""
        import numpy

        return numpy.frombuffer(self._parts[part], dtype).reshape(shape, order=order)

    # Names that are made on demand.

    def make_offered(self, space, name):
        """Makes a function or class that the caller's module has. False if it has none of this name."""
        pins = self._offers
        if pins is None or pins[4] is None:
            return False
        with self._lock:
            names, spaces, needed, units = self._read(pins)
            found = names.get((space, name))
            if found is None:
                return False
            if type(found) is str:
                raise TaskFailure(FailureKind.FUNCTION_NOT_LOADABLE, "%s.%s cannot be found: %s" % (space, name, found))
            numbers, positions = found
            kept = self.apply((pins[0], spaces, [needed[at] for at in numbers], [units[at] for at in positions], None))
            del kept
            return name in self._find_space(space).names

    def _read(self, pins):
        if self._read_offers[0] is not pins:
            self._read_offers = pins, self._load(pins[4], pins[0])
        return self._read_offers[1]

    # References back to the caller.

    def number_of(self, thing):
        """The number of an object that came from the caller; None for any other."""
        found = self._numbers.get(id(thing))
        if found is None:
            return None
        number, kept = found
        if kept is not None:
            return number if kept is thing else None
        known = self._objects.get(number)
        return number if known is not None and known.reference() is thing else None

    def dumps(self, value, buffer_callback):
        """A pickle for the caller. What came from there goes back as a reference."""
        if self._pickler is None:
            self._pickler = _make_pickler(self)
        file = BytesIO()
        self._pickler(file, PROTOCOL, buffer_callback=buffer_callback).dump(value)
        return file.getvalue()

    def reduce_globals(self, function):
        """How a pickle refers to the dict that has a function's globals."""
        names = function.__globals__
        make = references.module().caller_space
        for space in list(self._spaces):
            known = self._find_space(space)
            if known is not None and known.names is names:
                return make, (space,)
        module = names.get("__name__")
        if getattr(sys.modules.get(module), "__dict__", None) is names:
            return make, ((module,),)
        # The task itself has made it: it travels with the names that the function uses.
        needed = needs.names_needed(function.__code__).names
        items = [(name, names[name]) for name in sorted(needed) if name in names]
        return make, (None,), None, None, iter([("__name__", module), *items])


def import_module(name):
    __import__(name)
    return sys.modules[name]


def _spec(name, origin):
    spec = type(sys.__spec__)(name, None, origin=origin)
    spec.has_location = origin is not None
    return spec


def _own_of(place, kind, structure):
    """The object that this worker has in a place of a module that it imports, if it is the caller's: the same code, or
    a class of the same name.
    """
    module, steps = place
    own = places.follow(import_module(module), steps)
    if len(steps) > 1 and places.settled_place(own) is None:
        return None  # a task has put it there
    if kind == FUNCTION:
        return own if type(own) is FunctionType and own.__code__ == definitions.loads(structure[0]) else None
    if kind == CLASS and isinstance(own, type):
        names = structure[3].get("__module__"), structure[3]["__qualname__"]
        return own if (getattr(own, "__module__", None), own.__qualname__) == names else None
    return None


def _stage(unit):
    return unit[0]


_DELETED = object()
_ATOMS = frozenset((int, float, complex, str, bytes))
_SIGNED = (float, complex)  # zeros and NaNs
_MAX_ATOMS, _MAX_ATOM, _MAX_KNOWN_ATOMS = 100, 1000, 10_000


def _name_of(keys):
    kind, owner, name = keys[0]
    if kind == GLOBAL:
        return "the global %r of %s" % (name, owner if type(owner) is str else "the program")
    if kind == ATTRIBUTE:
        return "the attribute %r" % name
    return "a variable of an enclosing function"


class Refusal:
    """Stands for an attribute that could not be sent. Any use of it says why."""

    __slots__ = ("_text",)

    def __init__(self, text):
        object.__setattr__(self, "_text", text)

    def stand_in(self, kind):
        """A dict or tuple that says the same."""
        text = object.__getattribute__(self, "_text")

        def refuse(*_args, **_kwargs):
            raise RefusedError(text)

        methods = {name: refuse for name in dir(kind) if callable(getattr(kind, name)) and name not in _NOT_USES}
        # With one part: code in C does not ask an empty one for anything.
        return type("Refused", (kind,), {**methods, "__bool__": refuse})({"": None})


def _refuse(self, *_args, **_kwargs):
    raise RefusedError(object.__getattribute__(self, "_text"))


for _name in ("get", "getattr", "call", "bool", "len", "iter", "getitem", "contains", "eq", "ne", "hash"):
    setattr(Refusal, "__%s__" % _name, _refuse)
_NOT_USES = frozenset(("__class__", "__new__", "__init__", "__init_subclass__", "__subclasshook__", "__class_getitem__",
                       "__getattribute__", "__setattr__", "__delattr__", "__dir__", "__getstate__", "__sizeof__"))


class RefusedError(TypeError):
    """An attribute was used that could not be sent to this worker. The caller raises the error of its submit."""

    __module__ = "builtins"
    __qualname__ = "TypeError"

    def __reduce__(self):
        return references.module().caller_refusal, self.args


_mirror = None  # of this worker


def start(parts, only_forward, pickle):
    """Makes the mirror of this worker, and has pickles refer to it."""
    global _mirror
    mirror = _mirror = Mirror(parts, only_forward)
    mirror.pickle = pickle
    mirror._open_space("__main__", {})
    references.resolve(worker_object=mirror.object, worker_cell=mirror.cell, worker_sentinel=mirror.sentinel,
                       worker_module=mirror.module, worker_space=mirror.space, worker_array=mirror.array,
                       refusal=Refusal, placed=places.at,
                       # In what another worker of the caller has sent:
                       caller_object=mirror.object, caller_module=mirror.module, caller_space=mirror.caller_space,
                       caller_sentinel=mirror.sentinel, caller_refusal=RefusedError)
    return mirror


def _make_unpickler(mirror):
    """The class that reads content, in which slots stand for what they hold."""
    class Unpickler(mirror.pickle.Unpickler):
        def persistent_load(self, key):
            return mirror.value(key)

    return Unpickler


def _make_pickler(mirror):
    """The class that pickles results. The worker imports `pickle` late, so it is made at first use."""
    here = references.module()

    class Pickler(mirror.pickle.Pickler):
        def reducer_override(self, thing):
            number = mirror.number_of(thing)
            if number is not None:
                kind = mirror.sentinel_class(number)
                return (here.caller_object, (number,)) if kind is None else (here.caller_sentinel, (number, kind))
            kind = type(thing)
            if isinstance(thing, type):
                if _is_importable(thing):
                    return NotImplemented
                place = places.settled_place(thing)
                if place is not None:
                    return here.placed, (*place, places.mark_of(thing))
                reduced = specials.reduce_special(thing, _is_importable)
                return definitions.reduce_class(thing) if reduced is NotImplemented else reduced
            if kind is FunctionType:
                if thing.__module__ == references.NAME or _is_importable(thing):
                    return NotImplemented
                place = places.settled_place(thing)
                if place is not None:
                    return here.placed, (*place, places.mark_of(thing))
                return definitions.reduce_function(thing, _Globals(thing))
            if kind is _Globals:
                return mirror.reduce_globals(thing.function)
            if kind is CellType:
                return definitions.reduce_cell(thing)
            if kind is MirroredModule:
                return here.caller_module, (thing.__name__,)
            if type(kind) is not type and definitions.is_enum_member(thing):
                return definitions.reduce_member(thing)
            return NotImplemented if specials.is_made_anew(kind) else specials.reduce_special(thing, _is_importable)

    return Pickler


class _Globals:
    """Stands for the dict of a function's globals in a pickle."""

    __slots__ = ("function",)

    def __init__(self, function):
        self.function = function


def _is_importable(thing):
    """Whether the caller finds a function, a class or a type parameter by its name."""
    name = getattr(thing, "__module__", None)
    path = getattr(thing, "__qualname__", getattr(thing, "__name__", None))  # a TypeVar has but the second
    found = sys.modules.get(name)
    if found is None or isinstance(found, MirroredModule) or type(path) is not str:
        return False
    for part in path.split("."):
        found = getattr(found, part, None)
    return found is thing
