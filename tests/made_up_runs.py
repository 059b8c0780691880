"""Figures, galleries and run folders that no model made, for the tests of the page."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from seewhy.report.page import Extras, build_page
from seewhy.report.table import Line, lines
from seewhy.results import Confusion, Gallery, Metrics
from seewhy.results_json import decode

TRUTH = ("stated_true", "stated_hidden", "stated_wrong", "stated_false")
EVIL = '<script>alert("x")</script>\'"--></title><img src=x onerror=alert(1)>'
QUESTION = "Based on the visual content, what is the specific name of this bird? Provide an explanation."
CONCEPTS = ("red crown", "long pointed tail", "white wing bar", "short thick bill")


def model(
    round: int | None, accuracy: float, ee: float, truth: tuple[float, ...] | None, cs: float | None = None
) -> dict[str, Any]:
    """The figures of one model on 480 images. `truth`: shares of reasons true, hidden, wrong, false."""
    values: dict[str, Any] = {"split": "test", "n": 480, "answers": 480} | ({"round": round} if round else {})
    figures = {"accuracy": accuracy, "accuracy_lenient": min(1, accuracy + 0.02), "ee": ee}
    figures |= dict(zip(TRUTH, truth, strict=True)) if truth else {}
    figures |= {} if cs is None else {"cs": cs}
    for key, value in figures.items():
        values |= {key: value, f"{key}_interval": [max(0, value - 0.024), min(1, value + 0.024)]}
    return values


def metrics(*, truth: bool = True, arms: bool = False) -> dict[str, Any]:
    """Three rounds beside NL; with `arms` beside every control, with CS."""

    def shares(*values: float) -> tuple[float, ...] | None:
        return values if truth else None

    def cs(value: float) -> float | None:
        return value if arms else None

    first = model(1, 0.712, 0.998, shares(0.931, 0.022, 0.047, 0.069), cs(0.71))
    if truth:
        first |= {"selection_precision": 0.943, "selection_precision_interval": [0.93, 0.95], "selection_recall": 0.41}
        first |= {"selection_precision_whole_list": 0.682}
    found = {
        "base": model(None, 0.004, 0.91, shares(0.71, 0.07, 0.22, 0.29), cs(0.33)),
        "rounds": [
            first,
            model(2, 0.894, 1.0, shares(0.958, 0.016, 0.026, 0.042), cs(0.79)),
            model(3, 0.931, 1.0, shares(0.967, 0.014, 0.019, 0.033), cs(0.82)),
        ],
        "nl": [model(r, a, 0.0, None, cs(0.0)) for r, a in ((1, 0.74), (2, 0.885), (3, 0.902))],
    }
    if arms:
        found["lge"] = [
            model(r, a, 1.0, shares(0.69, 0.2, 0.11, 0.31), 0.52) for r, a in ((1, 0.6), (2, 0.79), (3, 0.81))
        ]
        found["unfiltered"] = [
            model(2, 0.82, 0.99, shares(0.9, 0.05, 0.05, 0.1), 0.7),
            model(3, 0.78, 0.98, shares(0.88, 0.06, 0.06, 0.12), 0.66),
        ]
        found["class_level"] = [
            model(r, a, 1.0, shares(0.75, 0.15, 0.1, 0.25), 0.55) for r, a in ((1, 0.65), (2, 0.86), (3, 0.9))
        ]
    return found


def compared() -> dict[str, Any]:
    """comparison.json's value over two seeds."""

    def seeds(values: dict[str, Any]) -> dict[str, Any]:
        figures = {k: v for k, v in values.items() if isinstance(v, float)}
        spread = {k: [max(0, v - 0.01), min(1, v + 0.01)] for k, v in figures.items()}
        return figures | {f"{k}_{kind}": bounds for kind in ("seeds", "interval") for k, bounds in spread.items()}

    made = metrics(arms=True)
    arms = {arm: [seeds(values) for values in rounds] for arm, rounds in made.items() if arm != "base"}
    arms["unfiltered"].insert(0, arms["rounds"][0])
    minus = {
        arm: {"accuracy": [0.03, -0.004, 0.06], "stated_true": [0.2, 0.18, 0.22]} for arm in arms if arm != "rounds"
    }
    return {
        "split": "test", "seeds": [3, 4], "rounds": 3, "base": seeds(made["base"]), "rounds_of": arms,
        "ours_minus": minus,
    }  # fmt: skip


