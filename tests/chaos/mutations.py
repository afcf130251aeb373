#!/usr/bin/env python3
"""Breaks the engine in one place at a time, and sees whether the chaos test finds each defect.

    tests/chaos/mutations.py                       all mutations: `make chaos-mutations`
    tests/chaos/mutations.py --only ttl retry      those with one of these words in their names
    tests/chaos/mutations.py --check               only that each still applies to the sources
    tests/chaos/mutations.py --resume              without those that an earlier run of the same program has found

A copy of the workspace in `target/mutations` is built once with all mutations in it. Each is asleep until its number is
in CHAOS_MUTATION. A mutation counts as found if the run fails and a line of its report names the defect.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SOURCES = "axion-actors/src/"
LEAST_FOUND = 0.9

SWITCH = """
/// Whether this mutation is awake.
#[doc(hidden)]
pub fn is_mutated(number: u32) -> bool {
    static AWAKE: std::sync::LazyLock<u32> =
        std::sync::LazyLock::new(|| std::env::var("CHAOS_MUTATION").ok().and_then(|it| it.parse().ok()).unwrap_or(0));
    *AWAKE == number
}
"""


class Mutation(NamedTuple):
    name: str
    file: str
    # An expression or whole statements, once in the file.
    old: str
    new: str
    # What a violation says that names the defect.
    named: str


MUTATIONS = [
    # The task table.
    Mutation("an attempt is not counted when it is sent", "policy/task_table.rs",
             "entry.attempts += 1;", "", r"L5|L3|attempt"),
    Mutation("an attempt that did not start stays counted", "policy/task_table.rs",
             "entry.attempts -= 1;", "", r"L5|attempt"),
    Mutation("a counted loss is not counted", "policy/task_table.rs",
             "counters.losses += u32::from(counted);", "", r"losses"),
    Mutation("a task that caused a loss does not run alone", "policy/task_table.rs",
             "counters.alone |= counted;", "", r"isolation|alone|L12|L13"),
    Mutation("a unique key is not held", "policy/task_table.rs",
             "self.unique.insert(unique, key);", "drop(unique);", r"unique"),
    Mutation("a second cancellation passes as the first", "policy/task_table.rs",
             "!std::mem::replace(&mut entry.history_mut().counters.cancelled, true)",
             "{ entry.history_mut().counters.cancelled = true; true }", r"Requested"),
    # Retries, reruns and other ends of attempts.
    Mutation("one retry too many", "policy/retry.rs",
             "retries >= policy.max_retries", "retries > policy.max_retries", r"retries"),
    Mutation("a cancelled task is retried", "policy/scheduler/ends.rs",
             ".filter(|_| !counters.cancelled)", ".filter(|_| !counters.cancelled || MUTATED)", r"cancel"),
    Mutation("one rerun too many", "policy/scheduler/ends.rs",
             "counters.losses < most", "counters.losses <= most", r"max_worker_losses|losses"),
    Mutation("a task that must not run twice reruns", "policy/scheduler/ends.rs",
             "most == 0", "false", r"max_worker_losses|losses|twice"),
    Mutation("a task that did not start is charged for its worker's end", "policy/scheduler.rs",
             "started.as_ref().map_or(task.started(), |seqs| seqs.contains(&task.seq))", "true", r"L5"),
    Mutation("a suspect does not have its worker for itself", "policy/scheduler/pool_workers.rs",
             "member.isolation = Isolation::Suspect;", "", r"isolation"),
    # Fences and the order of queues.
    Mutation("a number of an attempt is used twice", "policy/scheduler/worker_slots.rs",
             "member.next = seq.next();", "member.next = seq;", r"L2|L3"),
    Mutation("a worker is taken for its successor", "policy/scheduler/pool_workers.rs",
             "member.filter(|member| member.worker == worker)",
             "member.filter(|member| member.worker.id == worker.id)", r"L\d|isolation|losses|attempt"),
    Mutation("tasks that come back go to the end of their queue", "policy/scheduler/ends.rs",
             "pool.queue.push_front(known.options().priority, task.key);",
             "pool.queue.push_back(known.options().priority, task.key);", r"L12"),
    Mutation("priorities are ignored", "policy/scheduler.rs",
             "self.pools[task.pool_id()].queue.push_back(task.options().priority, key);",
             "self.pools[task.pool_id()].queue.push_back(crate::model::Priority::default(), key);", r"L12"),
    # Windows and revocations.
    Mutation("a window has no bound", "policy/scheduler/worker_slots.rs",
             "&& self.ahead() < link.window_tasks\n            && self.load + estimate <= window * self.capacity.slots as u64",
             "&& (MUTATED || self.ahead() < link.window_tasks)\n"
             "            && (MUTATED || self.load + estimate <= window * self.capacity.slots as u64)", r"L9"),
    Mutation("what a worker did not give back is taken from it", "policy/scheduler/ends.rs",
             "seqs.into_iter().filter_map(|seq| member.take(seq)).collect()",
             "{ let all: Vec<Seq> = member.in_flight.iter().map(|task| task.seq).collect();"
             " all.into_iter().chain(seqs).filter_map(|seq| member.take(seq)).collect() }", r"L\d|attempt"),
    # The gate.
    Mutation("a permit is not given back", "policy/scheduler/limits.rs",
             "self.gate.give_back(permit);", "drop(permit);", r"L15|L1"),
    Mutation("one task more than a concurrency limit", "policy/resources/gate.rs",
             "self.running.get(&limit.key).copied().unwrap_or(0) < limit.max.max(1)",
             "self.running.get(&limit.key).copied().unwrap_or(0) <= limit.max.max(1)", r"concurrency|L15"),
    # Time.
    Mutation("a deadline kills nothing", "policy/scheduler/worker_slots.rs",
             "hard.map(|at| timers.start(at, Due::Hard(worker, task.seq)))",
             "None", r"never killed|cannot succeed|hard|limit"),
    Mutation("a soft limit interrupts nothing", "policy/scheduler/ends.rs",
             "self.actions.push(Action::Interrupt { worker, seq });", "", r"never interrupted|cannot succeed"),
    Mutation("a task that came back has no ttl", "policy/scheduler/ends.rs",
             "self.arm_ttl(task.key);", "", r"ttl|expire"),
    Mutation("a delay is half as long", "policy/scheduler/hold.rs",
             "now.after(time)", "now.after(time / 2)", r"too soon|held|wait"),
    # Cancellation.
    Mutation("the cancellation of a running task is not passed on", "policy/scheduler.rs",
             "self.actions.push(Action::Cancel { worker, seq });", "", r"asked to stop|cancel"),
    # Graphs.
    Mutation("a step runs after one that was skipped", "policy/graph/readiness.rs",
             "RunIf::AllSucceeded if dependencies.skipped =>",
             "RunIf::AllSucceeded if dependencies.skipped && !MUTATED =>", r"skip|step|state"),
    Mutation("a failed dependency only skips", "policy/graph/readiness.rs",
             "RunIf::AllSucceeded if dependencies.failed => Some(StepState::DependencyFailed)",
             "RunIf::AllSucceeded if dependencies.failed => "
             "Some(if MUTATED { StepState::Skipped } else { StepState::DependencyFailed })", r"skip|step|dependency"),
    Mutation("steps start after the workflow has stopped", "policy/graph/readiness.rs",
             "if let Some(stop) = &self.stop {", "if let Some(stop) = self.stop.as_ref().filter(|_| !MUTATED) {",
             r"had stopped|cancel|stop"),
    Mutation("a stop cancels what runs, too", "policy/graph.rs",
             "self.cancel_pending = Some(self.on_failure == OnFailure::StopRunning);",
             "self.cancel_pending = Some(true);", r"was ended"),
    Mutation("a stop leaves alone what it is to cancel", "policy/graph.rs",
             "self.cancel_pending = Some(self.on_failure == OnFailure::StopRunning);",
             "self.cancel_pending = Some(false);", r"stop|cancel|has not ended"),
    # Bounds.
    Mutation("twice as many records are kept", "policy/retention.rs",
             "self.order.len() > self.policy.count", "self.order.len() > 2 * self.policy.count", r"L9|record"),
    Mutation("a batch keeps one place in the queue", "actors/admission.rs",
             "self.places.add_permits(count);",
             "self.places.add_permits(count - usize::from(count > 1));", r"L9|L1"),
    Mutation("a submission takes no place", "actors/admission.rs",
             "places.forget();\n        units.forget();\n        Ok(())\n    }\n\n    /// Waits",
             "if !MUTATED {\n places.forget();\n units.forget();\n }\n        Ok(())\n    }\n\n    /// Waits", r"L9"),
    # Waiters and facts.
    Mutation("a second waiter is not woken", "actors/dispatcher/waiters.rs",
             "self.later.add(id, waiter);", "let _ = (id, waiter);",
             r"L1"),
    Mutation("the end of a wait is not told", "policy/task_table.rs",
             "self.recorder.note(now, || FactKind::TaskDue { task });", "let _ = task;", r"L3|L13"),
    # Kills and left-overs. Of what the guardian fails to do, other parts of the engine do most: a mark finds a worker that
    # it was not told of, and the next start removes a folder that it left.
    Mutation("a kill hits the worker although the attempt has ended", "process/pump.rs",
             "ended || self.link.running().is_some_and(|running| !running.contains(&seq))", "false && ended", r"L6"),
    Mutation("what outlives a worker is not killed", "process/containment.rs",
             "pub(super) fn end(&self) {", "pub(super) fn end(&self) {\n        if MUTATED { return; }",
             r"L7"),
]


def mutated():
    """The texts of the files with all mutations in them. Complains about mutations that do not apply."""
    texts, wrong = {}, []
    for number, mutation in enumerate(MUTATIONS, 1):
        path = SOURCES + mutation.file
        text = texts.get(path) or (ROOT / path).read_text()
        if text.count(mutation.old) != 1:
            wrong.append(f"{mutation.name}: its text is {text.count(mutation.old)} times in {path}")
            continue
        test = f"crate::is_mutated({number})"
        if "MUTATED" in mutation.new:
            new = mutation.new.replace("MUTATED", test)
        else:
            new = f"{{ if {test} {{ {mutation.new} }} else {{ {mutation.old} }} }}"
        texts[path] = text.replace(mutation.old, new)
    return texts, wrong


def build(folder, texts):
    """Copies the workspace, and builds the chaos test with the mutations. Returns the program."""
    tree = folder / "workspace"
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        source, copy = ROOT / name, tree / name
        if not source.exists():
            continue
        text = texts.get(name)
        if name == SOURCES + "lib.rs":
            text = source.read_text() + SWITCH
        data = text.encode() if text is not None else source.read_bytes()
        if copy.exists() and copy.read_bytes() == data:
            continue  # so that cargo does not build it again
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)
    environment = {**os.environ, "CARGO_TARGET_DIR": str(folder)}
    command = ["cargo", "test", "--release", "--test", "chaos", "--no-run", "--message-format", "short"]
    built = subprocess.run(command, cwd=tree, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        sys.exit(f"the mutated workspace does not build:\n{built.stderr}")
    return tree, tree / re.findall(r"Executable .*\((.*)\)", built.stderr)[-1]


def end_processes_of(folder):
    """Some mutations leave processes behind. They have the folder in their arguments, or in their environment."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            known = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if str(folder).encode() in known and int(process.name) != os.getpid():
                os.kill(int(process.name), signal.SIGKILL)
        except (OSError, ValueError):
            pass


