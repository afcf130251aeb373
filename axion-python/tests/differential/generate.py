"""Random programs: kinds of definitions, where they live, and how they are used."""

import ast
import dataclasses
import random
import re

import kinds_everyday  # noqa: F401, it adds to `KINDS`
from kinds import KINDS, defined_by
from places import PLACES, Part

# Ways to call a function in the one CPU worker of an engine.
IN_ONE_WORKER = ["submit", "map", "map_of_two", "partial", "lambda", "argument", "in_a_dict", "method", "callable",
                 "starmap", "run", "task", "step", "chain"]
ELSEWHERE = ["io", "joblib"]
CALLS = {"value", "state", "show", "initialize"}
NEED_A_MODULE = {"annotations", "dataclasses", "pickling", "dataclass shapes", "enum shapes", "late names", "matching"}  # kinds that look for their own module


@dataclasses.dataclass
class Use:
    """A kind, with the blocks of steps in the order in which they run, and the styles of its calls."""

    kind: str
    blocks: list
    styles: list

    def part(self, number, rename):
        kind = KINDS[self.kind]
        steps = "\n".join(self.blocks)
        names = set(kind.names)
        if rename:
            pattern = re.compile(r"(?<![.\w])(%s)\b" % "|".join(sorted(map(re.escape, names), key=len, reverse=True)))
            changed = {name: "%s_%d" % (name, number) for name in names}
            definitions, steps = (pattern.sub(lambda found: changed[found[0]], text)
                                  for text in (kind.definitions, steps))
            names = set(changed.values())
        else:
            definitions = kind.definitions
        used = {name for node in ast.parse(steps).body for name in defined_by(node)}
        return Part(number, definitions, steps, frozenset(used & names))


@dataclasses.dataclass
class Group:
    """Programs that run in one process."""

    place: str
    uses: list

    def parts(self):
        rename = PLACES[self.place].shared and len(self.uses) > 1
        return [use.part(number, rename) for number, use in enumerate(self.uses)]

    def styles(self):
        return {str(number): use.styles for number, use in enumerate(self.uses)}

    @property
    def has_state(self):
        return any(KINDS[use.kind].has_state for use in self.uses)

    def write(self, folder):
        return PLACES[self.place].write(folder, self.parts())


def groups(seed, programs):
    """Groups with this many programs in all. The same for the same arguments."""
    chance = random.Random(seed)
    waiting, left = [], programs
    while left > 0:
        if not waiting:
            waiting = list(KINDS)
            chance.shuffle(waiting)
        place = PLACES[chance.choice(list(PLACES))]
        count = min(left, chance.choice([1, 2, 3, 4] if place.shared else [4, 6, 8]))
        chosen = []
        while waiting and len(chosen) < count:
            kind = waiting.pop()
            if kind in NEED_A_MODULE and not place.importable:
                waiting.insert(0, kind)
                break
            if place.shared and not KINDS[kind].can_share:
                if chosen:
                    waiting.insert(0, kind)
                    break
                count = 1
            chosen.append(use_of(chance, kind, place))
        left -= len(chosen)
        yield Group(place.name, chosen)


def use_of(chance, name, place):
    kind = KINDS[name]
    blocks = [block for block in kind.blocks if not place.by_name or not changes(block)]
    if not kind.is_ordered:
        chance.shuffle(blocks)
        blocks += chance.choices(blocks, k=chance.randrange(3)) if blocks else []
    styles = IN_ONE_WORKER if kind.has_state else IN_ONE_WORKER + ELSEWHERE
    return Use(name, blocks, chance.sample(styles, chance.choice([1, 1, 2, 4])))


def changes(block):
    """Whether a block does more than call."""
    return not all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
                   and getattr(node.value.func, "id", None) in CALLS for node in ast.parse(block).body)
