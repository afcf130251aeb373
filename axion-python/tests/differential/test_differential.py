"""Random programs give with Axion what they give in one process, and in a forked pool of one (L18)."""

import os
import random

import allowed
import generate
import kinds
import places
import pytest
import runner

SEED = os.environ.get("AXION_SEED") or str(random.randrange(10 ** 9))
ROUNDS, PROGRAMS = 4, 50


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_random_programs_give_the_same(number, record_property):
    seed = "%s.%d" % (SEED, number)
    record_property("AXION_SEED", SEED)
    found = list(runner.run_all(list(generate.groups(seed, PROGRAMS))))
    if found:
        smallest = runner.shrink(found[0])
        pytest.fail("%d differences; repeat with `AXION_SEED=%s`, or\npython axion-python/tests/differential --seed %s "
                    "--programs %d\n%s\n\n%s in %s, %s:\n%s" % (
                        len(found), SEED, seed, PROGRAMS, "\n".join(map(str, found[:5])), smallest.uses[0].kind,
                        smallest.place, smallest.uses[0].styles, runner.source(smallest)))


def test_the_oracles_agree_where_nothing_changes():
    """A forked pool gives what the plain run gives, for all kinds that keep no state."""
    uses = [generate.use_of(random.Random(1), name, places.PLACES["module"]) for name, kind in kinds.KINDS.items()
            if not kind.has_state and name not in UNLIKE_FORKED]
    group = generate.Group("module", uses)
    plain, failure = runner.run(group, "plain")
    assert not failure
    forked, failure = runner.run(group, "fork")
    assert not failure
    different = [(group.uses[step[0]].kind, text, forked[step][1]) for step, (_, text, _) in plain.items()
                 if forked[step][1] not in (None, text)]
    assert not different


# Their objects are copied on the way to a stock pool.
UNLIKE_FORKED = {"sentinels", "more sentinels", "aliases", "callables", "enums", "exceptions", "values", "nested",
                 "subclasses", "decorators", "class bodies"}


def test_a_difference_is_noticed_and_shrunk(monkeypatch):
    use = generate.Use("globals", list(kinds.KINDS["globals"].blocks), ["submit"])
    group = generate.Group("file", [use])
    plain, _ = runner.run(group, "plain")
    assert not list(runner.compare(group, plain, {}, plain, ""))
    got = {**plain, (0, 2): ("value", "other", "submit")}
    (found,) = runner.compare(group, plain, {}, got, "")
    assert (found.program, found.step, found.wanted, found.got) == (0, 2, plain[0, 2][1], "other")
    (found,) = runner.compare(group, plain, {}, {}, "it died")
    assert "it died" in found.got
    broken = use.blocks[3]
    monkeypatch.setattr(runner, "differences", lambda group: [found] if broken in group.uses[0].blocks else [])
    assert runner.shrink(found).uses[0].blocks == [broken]


def test_programs_are_the_same_for_the_same_seed():
    assert list(generate.groups("7", 30)) == list(generate.groups("7", 30)) != list(generate.groups("8", 30))


def test_every_allowed_difference_has_a_kind_and_a_reason():
    for kind, place, _, reason in allowed.ALLOWED:
        assert kind in kinds.KINDS and len(reason) > 20 and any(place in name for name in places.PLACES)
