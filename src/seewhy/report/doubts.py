"""What to doubt about a run, in plain words, each drawn from its figures.

What forbids a use of the model (`collapses`) heads the page, the terminal and the model's card: its reasons are gone or
untrue, it was taught bare names, or it never names a class. Each says what was seen, at which stage it began, and the
remedy for that stage.

Lesser doubts (`doubts`) are ranked by what they do to a decision: whether the figures are final; whether the reasons
may be used; which model to take; what else tuning cost; what it was taught; how sure the figures are. A difference
smaller than its standard error is left out: chance alone explains it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from seewhy.proof.audit import Audit
from seewhy.report.figures import title
from seewhy.report.table import Line, lines, percent, points
from seewhy.results import Confusion, Figures, Gate, Metrics, Support
from seewhy.results_json import Difference, Figure, find

GONE = 0.5
"""Share of the answers with a reason below which reasons count as gone, and of true reasons as untrue."""
BARE = 0.5
"""Share of bare label sentences among a round's training answers above which it was taught little else."""
FEWEST = 5
"""Images of a class from which on it is reported that no answer names it."""
CLINGING = 0.1
"""Share of the tested reasons that stay without their evidence, from which on it is reported."""
MANY_COPIES = 0.5
"""Share of near copies among a round's answers from which on it is reported."""
PRECISE = 0.95
"""Selection precision below which it is reported."""
WIDE = 0.02
"""Half an interval, as a share, from which on it is reported."""
FEW_REASONS = 30
"""Checked reasons below which their share says little."""
MANY_UNMARKED = 0.5
"""Share of the stated reasons that nobody has marked as true or false, from which on it is reported."""
FEWER = 0.1
"""By how much fewer answers than the untuned model's give a reason before it is reported."""
_NAMED, _NAMED_CLASSES = 3, 4
_REACH = 1.96
"""Standard errors in half a 95 % interval."""

Stage = Literal["describe", "select", "synthesise", "tune", "sample"]

REASONS = "Do not use the reasons of this model."
_REMEDIES: Mapping[Stage, str] = {
    "describe": "It began with the descriptions: the model has no words for the concept bank. Set model.name_or_path "
    "to a vision-language model that describes such images in these terms, or reword the phrases as one would describe "
    "a picture (support.json lists those that were never said).",
    "select": "It began with the selection: hardly any concept was found in an image. Lower select.unlisted_std (with "
    "rule image select.threshold_std, with rule said select.said_share), or describe each image more often.",
    "synthesise": "It began with round 1's training answers, which the untuned model could not write. `seewhy audit` "
    "shows why; then try a larger or instruction-tuned model, more synthesise.tries, aliases for what it calls the "
    "classes, or synthesise.fallback: reasons.",
    "tune": "It was taught reasons and lost them in tuning: lower tune.learning_rate, use fewer tune.epochs, and watch "
    "the val images; or use an earlier round (--round).",
    "sample": "The tuned model's own answers were mostly rejected, so that the round taught bare names. `seewhy audit` "
    "shows why; then try more sample.samples_per_query, a lower sample.temperature, sample.fallback: reasons, or "
    "an earlier round (--round).",
}  # fmt: skip


@dataclass(frozen=True)
class Collapse:
    """What forbids a use: `head` says what not to do, `why` what was seen, `remedy` what to do about `stage`."""

    head: str
    why: str
    remedy: str
    stage: Stage

    @property
    def text(self) -> str:
        return f"{self.head} {self.why} {self.remedy}"


@dataclass(frozen=True)
class Evidence:
    """What the doubts are drawn from; what is not known is None."""

    ours: Line
    others: tuple[Line, ...] = ()
    planned: int | None = None
    """Rounds that the settings ask for."""
    seeds: int = 1
    audit: Audit | None = None
    confusion: Confusion | None = None
    gate: Gate | None = None
    ours_minus: Mapping[str, Mapping[str, Difference]] | None = None
    """Arm -> figure -> difference of a comparison, paired by image."""
    tested: Mapping[str, Figure] | None = None
    """The faithfulness figures of the method's model."""
    support: Support | None = None
    losses: Sequence[tuple[str, float, float]] = ()
    """(ability, the base's share, the last model's) of what was clearly lost, the greatest loss first."""


