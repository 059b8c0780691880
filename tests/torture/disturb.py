"""What else happens to a run: a second writer, a lock that is taken away, wrong clocks, and a reviewer who is
killed. Afterwards its bytes are those of a run that was left alone."""

import errno
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from seewhy.domain.verdicts import append, new_verdict, read_verdicts
from seewhy.run.lock import holder_file
from torture.children import Ended, begin, in_child, verb
from torture.faults import before_operations, die, tear_last_line
from torture.kills import SIGNALS, Chain, Workload, ended_well, judge

MOST = 450
"""File operations of a run, about; a disturbance comes at one of them."""
WRITTEN = 71
"""Stands for the exit code of a run that wrote where its folder was no more."""
SAID = ("is in use by", "is no longer the file", "cannot hold a run", "cannot be written", "cannot be read")
"""What a disturbed start may end with."""


def disturb(work: Workload, scratch: Path, rng: random.Random, name: str | None = None) -> Chain:
    """Begin a run that is disturbed in one way, by default any; then leave it alone."""
    chain, name = Chain(), name or rng.choice(list(DISTURBANCES))
    shutil.rmtree(work.run, ignore_errors=True)
    for ended in DISTURBANCES[name](work, scratch, rng):
        if ended.code == 1 and any(said in " ".join(ended.errors.split()) for said in SAID):
            continue
        judge(chain, ended, name, {0})
    chain.counts["disturbances"] += 1
    return ended_well(chain, work, scratch)


def _run(work: Workload) -> Callable[[], int]:
    return verb(["run", str(work.config)])


def second_writer(work: Workload, scratch: Path, rng: random.Random) -> list[Ended]:
    """Start the same run twice."""
    first = begin(_run(work), scratch)
    time.sleep(rng.uniform(0, 3))
    second = begin(_run(work), scratch / "second")
    return [first.end(), second.end()]


def no_lock(work: Workload, scratch: Path, rng: random.Random) -> list[Ended]:
    """Delete the lock under a run."""
    return [_at_an_operation(work, scratch, rng, (work.run / "lock").unlink)]


def moved(work: Workload, scratch: Path, rng: random.Random) -> list[Ended]:
    """Rename the run folder under a run, and back."""
    elsewhere = work.run.with_name("elsewhere")
    shutil.rmtree(elsewhere, ignore_errors=True)
    ended = _at_an_operation(work, scratch, rng, lambda: os.rename(work.run, elsewhere))
    if elsewhere.exists():
        written = sorted(path.name for path in work.run.rglob("*") if path.is_file())
        if written:
            ended = replace(ended, code=WRITTEN, errors=f"{written} were written at the old place")
        shutil.rmtree(work.run, ignore_errors=True)
        elsewhere.rename(work.run)
    return [ended]


def _at_an_operation(work: Workload, scratch: Path, rng: random.Random, act: Callable[[], object]) -> Ended:
    at = rng.randrange(MOST)

    def work_and_act() -> int:
        left = at

        def before(kind: str, path: Path) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                act()

        before_operations(work.run, before)
        return _run(work)()

    return in_child(work_and_act, scratch)


def locks_refused(work: Workload, scratch: Path, rng: random.Random) -> list[Ended]:
    """Run where the file system knows no locks, or fails at them."""
    error = rng.choice([errno.ENOLCK, errno.EIO, errno.ENOSYS, errno.EACCES])

    def work_without() -> int:
        import fcntl

        def refused(descriptor: int, operation: int) -> None:
            raise OSError(error, os.strerror(error))

        fcntl.flock = refused
        return _run(work)()

    return [in_child(work_without, scratch)]


def odd_holder(work: Workload, scratch: Path, rng: random.Random) -> list[Ended]:
    """Begin in a folder with a lock.pid that says something odd."""
    work.run.mkdir()
    said = [b"", b"\xff\xfe\x00", b"1 on ", b"999999", b"x" * 10_000, os.urandom(16).replace(b" ", b"")]
    holder_file(work.run).write_bytes(rng.choice(said))
    return [in_child(_run(work), scratch)]


def wrong_clock(work: Workload, scratch: Path, rng: random.Random) -> list[Ended]:
    """Run under a clock that jumps by years, back and forth, at every look."""
    seed = rng.random()

    def work_and_jump() -> int:
        draw, clock = random.Random(seed), time.time
        time.time = lambda: max(0.0, clock() + draw.choice([-1e9, -3600, -1, 0, 1, 3600, 1e9]))
        time.time_ns = lambda: int(time.time() * 1e9)
        return _run(work)()

    return [in_child(work_and_jump, scratch)]


DISTURBANCES = {
    of.__name__: of for of in (second_writer, no_lock, moved, locks_refused, odd_holder, wrong_clock)
}  # fmt: skip


def kill_a_reviewer(folder: Path, rng: random.Random, *, verdicts: int = 6) -> Chain:
    """Kill who appends verdicts to a file before each file operation in turn; none that was taken is lost, and a torn
    one is written again."""
    chain, path = Chain(), folder / "verdicts.jsonl"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    about = {"image": "train/Crow/a", "sha256": "0" * 64}
    given = [new_verdict("Ann", "concept", "right", concept=f"mark {n}", **about) for n in range(verdicts)]
    for number, verdict in enumerate(given):
        for at in range(1, 20):
            name = rng.choice(SIGNALS)
            ended = in_child(
                lambda verdict=verdict, at=at, name=name: _append_and_die(path, verdict, at, name), folder / "out"
            )
            if ended.code == 0:
                break
            chain.counts["kills"] += 1
            judge(chain, ended, f"{name.name} in a verdict", {-name, 130})
            found = read_verdicts(path)
            if [one.id for one in found] not in ([one.id for one in given[:n]] for n in (number, number + 1)):
                chain.faults.append(f"silent: {len(found)} of {number} verdicts are left")
    if [verdict.id for verdict in read_verdicts(path)] != [verdict.id for verdict in given]:
        chain.different.append(path.name)
    return chain


def _append_and_die(path: Path, verdict: object, at: int, name: signal.Signals) -> int:
    left = at

    def before(kind: str, place: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            if kind == "flush":  # of a file that was flushed before, the new end alone can be torn
                tear_last_line(place)
            die(name)

    before_operations(path.parent, before)
    append(path, verdict)  # type: ignore[arg-type]
    return 0
