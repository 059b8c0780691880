"""What a sceptic should know before believing a run, in plain words, each drawn from its figures.

Ranked by what they do to a decision, in the order of `doubts`: whether the figures are final; whether the reasons may
be used; which model to take; what else tuning cost; what it was taught; how sure the figures are. What chance alone
explains, a difference of less than its standard error, is no doubt and is not listed. What forbids a use altogether
heads the page (collapse.py). Beyond that, nothing here is a warning that a good run would not get: a run with one seed
has one seed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.proof.audit import Audit
from seewhy.proof.support import Support
from seewhy.report.collapse import GONE, REASONS, Collapse, collapses
from seewhy.report.figures import title
from seewhy.report.table import Line, Metrics, percent, points

CLINGING = 0.1
"""Share of the tested reasons that stay without their evidence, from which on it is worth a word."""
MANY_COPIES = 0.5
"""Share of near copies among a round's answers from which on it is worth a word."""
PRECISE = 0.95
"""Selection precision below which it is worth a word."""
WIDE = 0.02
"""Half an interval, as a share, from which on it is worth a word."""
FEW_REASONS = 30
"""Checked reasons below which their share says little."""
MANY_UNMARKED = 0.5
"""Share of the stated reasons of which nobody has marked whether they are true, from which on it is worth a word."""
FEWER = 0.1
"""By how much the share of answers with a reason falls under the untuned model's before it is worth a word."""
_NAMED = 3
_REACH = 1.96
"""Standard errors in half a 95 % interval."""


@dataclass(frozen=True)
class Evidence:
    """What the doubts are drawn from; what is not known is None."""

    ours: Line
    others: tuple[Line, ...]
    planned: int | None = None
    """Rounds that the settings ask for."""
    seeds: int = 1
    audit: Audit | None = None
    confusion: Mapping[str, Any] | None = None
    gate: Mapping[str, Any] | None = None
    """gate.json's value."""
    ours_minus: Mapping[str, Mapping[str, Sequence[float]]] | None = None
    """Arm -> figure -> (difference, low, high), paired by image, of a comparison."""
    tested: Metrics | None = None
    """Of the method's model, what faithfulness.json has."""
    support: Support | None = None
    """What support.json says of the bank's phrases."""
    losses: Sequence[tuple[str, float, float]] = ()
    """(ability, the base's share, the last model's) of what general.json says is clearly lost, the greatest first."""


def doubts(evidence: Evidence) -> list[str]:
    """One or two sentences each, the weightiest for a decision first."""
    checks = (
        _unfinished, _untrue, _few_checked, _fewer_reasons, _clinging, _no_better, _falling, _forgotten, _taught_names,
        _copies, _selection, _inseparable, _chance,
    )  # fmt: skip
    return [line for check in checks for line in check(evidence)]


def _is_noise(difference: float, *intervals: Sequence[float]) -> bool:
    """Whether chance explains a difference: it is smaller than its standard error. Without intervals nothing is."""
    halves = [(high - low) / 2 for low, high in intervals]
    return bool(halves) and abs(difference) < math.hypot(*halves) / _REACH


def _interval(values: Metrics, key: str) -> Sequence[float]:
    return values.get(f"{key}_interval", (values[key], values[key]))


def _unfinished(evidence: Evidence) -> list[str]:
    measured, planned, gate = len(evidence.ours.rounds), evidence.planned, evidence.gate or {}
    if stopped := gate.get("stopped_after"):
        worse = listed([title(key).lower() for key in gate["rounds"][-1]["worse_in"]])
        best = f"round {gate['best']} on validation images"
        return [f"Round {stopped} was worse than {best}, in {worse}: the run ended there."]
    if planned is None or measured >= planned:
        return []
    return [f"The run is not finished: {measured} of {planned} rounds have been measured. All below is as of now."]


def _untrue(evidence: Evidence) -> list[str]:
    last, base = evidence.ours.last, evidence.ours.base
    if any(collapse.head == REASONS for collapse in alarms(evidence)):
        return []
    if "stated_true" not in last:
        if not last.get("ee"):
            return []
        return ["What these images show is not recorded, so no reason was checked: one may sound right and be false."]
    parts = {"false": last.get("stated_wrong"), "true of the subject but hidden": last.get("stated_hidden")}
    told = " and ".join(f"{percent(share)} {kind}" for kind, share in parts.items() if share is not None)
    counted = f"{last['stated_true_n']:,} reasons checked" if "stated_true_n" in last else "reasons stated"
    line = f"Of the {counted}, {percent(1 - last['stated_true'])} cannot be seen in their image"
    line += f": {told}." if told else "."
    lost = base.get("stated_true", 0) - last["stated_true"]
    if evidence.ours.rounds and lost > 0 and not _is_noise(lost, *(_interval(v, "stated_true") for v in (base, last))):
        line += f" The untuned model states fewer such: {percent(1 - base['stated_true'])}."
    return [line]


