"""What functions reach in this program, in the form in which workers mirror it (L18).

A *definition* is a function or class that workers make by value. It has a number for as long as it lives. A *slot* is
where the program keeps a value that definitions reach: a global of a *space*, an attribute of a definition, what a
closure cell holds. Each slot has a *pin*: what the worker's slot is to hold, and a version that grows with every change.
`axion_worker/mirror.py` has the format.

`Mirror.reach` walks from some definitions over all that they reach and gives a `Reach`: the pins, and the checks by which
a later submit sees that nothing has changed. Values are compared in four ways:

- by identity: atoms, and tuples of atoms; what goes by name; definitions, which are then compared attribute by attribute;
- by content: everything else, as pickles. Large buffers count by a hash. Values of one reach are pickled together, so
  that a change of what they share is a change. Slots whose values share objects are one *unit*, set together.

Nothing here knows what a worker has: pins are complete, and the engine sends what a worker lacks. So a walk may be
interrupted at any point, and threads may walk at the same time: the state of a slot is replaced as a whole, and only the
numbers are given under a lock. User code that pickling runs is never called under it.

This module keeps nothing alive: it has weak references to definitions, and a dict of globals that belongs to no module
is found through its functions.

| module | what it has |
| --- | --- |
| `kinds` | what things are to a mirror: definitions, sentinels, atoms, what goes by name |
| `lookups` | whether code may find things of the program by their names |
| `pins` | definitions, slots, their states and pins |
| `arrays`, `pickler` | values as bytes |
| `units` | slots whose values share objects |
| `refusals` | the errors for what cannot be sent |
| `pinned` | what one walk has pinned, in the order in which workers set it |
| `walk`, `reach` | one walk over what definitions reach, and what it has found |
| `offers` | what workers make on demand |
| `program` | `Mirror`: what this process has told its workers of its program |

Each imports only modules that are above it.
"""

from .arrays import Arrays
from .kinds import contents_of, is_atom
from .pickler import MaySentinel
from .pins import LOOKUP
from .program import mirror

__all__ = ["LOOKUP", "Arrays", "MaySentinel", "contents_of", "is_atom", "mirror"]
