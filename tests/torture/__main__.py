"""The torture campaign: `make torture MINUTES=60`, or `python -m torture --minutes 60 --output runs/torture`.

It kills runs, refuses their writes, damages what they have made and fuzzes what they read, each for its share of the
time. The last line is one JSON object of counts. It ends with 1 where a count that must be 0 is not; what was found is
in OUTPUT/found.jsonl, each with the seed or the bytes that show it again.
"""

import argparse
import base64
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torture.kills import Chain, Workload

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

SHARES = {"kills": 0.3, "refusals": 0.07, "disturbances": 0.08, "damage": 0.25, "settings": 0.1, "fuzzing": 0.2}
"""The parts and their shares of the time."""
COUNTS = ("kills", "different_bytes", "flips", "silent", "fuzzed", "tracebacks", "hangs", "outside_writes")
MORE_COUNTS = ("refused_writes", "disturbances", "damaged", "settings", "late_failures", "image_mutants")
MUST_BE_ZERO = ("different_bytes", "silent", "tracebacks", "hangs", "outside_writes", "late_failures")
WIDE_FROM = 30
"""Minutes from which the run that is killed has two rounds and all controls."""


class Campaign:
    """The counts of a campaign and what it has found."""

    def __init__(self, output: Path, seed: int, minutes: float, parts: Sequence[str]) -> None:
        self.output = output
        self.scratch = output / "scratch"
        self.seed = seed
        self.minutes = {name: minutes * SHARES[name] / sum(map(SHARES.__getitem__, parts)) for name in parts}
        """Of each part that is asked for."""
        self.counts: Counter[str] = Counter(dict.fromkeys((*COUNTS, *MORE_COUNTS), 0))
        self._known: set[str] = set()

    def found(self, count: str, **details: Any) -> None:
        """Count a fault, and write it down where the same has not been seen before."""
        self.counts[count] += 1
        known = json.dumps({key: details[key] for key in sorted(details) if key not in ("payload", "seed")})
        if known not in self._known:
            self._known.add(known)
            with (self.output / "found.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"count": count, **details}) + "\n")

    def fault(self, said: str, **details: Any) -> None:
        """Count a fault by the word that it begins with."""
        kinds = {"hang": "hangs", "silent": "silent", "late": "late_failures"}
        self.found(
            next((kind for word, kind in kinds.items() if said.startswith(word)), "tracebacks"), said=said, **details
        )

    def chain(self, chain: "Chain") -> None:
        """Count what a chain of disturbed starts has met with."""
        self.counts.update(chain.counts)
        for name in chain.different:
            self.found("different_bytes", file=name)
        for said in chain.faults:
            self.fault(said)


@contextmanager
def part(campaign: Campaign, name: str) -> Iterator[tuple[float, Callable[[], bool]]]:
    """Give the moment at which a part ends, and what moves its bar and tells whether its time is over."""
    from seewhy.run.progress import progress

    seconds = max(1, round(campaign.minutes[name] * 60))
    start, shown = time.monotonic(), 0
    with progress(f"{name} (seconds)", total=seconds, done=0) as advance:

        def over() -> bool:
            nonlocal shown
            now = min(seconds, int(time.monotonic() - start))
            advance(now - shown)
            shown = now
            return now >= seconds

        yield start + seconds, over


def kills(campaign: Campaign, work: "Workload") -> None:
    """Kill runs at each file operation, a run that asks a server too, then at random moments."""
    from torture.kills import kill_at_each_operation, kill_at_random
    from torture.workloads import served_workload

    rng = random.Random(campaign.seed)
    with part(campaign, "kills") as (end, over):
        third = (end - time.monotonic()) / 3
        for until, other in ((end - 2 * third, None), (end - third, campaign.output / "served")):
            seen, chain = set[str](), None
            now = served_workload(other, campaign.scratch) if other else work
            while time.monotonic() < until and (chain is None or chain.counts["kills"]):  # some operation had no kill
                chain = kill_at_each_operation(
                    now, campaign.scratch, seen, lambda _, until=until: over() or time.monotonic() > until
                )
                campaign.chain(chain)
        while not over():
            campaign.chain(kill_at_random(work, campaign.scratch, rng, lambda _: over()))


def refusals(campaign: Campaign, work: "Workload") -> None:
    """Refuse writes as a full disk and one that is not ours do."""
    from torture.kills import refuse_writes

    rng = random.Random(campaign.seed)
    with part(campaign, "refusals") as (_, over):
        while not over():
            campaign.chain(refuse_writes(work, campaign.scratch, rng, lambda _: over()))


def disturbances(campaign: Campaign, work: "Workload") -> None:
    """Disturb runs: a second writer, a lock that is taken away, clocks that are wrong; kill who writes verdicts."""
    from torture.disturb import disturb, kill_a_reviewer

    rng = random.Random(campaign.seed)
    with part(campaign, "disturbances") as (_, over):
        while not over():
            campaign.chain(disturb(work, campaign.scratch, rng))
            campaign.chain(kill_a_reviewer(campaign.scratch / "review", rng))


def damage(campaign: Campaign, work: "Workload") -> None:
    """Damage the files of a finished run, one at a time."""
    from torture.damage import Finished, fault_of, trials
    from torture.workloads import photo

    rng = random.Random(campaign.seed)
    work.restore(campaign.scratch)
    finished = Finished.of(work.run, work.config, photo(work.config.parent), campaign.scratch / "damage")
    whole = {name: finished.outcome(name) for name in finished.verbs}
    for name, outcome in whole.items():
        if outcome.ended.code:
            raise RuntimeError(f"{name} of a whole run ended with {outcome.ended.code}:\n{outcome.ended.errors}")
    with part(campaign, "damage") as (_, over):
        for number, trial in enumerate(trials(finished, rng)):
            if over():
                return
            seed = f"{campaign.seed} {number}"
            if said := fault_of(finished, whole, trial, random.Random(seed)):
                campaign.fault(said, trial=asdict(trial), seed=seed)
            campaign.counts["flips" if trial.how == "flipped" else "damaged"] += 1


def settings(campaign: Campaign) -> None:
    """Start runs with random settings, which fail before the first stage or not at all."""
    from torture.random_settings import Place, drawn, fault_of

    rng, place = random.Random(campaign.seed), Place.made(campaign.output / "settings", campaign.scratch)
    with part(campaign, "settings") as (_, over):
        while not over():
            given = drawn(rng, place)
            if said := fault_of(place, given):
                campaign.fault(said, settings=given)
            campaign.counts["settings"] += 1


def fuzzing(campaign: Campaign, kinds: str = "") -> None:
    """Draw odd inputs of every kind, or of `kinds`."""
    from torture.fuzz import TARGETS, Found, fuzz

    with part(campaign, "fuzzing") as (end, over):

        def each(target: str, found: Found | None) -> None:
            over()
            campaign.counts["image_mutants" if target == "image" else "fuzzed"] += 1
            if found:
                kinds = {"traceback": "tracebacks", "hang": "hangs", "outside_write": "outside_writes"}
                payload = base64.b64encode(found.payload).decode()
                campaign.found(
                    kinds[found.fault.kind], target=target, where=found.fault.where,
                    said=found.fault.said.split(":")[0], payload=payload,
                )  # fmt: skip

        fuzz(
            campaign.scratch / "fuzz",
            end - time.monotonic(),
            campaign.seed,
            each,
            kinds.split(",") if kinds else TARGETS,
        )


def main() -> int:
    """Run the parts that are asked for; return 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--output", type=Path, default=Path("runs/torture"))
    parser.add_argument("--seed", type=int, default=None, help="of all draws (default: the time)")
    parser.add_argument("--parts", default=",".join(SHARES), help=f"of {', '.join(SHARES)}")
    parser.add_argument("--kinds", default="", help="of inputs that are fuzzed (default: all), such as image")
    given = parser.parse_args()
    output = given.output.absolute()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    os.environ |= {name: str(output / "cache") for name in ("SEEWHY_CACHE", "MPLCONFIGDIR")}
    seed = int(time.time()) if given.seed is None else given.seed
    campaign = Campaign(output, seed, given.minutes, given.parts.split(","))

    from torture.workloads import tiny_workload, warm, wide_workload

    def tiny() -> "Workload":
        return tiny_workload(output / "tiny", campaign.scratch)

    if campaign.minutes.keys() - {"fuzzing"}:
        warm(tiny().run, campaign.scratch)
    if "kills" in campaign.minutes:
        wide = given.minutes >= WIDE_FROM
        kills(campaign, wide_workload(output / "wide", campaign.scratch) if wide else tiny())
    for run_part in (refusals, disturbances, damage):
        if run_part.__name__ in campaign.minutes:
            run_part(campaign, tiny())
    if "settings" in campaign.minutes:
        settings(campaign)
    if "fuzzing" in campaign.minutes:
        fuzzing(campaign, given.kinds)
    print(json.dumps({**campaign.counts, "seed": campaign.seed, "minutes": given.minutes}))
    return int(any(campaign.counts[name] for name in MUST_BE_ZERO))


if __name__ == "__main__":
    sys.exit(main())
