"""EE and CS by a language model as judge (docs/method.md, step 8), and how far it agrees with the judge-free figures.

The paper asks GPT-4o. Here any model behind an OpenAI-compatible endpoint is asked, with our own prompts
(`judge_prompts`), one question an answer.

1. EE is 1 where the judge sees a valid explanation. CS is its score from 0 to 1; an answer without an explanation has a
   CS of 0, as in the judge-free CS. `cs_explained` is over the answers with an explanation alone.
2. An answer without a verdict is missing: it is in no figure, and counted by its reason.
3. Agreement is over the answers that both judged: of EE the raw share and Cohen's kappa, of CS Spearman's rank
   correlation. None where it is not defined, as when one of them says the same of all.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.endpoint import Missing, Prices, Reply, Request, Usage, system, user
from seewhy.proof.bootstrap import estimate
from seewhy.proof.judge_prompts import EXPECTED_TOKENS, SCALE, VERDICT, instructions
from seewhy.records import Prediction

EE = Callable[[Prediction], bool]
"""The judge-free EE of one answer."""
CS = Callable[[Prediction], float | None]
"""The judge-free CS of one answer; None where it has none."""


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one answer. `cs` is between 0 and 1."""

    ee: bool
    cs: float
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, reply: Reply) -> "Verdict":
        explains = reply.value["explains"]
        return cls(explains, reply.value["score"] / SCALE if explains else 0.0, tuple(reply.value["reasons"]))


def requests(predictions: Sequence[Prediction], concepts: Mapping[str, Sequence[str]], noun: str) -> list[Request]:
    """One question an answer, under its example's id. `concepts`: example id -> the expert's list of its label."""
    told = system(instructions(noun))
    return [
        Request(p.example_id, (told, user(_material(p, concepts[p.example_id]))), VERDICT, EXPECTED_TOKENS)
        for p in predictions
    ]


def _material(prediction: Prediction, concepts: Sequence[str]) -> str:
    material = {"question": prediction.query, "answer": prediction.text, "expert_features": list(concepts)}
    return json.dumps(material, ensure_ascii=False, indent=1)


def sample(ids: Sequence[str], limit: int | None, seed: int) -> list[str]:
    """At most `limit` of the ids, the same ones each time and for every model, in their order."""
    if limit is None or limit >= len(ids):
        return list(ids)
    drawn = sorted(ids, key=lambda name: hashlib.sha256(f"{seed}\0judge\0{name}".encode()).digest())[:limit]
    chosen = set(drawn)
    return [name for name in ids if name in chosen]


def figures(
    predictions: Sequence[Prediction],
    replies: Mapping[str, Reply | Missing],
    ee: EE,
    cs: CS | None,
    *,
    resamples: int,
    seed: int,
    prices: Prices | None = None,
    groups: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The figures of one model. `replies`: example id -> what came back; `groups`: example id -> the lesion, patient or
    leaf that its image shows, where that is known, over which the intervals then are.

    n (judged), missing (reason -> answers); ee, cs and cs_explained with intervals over images; judge_free, ee and cs
    of the same answers without a judge; agreement; tokens, and cost where there are prices. A figure of which nothing
    was judged is not there.
    """
    judged = {p.example_id: Verdict.of(r) for p in predictions if isinstance(r := replies[p.example_id], Reply)}
    missing = Counter(r.reason for p in predictions if isinstance(r := replies[p.example_id], Missing))
    used = [r.usage for p in predictions if isinstance(r := replies[p.example_id], Reply)]
    usage = sum(used, Usage())
    verdicts = list(judged.values())
    explained = [float(v.ee) for v in verdicts]
    scores = [v.cs for v in verdicts]
    ones = [1.0] * len(verdicts)
    clusters = [groups.get(name, name) for name in judged] if groups else None
    settings: Any = {"resamples": resamples, "seed": seed, "clusters": clusters}
    found: dict[str, Any] = {"n": len(judged), "missing": dict(sorted(missing.items()))}
    found |= estimate("ee", explained, ones, **settings)
    found |= estimate("cs", scores, ones, **settings)
    found |= estimate("cs_explained", scores, explained, **settings)
    answers = [p for p in predictions if p.example_id in judged]
    found["judge_free"] = estimate("ee", [float(ee(p)) for p in answers], ones, **settings)
    if cs is not None:
        own = [cs(p) for p in answers]
        there = [float(value is not None) for value in own]
        found["judge_free"] |= estimate("cs", [value or 0.0 for value in own], there, **settings)
    found["agreement"] = agreement(answers, judged, ee, cs)
    found["tokens"] = usage.as_dict()
    found["cost"] = None if prices is None else prices.cost(usage)
    return found


def agreement(
    predictions: Sequence[Prediction], judged: Mapping[str, Verdict], ee: EE, cs: CS | None
) -> dict[str, dict[str, float | int | None]]:
    """The judge against the judge-free figures, over the answers that have both."""
    pairs = [(judged[p.example_id].ee, ee(p)) for p in predictions]
    found: dict[str, dict[str, float | int | None]] = {"ee": {"n": len(pairs), **_ee_agreement(pairs)}}
    if cs is not None:
        values = [(judged[p.example_id].cs, value) for p in predictions if (value := cs(p)) is not None]
        found["cs"] = {"n": len(values), "spearman": spearman([a for a, _ in values], [b for _, b in values])}
    return found


def _ee_agreement(pairs: Sequence[tuple[bool, bool]]) -> dict[str, float | None]:
    if not pairs:
        return {"raw": None, "kappa": None}
    return {"raw": sum(a == b for a, b in pairs) / len(pairs), "kappa": kappa(pairs)}


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Cohen's kappa of two judges; None where chance alone would have them agree throughout."""
    total = len(pairs)
    first, second = sum(a for a, _ in pairs) / total, sum(b for _, b in pairs) / total
    expected = first * second + (1 - first) * (1 - second)
    observed = sum(a == b for a, b in pairs) / total
    return None if expected == 1 else (observed - expected) / (1 - expected)


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None for fewer than three values, or where one side is constant."""
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    from scipy.stats import spearmanr  # comes with sentence-transformers

    return float(spearmanr(first, second).statistic)  # pyright: ignore[reportAttributeAccessIssue]