def _few_checked(evidence: Evidence) -> list[str]:
    """Where the share of true reasons rests on little."""
    last, found = evidence.ours.last, []
    count = last.get("stated_true_n")
    if count is not None and count < FEW_REASONS:
        images = last.get("stated_true_images", count)
        found.append(
            f"Only {count} reason{'s' * (count != 1)} in {images} image{'s' * (images != 1)} could be checked: what"
            " share of them is true says little. Mark more images (data.truth)."
        )
    if last.get("stated_unverified", 0.0) > MANY_UNMARKED:
        found.append(
            f"Of all reasons stated, {percent(last['stated_unverified'])} are of phrases that nobody has marked for"
            " that image, and are in no share of true or false ones."
        )
    return found


def _fewer_reasons(evidence: Evidence) -> list[str]:
    """EE, where it falls and is not gone, and where reasons are given in other words than the bank's."""
    last, base = evidence.ours.last, evidence.ours.base
    if not evidence.ours.rounds or "ee" not in last or any(c.head == REASONS for c in alarms(evidence)):
        return []
    if base.get("ee", 0.0) - last["ee"] >= FEWER:
        return [
            f"Tuning has cost reasons: {percent(last['ee'])} of the answers give one, of the untuned model's"
            f" {percent(base['ee'])}."
        ]
    if last["ee"] < GONE <= last.get("any_reason", 0.0):
        return [
            f"Only {percent(last['ee'])} of the answers state a phrase of the bank, while {percent(last['any_reason'])}"
            " say something besides a name: reasons in other words than the bank's are checked nowhere here."
        ]
    return []


def alarms(evidence: Evidence) -> list[Collapse]:
    """What forbids a use of the model."""
    known = {"support": evidence.support, "confusion": evidence.confusion, "audit": evidence.audit}
    return collapses(evidence.ours, **known, best=(evidence.gate or {}).get("best"))


def _no_better(evidence: Evidence) -> list[str]:
    """Where an alternative does as well, or the difference may be chance."""
    if not evidence.ours.rounds:
        return []
    if not evidence.others:
        return ["No alternative was trained beside it, so what tuning on bare labels would have given is not known."]
    found = []
    for key in ("accuracy", "stated_true"):
        others = [other for other in evidence.others if key in evidence.ours.last and other.has(key)]
        better = [other for other in others if _lead(evidence, other, key)[1] < 0]
        level = [other for other in others if _lead(evidence, other, key)[0] <= 0 and other not in better]
        better, level = (
            [other for other in group if not _is_chance(evidence, other, key)] for group in (better, level)
        )
        if better:
            found.append(f"In {title(key).lower()}, the method is behind {_told(evidence, better, key)}.")
        if level:
            found.append(f"In {title(key).lower()}, it cannot be told apart from {_told(evidence, level, key)}.")
    return found


def _lead(evidence: Evidence, other: Line, key: str) -> tuple[float, float]:
    """(cautiously, at best) by how much the method leads: the ends of the paired interval, where there is one.

    Of a single run it is the lead over the upper end of the other's interval, and the difference itself.
    """
    if paired := (evidence.ours_minus or {}).get(other.key, {}).get(key):
        return paired[1], paired[2]
    ours, theirs = evidence.ours.last, other.last
    low, high = ours.get(f"{key}_interval", (ours[key],))[0], theirs.get(f"{key}_interval", (theirs[key],))[-1]
    return low - high, ours[key] - theirs[key]


def _is_chance(evidence: Evidence, other: Line, key: str) -> bool:
    """Whether the method and an alternative differ by less than the difference's standard error."""
    if paired := (evidence.ours_minus or {}).get(other.key, {}).get(key):
        return _is_noise(paired[0], paired[1:])
    ours, theirs = evidence.ours.last, other.last
    return _is_noise(ours[key] - theirs[key], _interval(ours, key), _interval(theirs, key))


