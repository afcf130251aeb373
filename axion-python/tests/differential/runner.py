"""Runs groups of programs in each mode and compares what they print."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import allowed
from generate import Group, Use
from kinds import KINDS
from places import PLACES

INSIDE = pathlib.Path(__file__).with_name("inside")
LONG = 300  # seconds


@dataclasses.dataclass
class Difference:
    group: Group
    program: int
    step: int
    style: str
    wanted: str
    got: str

    def __str__(self):
        use = self.group.uses[self.program]
        return "%s in %s, step %d by %s of %s\n  expected %s\n  got      %s" % (
            use.kind, self.group.place, self.step, self.style, use.styles, self.wanted, self.got)


def run(group, mode, tracebacks=False):
    """What each step printed, (program, step) -> (category, text, style), and the end of its errors if it failed."""
    with tempfile.TemporaryDirectory(prefix="differential-") as folder:
        command, stdin = group.write(pathlib.Path(folder))
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("AXION_", "PYTHON", "COVERAGE"))}
        environment.update(HARNESS_MODE=mode, HARNESS_STYLES=json.dumps(group.styles()), PYTHONPATH=str(INSIDE),
                           PYTHONHASHSEED="0")
        if tracebacks:
            environment["HARNESS_TRACEBACKS"] = "1"
        stdin = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        try:
            done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, text=True, timeout=LONG,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, **stdin)
        except subprocess.TimeoutExpired:
            return {}, "it did not end"
    printed = {}
    for line in done.stdout.splitlines():
        if line.startswith("["):
            program, step, *printed[program, step] = json.loads(line)
    if tracebacks:
        return printed, done.stderr
    return printed, done.stderr[-3000:] if done.returncode else ""


def differences(group, mode="axion"):
    plain, failure = run(group, "plain")
    assert not failure, "the plain run of %s failed: %s" % (group, failure)
    forked, failure = run(group, "fork") if group.has_state else ({}, "")
    assert not failure, "the forked run of %s failed: %s" % (group, failure)
    got, failure = run(group, mode)
    return list(compare(group, plain, forked, got, failure))


def compare(group, plain, forked, got, failure):
    for (program, step), (_, text, _) in plain.items():
        # What tasks leave in a plain run, they leave in the caller.
        wanted = forked[program, step][1] if KINDS[group.uses[program].kind].has_state else text
        assert wanted is not None, "nothing says what step %d of %s should give" % (step, group.uses[program].kind)
        if (program, step) not in got:
            yield Difference(group, program, step, "?", wanted, "nothing: " + failure)
            return
        _, text, style = got[program, step]
        if text != wanted and not allowed.reason(group.uses[program].kind, group.place, text):
            yield Difference(group, program, step, style, wanted, text)


def run_all(groups, mode="axion", jobs=os.cpu_count()):
    with ThreadPoolExecutor(jobs) as pool:
        for found in pool.map(lambda group: differences(group, mode), groups):
            yield from found


def shrink(difference):
    """The smallest group that still differs: one program, few blocks, one style."""
    group = difference.group
    smaller = [Group(group.place, [group.uses[difference.program]])]
    if group.place != "file" and not PLACES[group.place].by_name:
        smaller.insert(0, Group("file", smaller[0].uses))
    best = next((each for each in smaller if differences(each)), group)
    if len(best.uses) > 1:
        return best
    for candidate in (["submit"], *[[style] for style in best.uses[0].styles]):
        trial = Group(best.place, [dataclasses.replace(best.uses[0], styles=candidate)])
        if differences(trial):
            best = trial
            break
    at = 0
    while at < len(best.uses[0].blocks):
        use = best.uses[0]
        trial = Group(best.place, [dataclasses.replace(use, blocks=use.blocks[:at] + use.blocks[at + 1:])])
        if trial.uses[0].blocks and differences(trial):
            best = trial
        else:
            at += 1
    return best


def source(group):
    return "".join(part.at_top_level() for part in group.parts())