def run(tree, program, number, options, seed):
    """One run of the chaos test. Returns its exit code, or None if it did not end, and its report."""
    folder = tempfile.mkdtemp(prefix="chaos-mutations-")
    environment = {**os.environ, "CHAOS_MUTATION": str(number), "TMPDIR": folder}
    command = [program, "--seconds", str(options.seconds), "--seed", str(seed)]
    if options.tasks:
        command += ["--tasks", str(options.tasks)]
    log = Path(folder) / "report"
    with log.open("wb") as report:
        process = subprocess.Popen(command, cwd=tree, env=environment, stdout=report, stderr=subprocess.STDOUT)
        try:
            code = process.wait(options.seconds + 200)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait() and None
    text = log.read_text(errors="replace")
    end_processes_of(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return code, text


class Results:
    """What runs of one program came to, one line of JSON for each mutation: a run that was cut short can be resumed."""

    def __init__(self, file, program):
        self.file = file
        self.program = hashlib.sha256(Path(program).read_bytes()).hexdigest()

    def found(self):
        """The lines that named each defect, by the mutation's name."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        results = [json.loads(line) for line in lines]
        ours = [it for it in results if it["program"] == self.program and it["verdict"] == "found"]
        return {it["name"]: it["lines"] for it in ours}

    def add(self, name, verdict, lines):
        line = json.dumps({"program": self.program, "name": name, "verdict": verdict, "lines": lines})
        with self.file.open("a") as file:
            file.write(line + "\n")


def violations(report):
    """The lines below the one that counts them."""
    found = re.search(r"^chaos: \d+ violations.*\n((?:  .*\n)+)", report, re.MULTILINE)
    return found.group(1).splitlines() if found else re.findall(r"^.*panicked at.*\n.*", report, re.MULTILINE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="mutations with one of these in their names")
    parser.add_argument("--seconds", type=int, default=25, help="how long each run submits tasks")
    parser.add_argument("--tasks", type=int, help="how many tasks each round submits")
    parser.add_argument("--seeds", type=int, default=3, help="runs of a mutation that is not found")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--resume", action="store_true", help="without those that an earlier run of the program has found")
    parser.add_argument("--check", action="store_true", help="only whether each mutation still applies")
    options = parser.parse_args()
    texts, wrong = mutated()
    for line in wrong:
        print(f"DOES NOT APPLY: {line}")
    if options.check:
        sys.exit(bool(wrong))
    folder = ROOT / "target" / "mutations"
    tree, program = build(folder, texts)
    results = Results(folder / "results", tree / program)
    known = results.found() if options.resume else {}
    code, report = run(tree, program, 0, options, options.seed)
    print(f"without a mutation: {'clean' if code == 0 else report}", flush=True)
    chosen = [(number, it) for number, it in enumerate(MUTATIONS, 1)
              if not options.only or any(word in it.name for word in options.only)]
    found = 0
    for number, mutation in chosen:
        begun = time.monotonic()
        verdict, lines = ("found", known[mutation.name]) if mutation.name in known else ("NOT FOUND", [])
        for seed in range(options.seed, options.seed + options.seeds):
            if verdict == "found":
                break
            code, report = run(tree, program, number, options, seed)
            lines = violations(report)
            naming = [line for line in lines if re.search(mutation.named, line)]
            if code != 0 and naming:
                verdict, lines = "found", naming
                break
            if code != 0:
                verdict = "FAILED, NOT NAMED" if code is not None else "DID NOT END"
                break
        found += verdict == "found"
        if mutation.name not in known:
            results.add(mutation.name, verdict, lines[:2])
        print(f"{number:>3} {verdict:<17} {time.monotonic() - begun:5.0f} s  {mutation.name}", flush=True)
        for line in lines[:2]:
            print(f"      {line.strip()[:200]}", flush=True)
    print(f"{found} of {len(chosen)} mutations found")
    sys.exit(code_of(found, len(chosen), wrong))


def code_of(found, chosen, wrong):
    return 1 if wrong or found < LEAST_FOUND * chosen else 0


if __name__ == "__main__":
    main()
