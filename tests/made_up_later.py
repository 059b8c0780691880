"""faithfulness.json, general.json and judge.json that no model made, for the tests of the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from seewhy.proof.comparison import shares
from seewhy.results_json import encode

Hits = Mapping[str, tuple[Sequence[float], Sequence[float]]]

TESTS: dict[str, tuple[list[float], list[float]]] = {
    "counterfactual_changes": ([2, 2, 1, 2], [2, 2, 2, 2]),
    "counterfactual_changes_control": ([0, 0, 1, 0], [2, 2, 2, 2]),
    "counterfactual_follows": ([2, 1, 1, 1], [2, 2, 2, 2]),
    "survives_hidden": ([1, 0, 1, 0], [2, 2, 2, 2]),
    "survives_covered_elsewhere": ([2, 2, 2, 1], [2, 2, 2, 2]),
    "cover_gone": ([1, 2, 2, 1], [2, 2, 2, 2]),
    "cover_gone_random": ([0, 0, 0, 1], [2, 2, 2, 2]),
    "swap_reason_changes": ([5, 4, 6, 5], [6, 6, 7, 5]),
    "pointing": ([4, 5, 6, 5], [6, 6, 7, 5]),
    "pointing_chance": ([0.5, 0.5, 0.5, 0.25], [6, 6, 7, 5]),
}  # fmt: skip
FATES = ("follows", "follows", "survives", "silent", "misread", "silent")


def of_model(counts: Hits, **more: Any) -> dict[str, Any]:
    """A model's part of a file: its counts by image, and the figures that follow from them."""
    pairs = {name: [list(hits), list(of)] for name, (hits, of) in counts.items()}
    return {"weights": "0", "figures": encode(shares(counts, resamples=50, seed=0)), "counts": pairs, **more}


def trial(fate: str, number: int, bird: str = "Ivo Wren", **more: str) -> dict[str, str]:
    said = {"follows": "yellow crown", "survives": "red crown", "misread": "blue crown", "silent": "black bill"}[fate]
    return {
        "example": f"test/{bird}/{number:03d}", "reason": "red crown", "new": "yellow crown", "fate": fate,
        "answer": f"This is a {bird}: it has a red crown.", "changed": f"This is a {bird}: it has a {said}.",
        "hidden": f"This is a {bird}: it has a black bill.", **more,
    }  # fmt: skip


def faithfulness_file(counts: Hits = TESTS, **more: Any) -> dict[str, Any]:
    """Four images, of the method after round 3 and of L+GE."""
    log = [trial(fate, number) for number, fate in enumerate(FATES)]
    others = {name: ([hits[0] / 2, *hits[1:]], of) for name, (hits, of) in counts.items()}
    models = {
        "rounds": of_model(counts, model="round-3", tests=log, notes=[], effects={}),
        "lge": of_model(others, model="lge/round-3", tests=log[2:3], notes=[], effects={}),
    }
    return {"split": "test", "images": 4, "reasons": 2, "seed": 0, "resamples": 50, "models": models, **more}


def general_file(**more: Any) -> dict[str, Any]:
    """Twelve drawings of each kind: what round 1 keeps and round 3 has lost. The models stand in no order."""
    kept: Hits = {"attribute_accuracy": ([3] * 12, [3] * 12), "yes_no_accuracy_produce": ([1, 2, 1] * 4, [2] * 12)}
    lost: Hits = {"attribute_accuracy": ([0, 1, 0] * 4, [3] * 12), "yes_no_accuracy_produce": ([1, 1, 2] * 4, [2] * 12)}
    models = {
        "lge/round-3": of_model(lost, arm="lge"),
        "round-3": of_model(lost, arm="rounds", minus_base={"attribute_accuracy": [-8 / 9, -1, -0.7]}),
        "base": of_model(kept, arm="base"),
        "round-1": of_model(kept, arm="rounds"),
    }
    return {"split": "test", "images": 12, "seed": 0, "resamples": 50, "models": models, **more}


def benchmarks() -> dict[str, Any]:
    """What general.json holds of lmms-eval."""
    after = {
        "scores": {"mmmu_val/acc": 0.4, "mme/score": 1380.0},
        "minus_base": {"mmmu_val/acc": [-0.012, -0.05, 0.026], "mme/score": [-119.2]},
    }
    before = {"scores": {"mmmu_val/acc": 0.412, "mme/score": 1499.2}}
    return {"lmms_eval": {"tasks": ["mmmu_val", "mme"], "models": {"base": before, "round-3": after}}}


def judge_file(**more: Any) -> dict[str, Any]:
    agreed = {"ee": {"n": 470, "raw": 0.973, "kappa": 0.61}, "cs": {"n": 468, "spearman": -0.25}}
    of = {
        "n": 470, "missing": {"timed out": 7, "refused": 3}, "ee": 0.93, "ee_interval": [0.91, 0.95], "cs": 0.71,
        "cs_interval": [0.68, 0.74], "judge_free": {"ee": 0.998, "ee_interval": [0.99, 1.0], "cs": 0.884},
        "agreement": agreed,
    }  # fmt: skip
    older = {"n": 480, "missing": {}, "agreement": {"ee": {"n": 480, "raw": 0.5, "kappa": None}}}
    return {
        "judge": {"model": "judge-1"}, "split": "test", "images": 480, "of": 960,
        "models": {"base": older, "round-3": of}, "agreement": agreed, **more,
    }  # fmt: skip
