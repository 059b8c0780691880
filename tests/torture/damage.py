"""Damage to the files of a finished run: every verb notices it, or what it says and writes is what it was.

A verb that ends with 0, names the file nowhere and says or writes something else than on the whole run has used damage
silently.
"""

import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest
from pathlib import Path

from killed import contents
from torture.children import Ended, in_child, verb

HOW = {"flipped": 9, "cut": 1, "emptied": 1, "deleted": 1}
"""What is done to a file, and how often: one changed byte is the hardest to see."""


@dataclass(frozen=True)
class Outcome:
    """What a verb says and leaves behind."""

    ended: Ended
    files: Mapping[str, bytes]

    def differs(self, whole: "Outcome", file: str, spoilt: bytes | None) -> str:
        """Return what differs from the outcome on the whole run; empty where nothing does. The damaged file may still
        be as it was `spoilt`."""
        for said, expected in zip_longest(_said(self.ended), _said(whole.ended)):
            if said != expected:
                return f"what it says ({said!r:.80}, not {expected!r:.80})"
        for name in sorted(self.files.keys() | whole.files.keys()):
            found = self.files.get(name)
            if found != whole.files.get(name) and not (name == file and found == spoilt):
                return name
        return ""


def _said(ended: Ended) -> list[str]:
    """The lines on standard output, but that of time and memory."""
    return [line for line in ended.output.splitlines() if not line.startswith("Took ")]


@dataclass(frozen=True)
class Trial:
    """One file, what is done to it, and the verb that meets it."""

    verb: str
    file: str
    how: str


@dataclass(frozen=True)
class Finished:
    """A finished run, a copy of which is damaged in its own place (its path stands in what it holds)."""

    run: Path
    whole: Path
    """Where an undamaged copy lies."""
    output: Path
    """Where `export` writes."""
    verbs: Mapping[str, Sequence[str]]
    scratch: Path

    @classmethod
    def of(cls, run: Path, config: Path, photo: Path, scratch: Path) -> "Finished":
        """Keep a copy of a finished run. `photo` is what `explain` is asked about."""
        whole, output = scratch / "whole", scratch / "exported"
        shutil.rmtree(whole, ignore_errors=True)
        shutil.copytree(run, whole)
        name = str(run)
        verbs = {
            "run": ["run", str(config)],
            "evaluate": ["evaluate", name, "--split", "test"],
            "explain": ["explain", name, str(photo), "--samples", "1"],
            "report": ["report", name, "--no_heatmaps"],
            "audit": ["audit", name],
            "export": ["export", name, "--output", str(output)],
            "check": ["check", name],
        }
        return cls(run, whole, output, verbs, scratch)

    def outcome(self, name: str, before: Callable[[], None] = lambda: None) -> Outcome:
        """Call a verb on a copy, after `before` was called."""
        for path in (self.run, self.output):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.whole, self.run)
        before()
        ended = in_child(verb(self.verbs[name]), self.scratch)
        exported = {f"exported/{path}": content for path, content in contents(self.output).items()}
        return Outcome(ended, {**contents(self.run), **exported})

    def files(self) -> list[str]:
        """The files that are damaged."""
        found = (path for path in sorted(self.whole.rglob("*")) if path.is_file())
        return [path.relative_to(self.whole).as_posix() for path in found if path.name not in {"lock", "events.jsonl"}]


def trials(finished: Finished, rng: random.Random) -> Iterator[Trial]:
    """Yield every file with every damage under every verb, in a random order, and again."""
    hows = [how for how, often in HOW.items() for _ in range(often)]
    every = [Trial(*each) for each in product(finished.verbs, finished.files(), hows)]
    while True:
        yield from rng.sample(every, len(every))


def spoil(path: Path, how: str, rng: random.Random) -> None:
    """Damage a file: change one byte, keep a part, keep nothing, or remove it."""
    payload = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
    elif how == "flipped" and payload:
        payload[rng.randrange(len(payload))] ^= rng.randrange(1, 256)
        path.write_bytes(payload)
    else:
        path.write_bytes(payload[: rng.randrange(len(payload)) if how == "cut" and payload else 0])


def _names(met: Ended, whole: Ended, file: str) -> bool:
    """Return whether a verb speaks of a file, as it does not on the whole run."""
    return any(file in line for line in {*met.errors.splitlines()} - {*whole.errors.splitlines()})


def fault_of(finished: Finished, whole: Mapping[str, Outcome], trial: Trial, rng: random.Random) -> str:
    """Return what is wrong with how a verb meets damage: silent, traceback or hang with what was seen, or nothing."""
    spoilt: dict[str, bytes] = {}

    def before() -> None:
        spoil(finished.run / trial.file, trial.how, rng)
        spoilt.update(contents(finished.run))

    met = finished.outcome(trial.verb, before)
    if met.ended.fault:
        return f"{met.ended.fault}: {' '.join(met.ended.errors.strip().splitlines()[-3:])[-400:]}"
    expected = whole[trial.verb]
    if met.ended.code or _names(met.ended, expected.ended, Path(trial.file).name):
        return ""
    what = met.differs(expected, trial.file, spoilt.get(trial.file))
    return f"silent: {what} differs" if what else ""
