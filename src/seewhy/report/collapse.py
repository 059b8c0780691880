"""What forbids a use of a model: its reasons are gone or untrue, it was taught bare names, or it never names a class.

These head the page, the terminal and the model's card, in words, before any figure. Each says what was seen, at which
stage of the run it began, and what to do about that stage: a remedy for tuning does not help where the descriptions had
no words. Lesser doubts are in doubts.py.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from seewhy.proof import gate
from seewhy.proof import support as bank_support
from seewhy.proof.audit import Audit
from seewhy.proof.support import Support
from seewhy.report.table import Line, Metrics, lines, percent

GONE = 0.5
"""Share of the answers with a reason below which reasons count as gone, and of true reasons as untrue."""
BARE = 0.5
"""Share of bare label sentences among a round's training answers above which it was taught little else."""
FEWEST = 5
"""Images of a class from which on it is worth a word that no answer names it."""
_NAMED = 4

Stage = Literal["describe", "select", "synthesise", "tune", "sample"]

REASONS = "Do not use the reasons of this model."
_REMEDIES: Mapping[Stage, str] = {
    "describe": "It began with the descriptions: the model has no words for the concept bank. Set model.name_or_path "
    "to a vision-language model that describes such images in these terms, or reword the phrases as one would describe "
    "a picture (support.json lists those that were never said).",
    "select": "It began with the selection: hardly any concept was found in an image. Lower select.unlisted_std (or "
    "select.threshold_std with rule image), or describe each image more often.",
    "synthesise": "It began with round 1's training answers, which the untuned model could not write. See why with "
    "`seewhy audit`; then a larger or instruction-tuned model, more synthesise.tries, aliases for what it calls the "
    "classes.",
    "tune": "It was taught reasons and lost them in tuning: lower tune.learning_rate, fewer tune.epochs, and watch the "
    "val images; or hand out an earlier round (--round).",
    "sample": "The tuned model's own answers were mostly rejected, so that the round taught bare names. See why with "
    "`seewhy audit`; then more sample.samples_per_query, a lower sample.temperature, or an earlier round (--round).",
}  # fmt: skip


@dataclass(frozen=True)
class Collapse:
    """`head` says what not to do, `why` what was seen, `remedy` what to do about the stage at which it began."""

    head: str
    why: str
    remedy: str
    stage: Stage

    @property
    def text(self) -> str:
        return f"{self.head} {self.why} {self.remedy}"


def collapses(
    ours: Line,
    *,
    support: Support | None = None,
    confusion: Mapping[str, Any] | None = None,
    audit: Audit | None = None,
    best: int | None = None,
) -> list[Collapse]:
    """All that forbids a use of the method's last model, the gravest first; of an untuned model nothing is said.

    `support`, `confusion` (confusion.json's value) and `audit` are used as far as they are known; `best` is the round
    that the gate found best, where there was one.
    """
    if not ours.rounds:
        return []
    stage = failed_stage(ours, support)
    why = [*_gone(ours), *_untrue(ours.last), *_no_words(support), *_bare(ours, audit)]
    found = [Collapse(REASONS, " ".join(why), _REMEDIES[stage], stage)] if why else []
    if found and best is not None and (other := _round(ours, best)) and best != ours.last["round"]:
        model = f"Do not use the reasons of the model after round {ours.last['round']}."
        told = f"Round {best}, which the run hands out, gives a reason in {percent(other.get('ee', 0))} of its answers."
        found = [replace(found[0], head=model, why=f"{found[0].why} {told}")]
    return [*found, *_never_named(confusion)]


def of_run(folder: Path, metrics: Metrics, round: int | None = None) -> list[Collapse]:
    """The same of a run's folder and its metrics.json's value; with `round`, of the model after that round."""
    ours = lines(metrics)[0]
    support, best = bank_support.read(folder), gate.read(folder).get("best")
    if round is not None and ours.rounds and round != ours.last["round"]:
        until = tuple(values for values in ours.rounds if values["round"] <= round)
        return collapses(replace(ours, rounds=until), support=support)
    return collapses(ours, support=support, confusion=_confusion(folder), best=best if round is None else None)


def _confusion(folder: Path) -> Mapping[str, Any] | None:
    try:
        return json.loads((folder / "confusion.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def failed_stage(ours: Line, support: Support | None) -> Stage:
    """The first stage of a run whose output could not carry reasons; tuning, where all before it could."""
    first, later = ours.rounds[0], ours.rounds[1:]
    if support is not None and support.too_low:
        return "describe"
    if first.get("selected_per_image", 1.0) < 1:
        return "select"
    if (first.get("fallback_share") or 0) > BARE:
        return "synthesise"
    return "sample" if any((r.get("fallback_share") or 0) > BARE for r in later) else "tune"


def _gone(ours: Line) -> list[str]:
    """EE, where it is low and has fallen, or where nothing else is said either."""
    last, before = ours.last, ours.base.get("ee")
    if "ee" not in last or last["ee"] >= GONE:
        return []
    fell = before is not None and last["ee"] < before / 2
    if not fell and last.get("any_reason", 0.0) >= GONE:
        return []  # it gives reasons in other words than the bank's, and has always done so
    text = f"It gives a reason in {percent(last['ee'])} of its answers{_n(last, 'ee')}"
    return [f"{text}, the untuned model in {percent(before)}." if before is not None else f"{text}."]


def _untrue(last: Metrics) -> list[str]:
    bounds: Sequence[float] = last.get("stated_true_interval", ())
    if not bounds or bounds[1] >= GONE:
        return []
    return [f"Of its reasons, {percent(last['stated_true'])} are true of their image{_n(last, 'stated_true')}."]


def _no_words(support: Support | None) -> list[str]:
    if support is None or not support.too_low:
        return []
    return [f"Only {percent(support.share)} of the bank's {support.phrases} phrases are in words that the model uses."]


def _bare(ours: Line, audit: Audit | None) -> list[str]:
    bare = [values for values in ours.rounds if (values.get("fallback_share") or 0) > BARE]
    if not bare:
        return []
    worst = max(bare, key=lambda values: values["fallback_share"])
    told = f"Of what round {worst['round']} was taught, {percent(worst['fallback_share'])} are bare label sentences"
    rejections = next((r.whole.rejections for r in (audit.rounds if audit else ()) if r.round == worst["round"]), {})
    return [f"{told} (other answers: {next(iter(rejections))})." if rejections else f"{told}."]


def _never_named(confusion: Mapping[str, Any] | None) -> list[Collapse]:
    missing = [c for c in (confusion or {}).get("never_named", ()) if c["of"] >= FEWEST]
    if not missing:
        return []
    names = [f"{c['label']} ({c['of']} images)" for c in missing[:_NAMED]]
    more = f" and {len(missing) - _NAMED} more classes" if len(missing) > _NAMED else ""
    head = f"Do not use it for {', '.join(names)}{more}."
    remedy = (
        "Look at what they are called instead under the confused classes, and at whether the names can be told apart "
        "(`seewhy data check`); then more train images of them, or more tune.epochs."
    )
    return [Collapse(head, "Not one answer names such a class.", remedy, "tune")]


def _round(ours: Line, round: int) -> Metrics | None:
    return next((values for values in ours.rounds if values["round"] == round), None)


def _n(values: Metrics, key: str) -> str:
    return f" (n {values[f'{key}_n']:,})" if f"{key}_n" in values else ""
