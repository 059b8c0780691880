"""`seewhy general RUN`: what a run's models could do before, and can still do. Written to RUN/general.json.

With the shipped base: the questions that it was taught, about drawings of birds and of produce (fieldguide/quiz.py),
put to the base and to the model of every round; differences to the base are paired by drawing. With any other model:
benchmarks, by lmms-eval, on the base and on the last model.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seewhy import lmms_eval
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.quiz import ATTRIBUTES, Sheet, Subject, sheets
from seewhy.progress import say
from seewhy.proof.explanation import StatedConcepts
from seewhy.proof.general import Scores, count_sheet, score_changes
from seewhy.proof.tally import Tally, differences, shares
from seewhy.run_models import BASE_KEY, Asked, RunModel, measured_before, round_models, run_models
from seewhy.storage import write_atomically

FILE = "general.json"
SUFFIXES: dict[Subject, str] = {"bird": "", "produce": "_produce"}


def general(
    run: str, *, split: str | None = None, images: int = 96, arms: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Ask the base, the model of each round, and the last model of each other of the `arms` about drawings.

    `images` drawings of birds and as many of produce; `split` is by default the one that the run is measured on.
    Returns what the file then holds. A model that was asked the same before is not asked again. Raises SeeWhyError for
    a folder without a run or a model, and for a run of another base.
    """
    if images < 1:
        raise SeeWhyError(f"--images is {images}, but at least 1 drawing of each kind is needed.")
    config, last = run_models(run, arms_wanted=arms, trust_remote_code=False)
    if config.model.name_or_path != "fieldguide":
        raise SeeWhyError(
            f"{run} was not made from the base that is shipped, which was taught the questions about drawings."
            f" Name benchmarks: seewhy general {run} --tasks mmmu_val,mmstar"
        )
    _, base = run_models(run, arms_wanted=[BASE_KEY], trust_remote_code=False)
    models = {m.name: m for m in (*base.values(), *round_models(run).values(), *last.values())}
    split = split or config.evaluate.split
    settings = {"split": split, "images": images, "seed": seed, "resamples": config.evaluate.bootstrap}
    file = Path(run) / FILE
    done = measured_before(file, settings)
    quiz: dict[Subject, list[Sheet]] = {subject: sheets(subject, split, images, seed) for subject in SUFFIXES}
    for name, model in models.items():
        if done.get(name, {}).get("weights") == model.digest:
            say(f"{name}: asked before")
            continue
        counts = _ask(Asked(config, model), quiz, name).counts
        measured = {"resamples": config.evaluate.bootstrap, "seed": seed}
        done[name] = {
            "arm": model.arm, "weights": model.digest, "figures": shares(counts, **measured), "counts": counts,
        }  # fmt: skip
        if name != BASE_KEY:
            before = done[BASE_KEY]["counts"]
            done[name]["minus_base"] = differences(list(before), [counts], [before], **measured)
        _write(file, {**settings, "models": done})
    found = {**settings, "models": {name: done[name] for name in models}}
    _write(file, found)
    return _read(file)


def benchmarks(
    run: str, tasks: Sequence[str], *, command: str | None = None, kind: str | None = None,
    arms: Sequence[str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """lmms-eval's `tasks` on the base and on the last model of each of the `arms`; returns what the file then holds.

    `command` starts lmms-eval, `kind` is its name for what loads the model. Raises SeeWhyError where it is not
    installed, does not know a task, or fails.
    """
    if not tasks:
        raise SeeWhyError(
            "--tasks names no task; name some: --tasks mmmu_val,mmstar,mmbench_en_dev,mme,seedbench_2_plus"
        )
    starts = lmms_eval.find_command(command)
    _, base = run_models(run, arms_wanted=[BASE_KEY], trust_remote_code=False)
    _, tuned = run_models(run, arms_wanted=arms, trust_remote_code=False)
    models: list[RunModel] = [*base.values(), *tuned.values()]
    kind = kind or lmms_eval.model_kind(models[-1], None)
    folder = Path(run) / "general"
    found: dict[str, Scores] = {m.name: lmms_eval.scores(m, tasks, starts, kind, folder) for m in models}
    before = found[BASE_KEY]
    scored = {
        name: {
            "scores": {key: score for key, (score, _) in of.items()},
            **({"minus_base": score_changes(before, of)} if name != BASE_KEY else {}),
        }
        for name, of in found.items()
    }
    file = Path(run) / FILE
    _write(file, {"lmms_eval": {"tasks": list(tasks), "models": scored}})
    return _read(file)


def _ask(asked: Asked, quiz: dict[Subject, list[Sheet]], name: str) -> Tally:
    every = [sheet for of_kind in quiz.values() for sheet in of_kind]
    pictures = {sheet.name: sheet.image.copy for sheet in every}
    questions = {sheet.name: [question.text for question in sheet.questions] for sheet in every}
    answers = asked.answers(pictures, questions, f"{name}, questions about drawings")
    tally = Tally(max(map(len, quiz.values())))
    for subject, of_kind in quiz.items():
        attributes = ATTRIBUTES[subject]
        stated = StatedConcepts([p for a in attributes for phrases in a.values.values() for p in phrases])
        for place, sheet in enumerate(of_kind):
            count_sheet(tally, place, sheet, answers[sheet.name], attributes, stated, SUFFIXES[subject])
    return tally


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: Path, found: dict[str, Any]) -> None:
    """Put results beside those of the other kind that the file holds."""
    write_atomically(file, json.dumps({**_read(file), **found}, ensure_ascii=False).encode())