def collapses(evidence: Evidence) -> list[Collapse]:
    """Return all that forbids a use of the method's last model, the gravest first; nothing of an untuned model."""
    ours, support = evidence.ours, evidence.support
    if not ours.rounds:
        return []
    stage = failed_stage(ours, support)
    why = [*_gone(ours), *_untrue_reasons(ours.last), *_no_words(support), *_bare(ours, evidence.audit)]
    found = [Collapse(REASONS, " ".join(why), _REMEDIES[stage], stage)] if why else []
    best = evidence.gate.best if evidence.gate else None
    if found and best not in (None, ours.last.round) and (other := ours.of_round(best)):
        head = f"Do not use the reasons of the model after round {ours.last.round}."
        share = percent(_value(other, "ee") or 0)
        note = f"Round {best}, the best on validation images, gives a reason in {share} of its answers."
        found = [replace(found[0], head=head, why=f"{found[0].why} {note}")]
    return [*found, *_never_named(evidence.confusion)]


def of_run(folder: Path, metrics: Metrics, round: int | None = None) -> list[Collapse]:
    """Return the same of a run's folder and its metrics; with `round`, of the model after that round."""
    ours, support = lines(metrics)[0], find(folder / Support.FILE, Support)
    if round is not None and ours.rounds and round != ours.last.round:
        until = tuple(figures for figures in ours.rounds if (figures.round or 0) <= round)
        return collapses(Evidence(replace(ours, rounds=until), support=support))
    confusion = find(folder / Confusion.FILE, Confusion)
    gate = find(folder / Gate.FILE, Gate) if round is None else None
    return collapses(Evidence(ours, support=support, confusion=confusion, gate=gate))


def failed_stage(ours: Line, support: Support | None) -> Stage:
    """Return the first stage whose output could not carry reasons; tuning, where all before it could."""
    first, later = ours.rounds[0], ours.rounds[1:]
    if support is not None and support.too_low:
        return "describe"
    if (selected := _value(first, "selected_per_image")) is not None and selected < 1:
        return "select"
    if (first.fallback_share or 0) > BARE:
        return "synthesise"
    return "sample" if any((figures.fallback_share or 0) > BARE for figures in later) else "tune"


def doubts(evidence: Evidence) -> list[str]:
    """Return one or two sentences per doubt, the weightiest for a decision first."""
    checks = (
        _unfinished, _untrue, _few_checked, _fewer_reasons, _clinging, _no_better, _falling, _forgotten, _taught_names,
        _copies, _selection, _inseparable, _chance,
    )  # fmt: skip
    return [line for check in checks for line in check(evidence)]


def _value(figures: Mapping[str, Figure], key: str) -> float | None:
    return figures[key].value if key in figures else None


def _bounds(figure: Figure) -> tuple[float, float]:
    return figure.interval or (figure.value, figure.value)


def _n(figure: Figure) -> str:
    return "" if figure.n is None else f" (n {figure.n:,})"


def _gone(ours: Line) -> list[str]:
    """EE is low and has fallen, or nothing else is said either."""
    last, before = ours.last, _value(ours.base, "ee")
    if "ee" not in last or last["ee"].value >= GONE:
        return []
    fell = before is not None and last["ee"].value < before / 2
    if not fell and (_value(last, "any_reason") or 0) >= GONE:
        return []  # it gives reasons in other words than the bank's, and always did
    text = f"It gives a reason in {percent(last['ee'].value)} of its answers{_n(last['ee'])}"
    return [f"{text}, the untuned model in {percent(before)}." if before is not None else f"{text}."]


def _untrue_reasons(last: Figures) -> list[str]:
    if "stated_true" not in last or (last["stated_true"].interval or (0, 1))[1] >= GONE:
        return []
    true = last["stated_true"]
    return [f"Of its reasons, {percent(true.value)} are true of their image{_n(true)}."]


