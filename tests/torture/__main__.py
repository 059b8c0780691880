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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

SHARES = {"kills": 0.35, "refusals": 0.1, "damage": 0.3, "fuzzing": 0.25}
"""The parts and their shares of the time."""
COUNTS = ("kills", "different_bytes", "flips", "silent", "fuzzed", "tracebacks", "hangs", "outside_writes")
MUST_BE_ZERO = ("different_bytes", "silent", "tracebacks", "hangs", "outside_writes")


class Campaign:
    """The counts of a campaign and what it has found."""

    def __init__(self, output: Path, seed: int) -> None:
        self.output = output
        self.seed = seed
        self.counts: Counter[str] = Counter(dict.fromkeys((*COUNTS, "refused_writes"), 0))
        self._known: set[str] = set()

    def found(self, count: str, **details: Any) -> None:
        """Count a fault, and write it down where the same has not been seen before."""
        self.counts[count] += 1
        known = json.dumps({key: details[key] for key in sorted(details) if key not in ("payload", "trial", "seed")})
        if known not in self._known:
            self._known.add(known)
            with (self.output / "found.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"count": count, **details}) + "\n")

    def fault(self, said: str, **details: Any) -> None:
        """Count a fault by the word that it begins with."""
        kind = "hangs" if said.startswith("hang") else "silent" if said.startswith("silent") else "tracebacks"
        self.found(kind, said=said, **details)


@contextmanager
def part(campaign: Campaign, name: str, minutes: float) -> Iterator[tuple[float, Callable[[], None]]]:
    """Give the moment at which a part ends, and what moves its bar."""
    from seewhy.run.progress import progress

    seconds = round(minutes * 60 * SHARES[name])
    start, shown = time.monotonic(), 0
    with progress(f"{name} (seconds)", total=max(1, seconds), done=0) as advance:

        def tick() -> None:
            nonlocal shown
            now = min(seconds, int(time.monotonic() - start))
            advance(now - shown)
            shown = now

        yield start + seconds, tick


def kills(campaign: Campaign, make: Callable[..., Any], minutes: float) -> None:
    """Kill runs at each file operation and at random moments."""
    from torture.kills import Workload, kill_at_each_operation, kill_at_random, refuse_writes

    rng = random.Random(campaign.seed)
    work: Workload = make()
    seen: set[str] = set()
    scratch = campaign.output / "scratch"

    def until(end: float, tick: Callable[[], None]) -> Callable[[Any], bool]:
        def enough(_chain: Any) -> bool:
            tick()
            return time.monotonic() > end

        return enough

    with part(campaign, "kills", minutes) as (end, tick):
        middle = end - (end - time.monotonic()) / 3
        while time.monotonic() < end:
            if time.monotonic() < middle:
                chain = kill_at_each_operation(work, scratch, seen, until(middle, tick))
                middle = middle if chain.kills else 0.0  # every operation has had its kill
            else:
                chain = kill_at_random(work, scratch, rng, until(end, tick))
            _count(campaign, chain)
    with part(campaign, "refusals", minutes) as (end, tick):
        while time.monotonic() < end:
            _count(campaign, refuse_writes(work, scratch, rng, until(end, tick)))


def _count(campaign: Campaign, chain: Any) -> None:
    campaign.counts["kills"] += chain.kills
    campaign.counts["refused_writes"] += chain.refused
    for name in chain.different:
        campaign.found("different_bytes", file=name)
    for said in chain.faults:
        campaign.fault(said)


def damage(campaign: Campaign, make: Callable[..., Any], photo: Callable[[], Path], minutes: float) -> None:
    """Damage the files of a finished run, one at a time."""
    from torture.damage import Finished, fault_of, trials

    work, rng = make(), random.Random(campaign.seed)
    work.restore(campaign.output / "scratch")
    finished = Finished.of(work.run, work.config, photo(), campaign.output / "scratch/damage")
    whole = {name: finished.outcome(name) for name in finished.verbs}
    for name, outcome in whole.items():
        if outcome.ended.code:
            raise RuntimeError(f"{name} of a whole run ended with {outcome.ended.code}:\n{outcome.ended.errors}")
    with part(campaign, "damage", minutes) as (end, tick):
        for number, trial in enumerate(trials(finished, rng)):
            if time.monotonic() > end:
                return
            if said := fault_of(finished, whole, trial, random.Random(f"{campaign.seed} {number}")):
                campaign.fault(said, trial=asdict(trial), seed=f"{campaign.seed} {number}")
            campaign.counts["flips"] += 1
            tick()


def fuzzing(campaign: Campaign, minutes: float) -> None:
    """Draw odd inputs of every kind."""
    from torture.fuzz import Found, fuzz

    with part(campaign, "fuzzing", minutes) as (end, tick):

        def each(found: Found | None) -> None:
            campaign.counts["fuzzed"] += 1
            if found:
                kinds = {"traceback": "tracebacks", "hang": "hangs", "outside_write": "outside_writes"}
                payload = base64.b64encode(found.payload).decode()
                campaign.found(
                    kinds[found.fault.kind], target=found.target, where=found.fault.where,
                    said=found.fault.said.split(":")[0], payload=payload,
                )  # fmt: skip
            tick()

        fuzz(campaign.output / "scratch/fuzz", end - time.monotonic(), campaign.seed, each)


def main() -> int:
    """Run the parts that are asked for; return 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--output", type=Path, default=Path("runs/torture"))
    parser.add_argument("--seed", type=int, default=None, help="of all draws (default: the time)")
    parser.add_argument("--parts", default="kills,damage,fuzzing")
    given = parser.parse_args()
    output = given.output.absolute()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    os.environ |= {name: str(output / "cache") for name in ("SEEWHY_CACHE", "MPLCONFIGDIR")}
    campaign = Campaign(output, int(time.time()) if given.seed is None else given.seed)

    from torture.workloads import photo, tiny_workload

    def make() -> Any:
        return tiny_workload(output / "tiny", output / "scratch")

    parts = given.parts.split(",")
    if "kills" in parts:
        kills(campaign, make, given.minutes)
    if "damage" in parts:
        damage(campaign, make, lambda: photo(output / "tiny"), given.minutes)
    if "fuzzing" in parts:
        fuzzing(campaign, given.minutes)
    print(json.dumps({**campaign.counts, "seed": campaign.seed, "minutes": given.minutes}))
    return int(any(campaign.counts[name] for name in MUST_BE_ZERO))


if __name__ == "__main__":
    sys.exit(main())