def _told(evidence: Evidence, others: Sequence[Line], key: str) -> str:
    """'NL (+1.2 points, \u22120.4 to +2.9) and L+GE (...)'; of a single run 'NL (90.2 % against 93.1 %)'."""
    told = []
    for other in others:
        if paired := (evidence.ours_minus or {}).get(other.key, {}).get(key):
            whole, low, high = map(points, paired)
            told.append(f"{other.name} ({whole} points, {low} to {high})")
        else:
            told.append(f"{other.name} ({percent(other.last[key])} against {percent(evidence.ours.last[key])})")
    return listed(told)


def listed(words: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _clinging(evidence: Evidence) -> list[str]:
    """Reasons that were not read off the image."""
    figures = evidence.tested or {}
    stays = {"a leaf hides their part": figures.get("survives_hidden", 0.0)}
    stays["their attribute is drawn with another value"] = 1 - figures.get("counterfactual_changes", 1.0)
    told = [f"{percent(share)} stay when {when}" for when, share in stays.items() if share >= CLINGING]
    return [f"Of the reasons tested, {listed(told)}: these were not read off the image."] if told else []


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
    found, best_round = [], (evidence.gate or {}).get("best")
    if evidence.ours.rounds and best_round not in (None, evidence.ours.last["round"]):
        found.append(
            f"The figures above are of round {evidence.ours.last['round']}; the best on validation images, which the"
            f" run hands out, is round {best_round}."
        )
    for key in ("accuracy", "stated_true"):
        steps = [values for round, values in evidence.ours.steps(key) if round]
        if not steps:
            continue
        best, last = max(steps, key=lambda values: values[key]), steps[-1]
        lost = best[key] - last[key]
        if lost > 0 and not _is_noise(lost, _interval(best, key), _interval(last, key)):
            found.append(
                f"Round {best['round']} was better in {title(key).lower()}: {percent(best[key])}, and"
                f" {percent(last[key])} after round {last['round']}."
            )
    return found


def _taught_names(evidence: Evidence) -> list[str]:
    rounds = evidence.audit.rounds if evidence.audit else ()
    if not (hungry := [r for r in rounds if r.starving]):
        return []
    worst = max(hungry, key=lambda r: (len(r.starving), r.round))
    names, rest = worst.starving[:_NAMED], len(worst.starving[_NAMED:])
    told = listed([*names, *([f"{rest} more"] if rest else [])])
    count = len(worst.starving)
    return [
        f"In round {worst.round}, {count} class{'es were' if count > 1 else ' was'} taught little but the name: {told}."
    ]


def _copies(evidence: Evidence) -> list[str]:
    rounds = evidence.audit.rounds if evidence.audit else ()
    if not rounds or (share := rounds[-1].whole.near_duplicate_share) is None or share < MANY_COPIES:
        return []
    return [
        f"Of the reasoned answers that round {rounds[-1].round} was taught, {percent(share)} are near copies of"
        " another: part of what it says may be learned by heart."
    ]


def _selection(evidence: Evidence) -> list[str]:
    chosen = next((r for r in evidence.ours.rounds if "selection_precision" in r), {})
    if chosen.get("selection_precision", 1.0) >= PRECISE:
        return []
    wrong = percent(1 - chosen["selection_precision"])
    return [f"Of the concepts that it was taught as visible, {wrong} were not to be seen in their image."]


def _inseparable(evidence: Evidence) -> list[str]:
    pairs: Sequence[Mapping[str, Any]] = (evidence.confusion or {}).get("pairs", ())
    alike = [pair for pair in pairs if not pair["only_label"] and not pair["only_named"]]
    if not alike:
        return []
    first = f"{alike[0]['label']} and {alike[0]['named']}"
    count = "one pair" if len(alike) == 1 else f"{len(alike)} pairs"
    return [f"In {count} of classes that it confuses, the expert's lists are the same, as of {first}."]


def _chance(evidence: Evidence) -> list[str]:
    found, last = [], evidence.ours.last
    if (split := last.get("split") or evidence.ours.base.get("split")) not in ("test", None, ""):
        found.append(f"Measured on {split} images: where settings were chosen on these, new images will fare worse.")
    if evidence.seeds == 1 and evidence.ours.rounds:
        half = _half_width(last)
        small = f"With {last.get('n')} images, accuracy is known to ±{100 * half:.1f} points. " if half >= WIDE else ""
        found.append(f"{small}One seed: how much chance in training adds is not known, and seewhy compare would tell.")
    return found


def _half_width(values: Metrics) -> float:
    low, high = values.get("accuracy_interval", (0, 0))
    return (high - low) / 2