def _no_words(support: Support | None) -> list[str]:
    if support is None or not support.too_low:
        return []
    return [f"Only {percent(support.share)} of the bank's {support.phrases} phrases are in words that the model uses."]


def _bare(ours: Line, audit: Audit | None) -> list[str]:
    worst = max(ours.rounds, key=lambda figures: figures.fallback_share or 0)
    if (share := worst.fallback_share or 0) <= BARE:
        return []
    text = f"Of the training answers of round {worst.round}, {percent(share)} are bare label sentences"
    reasons = next((r.whole.rejections for r in (audit.rounds if audit else ()) if r.round == worst.round), {})
    return [f"{text} (other answers: {next(iter(reasons))})." if reasons else f"{text}."]


def _never_named(confusion: Confusion | None) -> list[Collapse]:
    missing = [found for found in (confusion.never_named if confusion else ()) if found.of >= FEWEST]
    if not missing:
        return []
    names = [f"{found.label} ({found.of} images)" for found in missing[:_NAMED_CLASSES]]
    rest = len(missing) - _NAMED_CLASSES
    head = f"Do not use it for {', '.join(names)}{f' and {rest} more classes' if rest > 0 else ''}."
    remedy = (
        "See under the confused classes what they are called instead, and check that the names can be told apart "
        "(`seewhy data check`); then add train images of them, or tune.epochs."
    )
    return [Collapse(head, "Not one answer names such a class.", remedy, "tune")]


def _is_noise(difference: float, *bounds: tuple[float, float]) -> bool:
    """Return whether chance explains a difference: it is smaller than its standard error."""
    return abs(difference) < math.hypot(*((high - low) / 2 for low, high in bounds)) / _REACH


def _unfinished(evidence: Evidence) -> list[str]:
    measured, planned, gate = len(evidence.ours.rounds), evidence.planned, evidence.gate
    if gate and gate.stopped_after:
        worse = listed([title(key).lower() for key in gate.rounds[-1].worse_in])
        best = f"round {gate.best} on validation images"
        return [f"Round {gate.stopped_after} was worse than {best}, in {worse}: the run ended there."]
    if planned is None or measured >= planned:
        return []
    return [f"The run is not finished: {measured} of {planned} rounds have been measured so far."]


def _untrue(evidence: Evidence) -> list[str]:
    last, base = evidence.ours.last, evidence.ours.base
    if _reasons_forbidden(evidence):
        return []
    if "stated_true" not in last:
        if not _value(last, "ee"):
            return []
        return [
            "What these images show is not recorded, so no reason was checked: a reason may sound right and be false."
        ]
    true = last["stated_true"]
    parts = {"false": _value(last, "stated_wrong"), "true of the subject but hidden": _value(last, "stated_hidden")}
    text = " and ".join(f"{percent(share)} {kind}" for kind, share in parts.items() if share is not None)
    counted = "reasons stated" if true.n is None else f"{true.n:,} reasons checked"
    line = f"Of the {counted}, {percent(1 - true.value)} cannot be seen in their image"
    line += f": {text}." if text else "."
    before = base.get("stated_true")
    lost = before.value - true.value if before is not None and evidence.ours.rounds else 0
    if before is not None and lost > 0 and not _is_noise(lost, _bounds(before), _bounds(true)):
        line += f" The untuned model states fewer such reasons: {percent(1 - before.value)}."
    return [line]


def _few_checked(evidence: Evidence) -> list[str]:
    last, found = evidence.ours.last, []
    true, unmarked = last.get("stated_true"), _value(last, "stated_unverified")
    if true is not None and true.n is not None and true.n < FEW_REASONS:
        images = true.n if true.images is None else true.images
        found.append(
            f"Only {true.n} reason{'s' * (true.n != 1)} in {images} image{'s' * (images != 1)} could be checked, so the"
            " share of true ones says little. Mark more images (data.truth)."
        )
    if unmarked is not None and unmarked > MANY_UNMARKED:
        found.append(
            f"Of all reasons stated, {percent(unmarked)} are phrases that nobody has marked for that image; they are in"
            " no share of true or false ones."
        )
    return found


