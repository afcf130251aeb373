"""This program, as it is told to its workers: the numbers of its definitions, and what they reach."""

import io
import logging
import sys
import threading
import weakref
from types import ModuleType

from .. import _axion, _definitions, _names, _needs, _places, _references, _specials
from ..errors import SubmitError
from .kinds import is_definition
from .lookups import looks_up
from .offers import Offers
from .pickler import Pickler, PlaceholderPickler
from .pins import LOOKUP, Cell, Definition, Imported, Space, numbers
from .refusals import name_of
from .walk import SLOW_COMPARISON, Walk

_MAX_REACHES = 256  # that are kept for sets of definitions
_here = _references.module()
_OWN_MODULES = ("__mp_main__", _references.NAME, _definitions.NAME, "_axion_task")
_logger = logging.getLogger("axion")


class Mirror:
    """What this process has told its workers of its program. There is one for each process."""

    def __init__(self):
        self.definitions = {}  # by the id of the function or class
        self.by_number = {}
        self.sentinels = {}  # id -> (number, object)
        self._sentinels_by_number = {}
        self._modules = {}  # name -> its dict and its space
        self._spaces = weakref.WeakValueDictionary()  # by the id of the dict; the definitions in it hold the space
        self._cells = weakref.WeakValueDictionary()  # by the id of the cell; the functions' definitions hold these
        self.lines = {}
        self._reaches = {}
        self._needs = {}
        self._submodules = {}  # the name of a package -> those that code of this program reaches through it
        self._lock = threading.RLock()
        self._offers = None
        self._module_count, self._mirrored = None, {}
        self._slow = set()

    # Numbers.

    def define(self, thing):
        """The definition of a function or class."""
        with self._lock:
            known = self.definitions.get(id(thing))
            if known is None or known.reference() is not thing:
                known = Definition(thing, self._forgetter(id(thing)))
                self.definitions[id(thing)] = known
                self.by_number[known.number] = known
            return known

    def is_sent(self, kind):
        """Whether a class is one that workers make by value."""
        known = self.definitions.get(id(kind))
        return known is not None and known.reference() is kind or is_definition(kind)

    def _forgetter(self, key):
        mirror = weakref.ref(self)

        def forget(reference):
            it = mirror()
            known = it and it.definitions.get(key)
            if known and known.reference is reference:
                del it.definitions[key], it.by_number[known.number]

        return forget

    def sentinel(self, thing):
        with self._lock:
            found = self.sentinels.get(id(thing))
            if found is None:
                found = self.sentinels[id(thing)] = next(numbers), thing
                self._sentinels_by_number[found[0]] = thing
            return found

    def cell(self, cell):
        with self._lock:
            known = self._cells.get(id(cell))
            if known is None:
                known = self._cells[id(cell)] = Cell()
            return known

    def space_of(self, function):
        names = function.__globals__
        name = names.get("__name__")
        module = sys.modules.get(name) if type(name) is str else None
        if getattr(module, "__dict__", None) is names:
            if _names.place_of_module(name) is None:
                return self.space_of_module(name, names)
            if not _names.is_registered_by_value(name):
                return Imported(name)
        with self._lock:
            space = self._spaces.get(id(names))
            if space is None:
                space = self._spaces[id(names)] = Space(next(numbers))
            return space

    def needs(self, code):
        """What code needs of its globals."""
        known = self._needs.get(id(code))
        if known is None or known[0]() is not code:
            found = _needs.names_needed(code)
            key = id(code)

            def forget(reference):
                if self._needs.get(key, (None,))[0] is reference:
                    del self._needs[key]

            known = self._needs[key] = weakref.ref(code, forget), sorted(found.names), found.everything, frozenset(found.modules)
        return known

    def note_submodules(self, package, names):
        """Has workers that import a package import submodules as well, if they can."""
        known = self._submodules.get(package.__name__, frozenset())
        wanted = {name for name in names if _names.place_of_module(name) is not None}
        if not wanted <= known:
            self._submodules[package.__name__] = known | wanted

    def submodules_of(self, module):
        return self._submodules.get(module.__name__)

    def reduce_module(self, module):
        name = module.__name__
        if sys.modules.get(name) is module:
            if _names.place_of_module(name) is not None:
                return _specials.reduce_module(module, sorted(self._submodules.get(name, ())))
            return _here.worker_module, (name,)
        return _specials.reduce_special(module)

    def warn_of(self, value):
        """Says once for each global that its comparison delays every submit."""
        if value.slot.key not in self._slow:
            self._slow.add(value.slot.key)
            _logger.warning("%r, which %s uses, is compared at each submit, and that takes more than %.0f ms", value.slot.key[2],
                            getattr(value.user, "__qualname__", "the function"), SLOW_COMPARISON * 1e3)

    # Offers.

    def looks_up(self, function):
        """Whether a callable that goes by name may find functions and classes of this program by their names."""
        return looks_up(function, self.needs)

    def offers(self):
        """The functions and classes of the modules that have no file."""
        offers = self._offers
        if offers is None or not offers.is_current():
            offers = self._offers = Offers(self)
        return offers

    def mirrored_modules(self):
        """The dicts of the modules that have no file, by their names."""
        count = len(sys.modules), id(sys.modules.get("__main__"))
        if count != self._module_count:
            found = {}
            for name, module in list(sys.modules.items()):
                names = getattr(module, "__dict__", None)
                if (type(names) is dict and names.get("__name__") == name and name not in _OWN_MODULES
                        and _names.place_of_module(name) is None):
                    found[name] = names
            self._module_count, self._mirrored = count, found
        return self._mirrored

    def space_of_module(self, name, names):
        known = self._modules.get(name)
        if known is None or known[0] is not names:
            known = self._modules[name] = names, Space(name)
        return known[1]

    def name_of_part(self, text):
        """What keeps a part whose id is in the text of an error; None if that is not found."""
        spaces = [space for _, space in list(self._modules.values())] + list(self._spaces.values())
        owners = spaces + list(self.definitions.values())
        slots = [slot for owner in owners for slot in list(owner.slots.values())]
        slots += [cell.slot for cell in list(self._cells.values())]
        for slot in slots:
            content = slot.state.pin[3] if slot.state is not None else None
            if isinstance(content, _axion.Part) and content.id.hex() in text:
                return content.id.hex(), name_of(slot.key)
        return None

    # What comes back.

    def object(self, number):
        known = self.by_number.get(number)
        thing = known.reference() if known is not None else self._sentinels_by_number.get(number)
        if thing is None and _of_worker is not None:  # this process is a worker, and the pickle is not of its own
            return _of_worker.caller_object(number)
        if thing is None:
            raise LookupError("a function or class that this program does not have any more")
        return thing

    def caller_space(self, key):
        """The dict of a space: of a module, of its functions, or a new one."""
        if key is None:
            return {"__builtins__": __builtins__}
        if type(key) is tuple:
            __import__(key[0])
            return vars(sys.modules[key[0]])
        if type(key) is str:
            return vars(sys.modules[key])
        for known in list(self.definitions.values()):
            if known.space is not None and known.space.key == key:
                function = known.reference()
                if function is not None:
                    return function.__globals__
        if _of_worker is not None:
            return _of_worker.caller_space(key)
        raise LookupError("a namespace that this program does not have any more")

    # Walks.

    def dump(self, value, keep_in_band=None, places=None, arrays=None, stops=False):
        """A pickle of arguments, and the definitions that it refers to, by their numbers."""
        with io.BytesIO() as file:
            if places is None:
                pickler = Pickler(self, file, keep_in_band)
            else:
                pickler = PlaceholderPickler(self, file, keep_in_band)
                pickler.places = places
            pickler.arrays = arrays
            pickler.stops = stops
            pickler.dump(value)
            return file.getvalue(), pickler.found

    def dump_by_value(self, function):
        """A pickle of a function that has no number."""
        with io.BytesIO() as file:
            pickler = Pickler(self, file)
            pickler.inline = function
            pickler.dump(function)
            return file.getvalue()

    def reach(self, roots, functions=()):
        """What definitions reach, and beside them functions that have no number, each with its space."""
        if functions:
            return Walk(self, roots, functions).reach()
        if len(roots) == 1 and LOOKUP not in roots:
            known, = roots.values()
            if known.reach is None or not known.reach.is_current():
                known.reach = Walk(self, roots).reach()
            return known.reach
        key = frozenset(roots)
        found = self._reaches.get(key)
        if found is None or not found.is_current():
            found = Walk(self, roots).reach()
            if len(self._reaches) >= _MAX_REACHES:
                self._reaches.clear()
            self._reaches[key] = found
        return found


mirror = Mirror()
_of_worker = _references.resolvers() if _references.is_worker() else None
_references.resolve(caller_object=mirror.object, caller_space=mirror.caller_space,
                    caller_sentinel=lambda number, _kind: mirror.object(number),
                    caller_module=lambda name: sys.modules[name],
                    placed=_places.at,
                    caller_refusal=lambda text: SubmitError(text, "not_picklable"))
