"""Verdicts in a run: which ones it was made with, what those given since would change, and for which images.

A run obeys the verdicts in its file when it is started, and writes what they correct into the stage "verdicts". A
finished run is read by that stage, whatever has been said since.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seewhy.config import RunConfig, SelectConfig
from seewhy.domain.corrections import Corrections, for_training, strangers
from seewhy.domain.domain import Domain
from seewhy.domain.verdicts import Verdict, read_verdicts, verdicts_file
from seewhy.method.carry import carried, score_levels
from seewhy.method.select import selected_concepts
from seewhy.records import Correction, Example, Selection
from seewhy.run.folder import read_manifest, read_records
from seewhy.run.progress import say
from seewhy.run.stages import OURS, ModelKey, StageKey, is_complete
from seewhy.run.storage import digest

VERDICTS = StageKey("verdicts")


def recorded_corrections(run: Path) -> Corrections | None:
    """Return the corrections that a run was made with; None for one that never had any."""
    if not is_complete(read_manifest(run), VERDICTS):
        return None
    return Corrections.of_records(read_records(run, str(VERDICTS), Correction))


def given_verdicts(config: RunConfig, domain: Domain) -> list[Verdict]:
    """Return the verdicts in the run's file, and say which of them are about something else than its data."""
    path = verdicts_file(config.data, config.output)
    verdicts = read_verdicts(path)
    missing, changed = strangers(verdicts, domain.examples)
    if missing:
        say(f"Note: {path}: {missing} verdicts are on images that the data do not have, and count for nothing here.")
    if changed:
        say(f"Note: {path}: {changed} verdicts are on images whose file is another one now, and count for nothing.")
    return verdicts


def corrections_now(verdicts: Sequence[Verdict], domain: Domain, run: Path) -> Corrections | None:
    """Return what the verdicts correct now; None where they correct nothing and never did in this run."""
    return for_training(verdicts, domain) or (None if recorded_corrections(run) is None else Corrections())


def corrected(
    selections: Sequence[Selection], corrections: Corrections, labels: Mapping[str, str], config: SelectConfig
) -> list[Selection]:
    """Return the train images' selections as people's verdicts have them; what is said of an image has the last word
    on it."""
    if corrections.carry:
        levels = score_levels(selections, labels, corrections.selected, config)
        selections = carried(selections, labels, levels, config)
    return corrections.apply(selections)


def effects(
    corrections: Corrections, domain: Domain, before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return, for each train image that corrections touch, a digest of what its answers are made from.

    `before` and `now` are example id -> selected concepts, without and with the corrections. An image is touched whose
    selection or label is corrected, or whose class's list is: its answers may state what has been struck.
    """
    bank, found = corrections.bank(domain.concepts), {}
    for example in domain.split("train"):
        listed = bank[example.label]
        if example.id in corrections.out:
            found[example.id] = "out"
        elif example.label in corrections.reworded or before[example.id] != now[example.id]:
            found[example.id] = digest([list(now[example.id]), list(listed)])
    return found


@dataclass(frozen=True)
class Remade:
    """What a run makes anew for verdicts that have been given since, and what stays."""

    images: tuple[str, ...]
    """Train images whose selection, label or class's list is corrected otherwise than before."""
    train: int
    answers_per_image: int
    rounds: int
    """Rounds that have been tuned."""
    classes: tuple[str, ...]
    """Classes whose list is corrected otherwise."""
    covered: bool
    """Whether copies with a covered part are learnt from (`tune.covered`)."""

    def __str__(self) -> str:
        answers, others = len(self.images) * self.answers_per_image, self.train - len(self.images)
        scored = of_copies = ""
        if self.classes:
            answered = " and all answers about covered copies" if self.covered else ""
            scored = f"all concept scores{answered}, as the lists of {', '.join(self.classes)} change; "
        elif self.covered:
            of_copies = " and those about their covered copies"
        tuned = (
            f"; the tuning of {_rounds(self.rounds)}, with these models' candidates and answers" if self.rounds else ""
        )
        return (
            f"Made anew: {scored}the selection of {len(self.images)} of {self.train:,} train images and their "
            f"{answers:,} answers of round 1{of_copies}{tuned}. Kept: all descriptions, the answers of round 1 of the "
            f"other {others:,} images, and what the base answered."
        )


def remade(
    config: RunConfig, examples: Iterable[Example], held: Corrections | None, now: Corrections | None, run: Path
) -> Remade | None:
    """Return what the corrections make anew in a run that was made with those it `held`; None if nothing differs, or
    nothing has been selected yet."""
    held, now = held or Corrections(), now or Corrections()
    manifest = read_manifest(run)
    if held == now or not is_complete(manifest, StageKey("select")):
        return None
    train = [example for example in examples if example.split == "train"]
    others = _differently_carried(config, train, held, now, run)
    images = tuple(e.id for e in train if e.id in others or _effect(held, e) != _effect(now, e))
    labels = sorted(held.reworded.keys() | now.reworded.keys())
    classes = tuple(label for label in labels if held.reworded.get(label) != now.reworded.get(label))
    tuned = [r for r in range(1, config.rounds + 1) if is_complete(manifest, StageKey("model", ModelKey(OURS.key, r)))]
    return Remade(images, len(train), config.synthesise.answers_per_image, len(tuned), classes, config.tune.covered > 0)


def _differently_carried(
    config: RunConfig, train: Sequence[Example], held: Corrections, now: Corrections, run: Path
) -> set[str]:
    """Return the images whose selection differs for what is said of others. Where concepts have other words than
    before, all images of their class count as different anyhow."""
    if not (held.carry or now.carry):
        return set()
    labels = {example.id: example.label for example in train}
    is_again = bool(held.reworded) and held.reworded == now.reworded
    again = StageKey("reselect")
    stage = str(again) if is_again and is_complete(read_manifest(run), again) else "select"
    scored = [s for s in read_records(run, stage, Selection) if s.example_id in labels]
    before, after = (selected_concepts(corrected(scored, of, labels, config.select)) for of in (held, now))
    return {name for name in before if before[name] != after[name]}


def _effect(corrections: Corrections, example: Example) -> tuple[object, ...]:
    name, label = example.id, example.label
    return corrections.selected.get(name), name in corrections.out, corrections.reworded.get(label)


def _rounds(count: int) -> str:
    return "round 1" if count == 1 else f"rounds 1 to {count}"
