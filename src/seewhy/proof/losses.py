"""Says, right after a stage, that most of its texts are lost: while there is still time to stop.

told = mostly_lost("describe", "texts were dropped", 700, 1000, {"empty": 700})
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from seewhy.proof.audit import kind_of_rejection
from seewhy.records import Answer, Candidate

MOST = 0.5
"""The share of lost texts above which a stage is spoken of."""
CAUSES = 3
"""Causes that are named."""

_REMEDIES = {
    "empty": "the model ends its answer at once: look at its chat template, or raise the temperature",
    "holds a marker of the model": "its texts hold special tokens: switch its thinking off, or look at its template",
    "names no label": "it does not say the class's name as it is spelt: add aliases, or take a larger model",
    "names another label": "it calls the images something else: a larger model, or fewer classes to begin with",
    "names its label and another": "it names several classes: add what tells them apart, or sample at a lower "
    "temperature",
    "repeats the instruction": "it does not follow the instruction: take a larger or instruction-tuned model",
    "no concept was selected for the image": "the descriptions support none of the class's phrases: see what they say",
    "states a concept that its class does not list": "its reasons are those of other classes: complete the lists in "
    "the bank, or leave require_listed off",
}
"""Why a text is lost (`kind_of_rejection`) -> what it means and what to do."""


def mostly_lost(stage: str, what: str, lost: int, of: int, reasons: Mapping[str, int]) -> str | None:
    """What to print where more than half of a stage's texts are lost, with the commonest causes; else None.

    `reasons` counts why, as far as this process has seen it. `what` is what happened to them: 'texts were dropped'.
    """
    if not of or lost / of <= MOST:
        return None
    kinds: Counter[str] = Counter()
    for reason, count in reasons.items():
        kinds[_kind(reason)] += count
    lines = [f"{stage}: {lost:,} of {of:,} {what} ({100 * lost / of:.0f} %). The likeliest causes:"]
    for kind, count in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))[:CAUSES]:
        remedy = _REMEDIES.get(kind)
        lines.append(f"- {kind} ({count:,}){f': {remedy}' if remedy else ''}.")
    if not kinds:
        lines[0] = lines[0].removesuffix(" The likeliest causes:") + " Their reasons were logged when they were made."
    return "\n".join([*lines, "Stop it now (Ctrl-C) if that is not what you expect: what is done so far is kept."])


def fallback_reasons(answers: Iterable[Answer]) -> Counter[str]:
    """Why round 1's answers fell back to the label sentence."""
    return Counter(answer.reason for answer in answers if answer.source == "label sentence")


def reasons_of_lost_queries(candidates: Iterable[Candidate]) -> Counter[str]:
    """Why the candidates of those queries lost that no candidate won: what made later rounds' answers fall back."""
    of_query: defaultdict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        of_query[candidate.example_id, candidate.query].append(candidate)
    lost = (group for group in of_query.values() if not any(candidate.kept for candidate in group))
    return Counter(candidate.reason for group in lost for candidate in group)


def unusable(candidates: Sequence[Candidate]) -> Counter[str]:
    """Why candidates could not be used as text at all."""
    faults = ("empty", "holds a marker of the model")
    return Counter(candidate.reason for candidate in candidates if _kind(candidate.reason) in faults)


def _kind(reason: str) -> str:
    if reason.startswith("states ") and reason.endswith("which its class does not list"):
        return "states a concept that its class does not list"
    return kind_of_rejection(reason)