def _fewer_reasons(evidence: Evidence) -> list[str]:
    """EE falls but is not gone, or reasons are given in other words than the bank's."""
    last, before = evidence.ours.last, _value(evidence.ours.base, "ee") or 0.0
    if not evidence.ours.rounds or "ee" not in last or _reasons_forbidden(evidence):
        return []
    after, anything = last["ee"].value, _value(last, "any_reason") or 0.0
    if before - after >= FEWER:
        return [
            f"Tuning has cost reasons: {percent(after)} of the answers give one, against {percent(before)} of the"
            " untuned model's."
        ]
    if after < GONE <= anything:
        return [
            f"Only {percent(after)} of the answers state a phrase of the bank, while {percent(anything)} say something"
            " besides a name: reasons in other words than the bank's are not checked anywhere here."
        ]
    return []


def _reasons_forbidden(evidence: Evidence) -> bool:
    return any(collapse.head == REASONS for collapse in collapses(evidence))


def _no_better(evidence: Evidence) -> list[str]:
    """An alternative does as well, or the difference may be chance."""
    if not evidence.ours.rounds:
        return []
    if not evidence.others:
        return ["No alternative was trained beside it, so it is not known what tuning on bare labels would have given."]
    found = []
    for key in ("accuracy", "stated_true"):
        others = [other for other in evidence.others if key in evidence.ours.last and other.has(key)]
        others = [other for other in others if key in other.last and not _is_chance(evidence, other, key)]
        better = [other for other in others if _lead(evidence, other, key)[1] < 0]
        level = [other for other in others if _lead(evidence, other, key)[0] <= 0 and other not in better]
        if better:
            found.append(f"In {title(key).lower()}, the method is behind {_against(evidence, better, key)}.")
        if level:
            found.append(f"In {title(key).lower()}, it cannot be told apart from {_against(evidence, level, key)}.")
    return found


def _paired(evidence: Evidence, other: Line, key: str) -> Difference | None:
    return (evidence.ours_minus or {}).get(other.key, {}).get(key)


def _lead(evidence: Evidence, other: Line, key: str) -> tuple[float, float]:
    """Return (cautiously, at best) by how much the method leads: the ends of the paired interval, where there is one.

    Of a single run: its lower end less the other's upper end, and the difference itself.
    """
    if (paired := _paired(evidence, other, key)) and paired.low is not None and paired.high is not None:
        return paired.low, paired.high
    ours, theirs = evidence.ours.last[key], other.last[key]
    return _bounds(ours)[0] - _bounds(theirs)[1], ours.value - theirs.value


def _is_chance(evidence: Evidence, other: Line, key: str) -> bool:
    if (paired := _paired(evidence, other, key)) and paired.low is not None and paired.high is not None:
        return _is_noise(paired.value, (paired.low, paired.high))
    ours, theirs = evidence.ours.last[key], other.last[key]
    return _is_noise(ours.value - theirs.value, _bounds(ours), _bounds(theirs))


def _against(evidence: Evidence, others: Sequence[Line], key: str) -> str:
    """Return 'NL (+1.2 points, \u22120.4 to +2.9) and L+GE (...)'; of a single run 'NL (90.2 % against 93.1 %)'."""
    found = []
    for other in others:
        if (paired := _paired(evidence, other, key)) and paired.low is not None and paired.high is not None:
            value, low, high = points(paired.value), points(paired.low), points(paired.high)
            found.append(f"{other.name} ({value} points, {low} to {high})")
        else:
            shares = percent(other.last[key].value), percent(evidence.ours.last[key].value)
            found.append(f"{other.name} ({shares[0]} against {shares[1]})")
    return listed(found)


