"""Compares random programs run by Axion with the same programs run plainly and in a forked pool of one.

    python axion-python/tests/differential --programs 2000
    python axion-python/tests/differential --seed 7 --kind enums --place "file"
"""

import argparse
import collections
import os
import random
import time

import generate
import kinds
import places
import runner


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--seed", default=os.environ.get("AXION_SEED") or str(random.randrange(10 ** 9)))
    parser.add_argument("--kind", choices=kinds.KINDS, help="this kind alone, in all places")
    parser.add_argument("--place", choices=places.PLACES, help="this place alone")
    parser.add_argument("--mode", choices=["axion", "fork", "spawn"], default="axion", help="what is compared")
    parser.add_argument("--style", help="this style alone")
    parser.add_argument("--shrink", type=int, default=3, help="shrink so many differences")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    print("AXION_SEED=%s" % options.seed, flush=True)
    if options.kind:
        groups = of_one_kind(options)
    else:
        groups = list(generate.groups(options.seed, options.programs))
    if options.place:
        groups = [group for group in groups if group.place == options.place]
    if options.style:
        for group in groups:
            for use in group.uses:
                use.styles = [options.style]
    if options.mode == "spawn":
        groups = [group for group in groups if places.PLACES[group.place].spawns]
    begun = time.monotonic()
    found, seen = [], collections.Counter()
    for difference in runner.run_all(groups, options.mode, options.jobs):
        found.append(difference)
        kind = difference.group.uses[difference.program].kind
        seen[kind] += 1
        if seen[kind] <= 5:
            print(difference, flush=True)
    print("%d programs in %d processes, %.0f s, %d differences: %s" % (
        sum(len(group.uses) for group in groups), len(groups), time.monotonic() - begun, len(found), dict(seen)))
    shrunk = set()
    for difference in found:
        kind = difference.group.uses[difference.program].kind
        if kind not in shrunk and len(shrunk) < options.shrink and options.mode == "axion":
            shrunk.add(kind)
            smallest = runner.shrink(difference)
            print("\n--- %s in %s, %s\n%s" % (kind, smallest.place, smallest.uses[0].styles, runner.source(smallest)))
            for each in runner.differences(smallest)[:3]:
                print(each)
    raise SystemExit(bool(found))


def of_one_kind(options):
    chance = random.Random(options.seed)
    names = [options.place] if options.place else list(places.PLACES)
    return [generate.Group(name, [generate.use_of(chance, options.kind, places.PLACES[name])]) for name in names]


main()
