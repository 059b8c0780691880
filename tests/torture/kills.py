"""Kills, full disks and refused writes at the file operations of a run; afterwards its bytes are those of one that was
left alone.

A chain starts one run again and again. Each start ends before a file operation at which none has ended so far, so a
chain reaches every operation of every stage in turn; a random chain ends its starts at random moments instead.
"""

import errno
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from killed import contents
from seewhy.run.folder import read_manifest
from seewhy.vlm import parity
from torture.children import Ended, in_child, verb
from torture.faults import before_operations, die, refusing, tear

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
EXPECTED = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: -signal.SIGTERM, signal.SIGINT: 130}
"""What a start ends with that got the signal: after Ctrl-C it says how to go on."""


@dataclass(frozen=True)
class Workload:
    """A tiny run: its settings, where it is written, and what it holds when nobody disturbs it."""

    config: Path
    run: Path
    undisturbed: dict[str, bytes]
    server: str = ""
    """What stands in the command line of its server alone, if it has one."""

    @classmethod
    def made(cls, config: Path, run: Path, scratch: Path, server: str = "") -> "Workload":
        """Make the run undisturbed. Raises RuntimeError where it does not end."""
        ended = in_child(cls(config, run, {}, server).start, scratch)
        if ended.code:
            raise RuntimeError(f"the undisturbed run ended with {ended.code}:\n{ended.errors[-3000:]}")
        return cls(config, run, contents(run), server)

    def start(self) -> int:
        """Start the run, in a child. Its server knows no model, so it need not answer as one does."""
        if self.server:
            parity.check = lambda *_: 0
        return verb(["run", str(self.config)])()

    def restore(self, scratch: Path) -> None:
        """Make the run anew if it is not as it was. Raises RuntimeError where it does not end."""
        if contents(self.run) != self.undisturbed:
            shutil.rmtree(self.run, ignore_errors=True)
            Workload.made(self.config, self.run, scratch, self.server)


@dataclass
class Chain:
    """What a chain has met with."""

    counts: Counter[str] = field(default_factory=Counter)
    """Kills, refused_writes (starts that a full disk or a lack of rights ended), disturbances."""
    faults: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    """The files whose bytes differ at the end."""


Enough = Callable[[Chain], bool]


def kill_at_each_operation(work: Workload, scratch: Path, seen: set[str], enough: Enough, *, skip: int = 0) -> Chain:
    """Kill a run before every file operation in turn, or after `skip` others, until it ends or it is `enough`; then let
    it end. `seen` takes the operations that have had their turn."""
    chain, note = Chain(), scratch / "killed_at"
    shutil.rmtree(work.run, ignore_errors=True)
    while not enough(chain):
        name = SIGNALS[chain.counts["kills"] % len(SIGNALS)]
        note.unlink(missing_ok=True)
        ended = in_child(lambda name=name: _run_and_die(work, note, seen, name, skip), scratch)
        if not note.exists():
            judge(chain, ended, "at its end", {0})
            break
        passed = note.read_text().splitlines()
        seen.update(passed)
        judge(chain, ended, f"{name.name} at {passed[-1]}", {EXPECTED[name]})
        chain.counts["kills"] += 1
    return ended_well(chain, work, scratch)


def _run_and_die(work: Workload, note: Path, seen: set[str], name: signal.Signals, skip: int) -> int:
    passed: dict[str, None] = {}

    def before(kind: str, path: Path) -> None:
        if len(passed) > skip or (at := _place(kind, path, work.run)) in seen:
            return
        passed[at] = None
        if len(passed) <= skip:
            return
        note.write_text("\n".join(passed))
        if kind == "flush" and name == signal.SIGKILL:
            tear(path)
        die(name)

    before_operations(work.run, before)
    return work.start()


def _place(kind: str, path: Path, run: Path) -> str:
    """Name an operation; one on the manifest also by how many stages are finished, since it is written after each."""
    name = path.relative_to(run).as_posix() if path.is_relative_to(run) else path.name
    if name.startswith("manifest.json"):
        stages = read_manifest(run).get("stages", {}).values()
        return f"{kind} {name} {sum(stage['complete'] for stage in stages)}"
    return f"{kind} {name}"


def kill_at_random(work: Workload, scratch: Path, rng: random.Random, enough: Enough) -> Chain:
    """Kill a run at random moments until it ends or it is `enough`; then let it end."""
    chain, longest = Chain(), 1.0
    shutil.rmtree(work.run, ignore_errors=True)
    while not enough(chain):
        name, after = rng.choice(SIGNALS), rng.uniform(0, longest)
        ended = in_child(work.start, scratch, shot=(after, name))
        judge(chain, ended, f"{name.name} after {after:.2f} s", {0, EXPECTED[name]})
        if ended.code == 0:
            break
        longest *= 1.15  # a start must come further than the one before, now and then
        chain.counts["kills"] += 1
    return ended_well(chain, work, scratch)


def refuse_writes(work: Workload, scratch: Path, rng: random.Random, enough: Enough) -> Chain:
    """From a random file operation on refuse all others, as a full disk and one that is not ours does, again and again;
    then let the run end."""
    chain, most = Chain(), 40
    shutil.rmtree(work.run, ignore_errors=True)
    while not enough(chain):
        after, error = rng.randrange(most), rng.choice([errno.ENOSPC, errno.EACCES])
        ended = in_child(lambda after=after, error=error: _run_refused(work, after, error), scratch)
        judge(chain, ended, f"{errno.errorcode[error]} from operation {after} on", {0, 1})
        if ended.code == 0:
            break
        most += 25
        chain.counts["refused_writes"] += 1
    return ended_well(chain, work, scratch)


def _run_refused(work: Workload, after: int, error: int) -> int:
    left, refuse = after, refusing(error)

    def before(kind: str, path: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            refuse(kind, path)

    before_operations(work.run, before)
    return work.start()


def judge(chain: Chain, ended: Ended, what: str, expected: set[int]) -> None:
    """Note how a start has ended that ought to end with one of some codes."""
    if ended.fault or ended.code not in expected:
        told = ended.errors.strip().splitlines()[-12:]
        chain.faults.append(f"{ended.fault or f'ended with {ended.code}'}: {what}\n" + "\n".join(told))


def ended_well(chain: Chain, work: Workload, scratch: Path) -> Chain:
    """Start the run once more, undisturbed, and note the files whose bytes differ then."""
    ended = in_child(work.start, scratch)
    judge(chain, ended, "the last start", {0})
    found = contents(work.run)
    if work.server and (left := _still_there(work.server)):
        chain.faults.append(f"traceback: left a server behind\n{left}")
    chain.different += sorted(
        name for name in found.keys() | work.undisturbed.keys() if found.get(name) != work.undisturbed.get(name)
    )
    return chain


def _still_there(mark: str, within: float = 20.0) -> str:
    """Return the command lines that hold a text after some seconds at most; none where all have ended."""
    end = time.monotonic() + within
    while True:
        listed = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True).stdout
        left = [row for row in listed.splitlines() if mark in row and not row.startswith("Z")]
        if not left or time.monotonic() > end:
            return "\n".join(left)
        time.sleep(0.2)