def item(
    image: str,
    label: str,
    *,
    truth: bool = True,
    correct: bool = True,
    reasons: int = 3,
    verdicts: tuple[str, ...] = (),
) -> dict[str, Any]:
    """An image of the gallery, with the answers of the base, of two rounds and of NL."""
    verdicts = verdicts or (("true", "hidden", "false", "true") if truth else ("unverified",) * 4)
    stated = [{"concept": c, "verdict": v} for c, v in zip(CONCEPTS[:reasons], verdicts, strict=False)]
    text = f"This is a {label}. It has a red crown, a long pointed tail and a white wing bar."
    return {
        "id": f"test/{label}/0",
        "image": image,
        "label": label,
        "question": QUESTION,
        "answers": [
            {"model": "nl/round 3", "text": f"This is a {label}.", "correct": True, "stated": []},
            {"model": "base", "text": "A bird with a red crown.", "correct": False, "stated": stated[:1]},
            {"model": "round 1", "text": "Said after round one.", "correct": False, "stated": []},
            {"model": "round 3", "text": text, "correct": correct, "stated": stated},
        ],
    }


def pair(image: str, label: str, named: str, count: int = 4, *, alike: bool = False) -> dict[str, Any]:
    return {
        "label": label, "named": named, "count": count, "of": 20, "shared": 11, "id": f"test/{label}/1", "image": image,
        "only_label": [] if alike else ["plain bill", "red crown"], "only_named": [] if alike else ["yellow crown"],
        "text": f"This is a {named}: it has a red crown.", "stated": [{"concept": "red crown", "verdict": "true"}],
    }  # fmt: skip


def mistakes(*pairs: dict[str, Any]) -> dict[str, Any]:
    """confusion.json's value."""
    other = sum(pair["count"] for pair in pairs)
    return {
        "model": "round 3", "answers": 480, "wrong": other + 3, "names_none": 2, "names_several": 1,
        "names_other": other, "own_reasons": other,
        "pairs_in_all": len(pairs), "pairs": list(pairs),
    }  # fmt: skip


def picture(path: Path, size: tuple[int, int] = (900, 600)) -> str:
    Image.new("RGB", size, (120, 90, 60)).save(path)
    return str(path)


def write_run(run: Path, figures: dict[str, Any], gallery: list[dict[str, Any]], **more: Any) -> Path:
    """A run folder with metrics.json, gallery.json, config.yaml and what else is named (`confusion=...`)."""
    run.mkdir(parents=True, exist_ok=True)
    for name, value in {"metrics": figures, "gallery": gallery, **more}.items():
        (run / f"{name}.json").write_text(json.dumps(value))
    (run / "config.yaml").write_text("output: runs/birds\nseed: 11\n")
    return run


def html(
    figures: dict[str, Any],
    gallery: list[dict[str, Any]],
    *,
    confusion: dict[str, Any] | None = None,
    extras: Extras | None = None,
    **more: Any,
) -> str:
    """The page of values as their files hold them."""
    extras = replace(extras or Extras(), confusion=decode(Confusion, confusion) if confusion else None)
    metrics, cards = decode(Metrics, figures), decode(Gallery, {"cards": gallery}).cards
    return build_page(metrics, cards, extras=extras, **more)


def arms_of(figures: dict[str, Any]) -> list[Line]:
    """The arms of metrics.json's value."""
    return lines(decode(Metrics, figures))