def listed(words: Sequence[str]) -> str:
    """Return 'a', 'a and b', 'a, b and c'."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _clinging(evidence: Evidence) -> list[str]:
    figures, stays = evidence.tested or {}, {}
    if "survives_hidden" in figures:
        stays["after a leaf hides their part"] = figures["survives_hidden"].value
    if "counterfactual_changes" in figures:
        stays["after their part is redrawn differently"] = 1 - figures["counterfactual_changes"].value
    if "same_class_follows" in figures:
        stays["with an image of the same class that does not show them"] = 1 - figures["same_class_follows"].value
    found = [f"{percent(share)} are still stated {when}" for when, share in stays.items() if share >= CLINGING]
    return [f"Of the reasons tested, {listed(found)}: these were not read off the image."] if found else []


def _forgotten(evidence: Evidence) -> list[str]:
    if not evidence.losses:
        return []
    (ability, before, after), *others = evidence.losses
    more = f"; {len(others)} more abilit{'ies' if len(others) > 1 else 'y'} fell beyond chance" if others else ""
    name = ability[:1].lower() + ability[1:]
    return [
        f"Tuning has cost other abilities: \u201c{name}\u201d fell from {percent(before)} to {percent(after)}{more}."
    ]


def _falling(evidence: Evidence) -> list[str]:
    found, best_round, last_round = [], evidence.gate.best if evidence.gate else None, evidence.ours.last.round
    if evidence.ours.rounds and best_round not in (None, last_round):
        found.append(
            f"The figures above are of round {last_round}; the best on validation images, which export and explain use,"
            f" is round {best_round}."
        )
    for key in ("accuracy", "stated_true"):
        steps = [(round, figure) for round, figure in evidence.ours.steps(key) if round]
        if not steps:
            continue
        (best, high), (last, figure) = max(steps, key=lambda step: step[1].value), steps[-1]
        lost = high.value - figure.value
        if lost > 0 and not _is_noise(lost, _bounds(high), _bounds(figure)):
            found.append(
                f"Round {best} was better in {title(key).lower()}: {percent(high.value)}, against"
                f" {percent(figure.value)} after round {last}."
            )
    return found


def _taught_names(evidence: Evidence) -> list[str]:
    hungry = [r for r in (evidence.audit.rounds if evidence.audit else ()) if r.starving]
    if not hungry:
        return []
    worst = max(hungry, key=lambda r: (len(r.starving), r.round))
    rest, count = len(worst.starving[_NAMED:]), len(worst.starving)
    names = listed([*worst.starving[:_NAMED], *([f"{rest} more"] if rest else [])])
    classes = f"{count} class{'es were' if count > 1 else ' was'}"
    return [f"In round {worst.round}, {classes} taught little but the name: {names}."]


def _copies(evidence: Evidence) -> list[str]:
    rounds = evidence.audit.rounds if evidence.audit else ()
    if not rounds or (share := rounds[-1].whole.near_duplicate_share) is None or share < MANY_COPIES:
        return []
    return [
        f"Of the answers with reasons that round {rounds[-1].round} was taught, {percent(share)} are near copies of"
        " another: part of what it says may be learned by heart."
    ]


def _selection(evidence: Evidence) -> list[str]:
    chosen = next((r["selection_precision"].value for r in evidence.ours.rounds if "selection_precision" in r), 1.0)
    if chosen >= PRECISE:
        return []
    return [f"Of the concepts that it was taught as visible, {percent(1 - chosen)} cannot be seen in their image."]


def _inseparable(evidence: Evidence) -> list[str]:
    pairs = evidence.confusion.pairs if evidence.confusion else ()
    alike = [pair for pair in pairs if not pair.only_label and not pair.only_named]
    if not alike:
        return []
    count = "one pair" if len(alike) == 1 else f"{len(alike)} pairs"
    first = f"{alike[0].label} and {alike[0].named}"
    return [f"In {count} of classes that it confuses, the expert's lists are the same, for example {first}."]


def _chance(evidence: Evidence) -> list[str]:
    found, last = [], evidence.ours.last
    if (split := last.split or evidence.ours.base.split) not in ("test", ""):
        found.append(f"Measured on {split} images: if settings were chosen on these, new images will do worse.")
    if evidence.seeds == 1 and evidence.ours.rounds:
        low, high = (last["accuracy"].interval or (0, 0)) if "accuracy" in last else (0, 0)
        half = (high - low) / 2
        small = f"With {last.n} images, accuracy is known to ±{100 * half:.1f} points. " if half >= WIDE else ""
        found.append(f"{small}Only one seed; `seewhy compare` measures the variation between seeds.")
    return found
