"""Step 8: the figures of a run's models on its evaluation split, and what CS and FS need beside the models' answers.

CS holds an answer to the concepts selected for its image. They are selected as for training (steps 1 and 2), by the
image's true label, which measures and feeds nothing: the untuned base describes the split's images, and their concepts
are scored among the training images', which serve as negatives and as what the rule compares a score with. So an
image's selection hardly depends on which others happen to be in its split, and a split of two images a class is judged
as surely as a large one. It is made once for all arms and rounds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seewhy.domain.images import load_image
from seewhy.method import synthesise
from seewhy.proof import figures
from seewhy.proof.audit import Audit, audit, audit_json
from seewhy.proof.comparison import Counts
from seewhy.proof.confusion import confusion, gallery
from seewhy.proof.gate import FILE, Gate, judge_rounds
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Answer, Example, Likelihood, Prediction, Selection, Turn
from seewhy.run.finished import FinishedRun
from seewhy.run.stages import BASE, OURS, ModelKey, StageKey
from seewhy.run.steps import Run
from seewhy.run.storage import write_atomically
from seewhy.vlm.loss import answer_likelihoods


def likelihoods(run: Run, model: ModelKey, predictions: Sequence[Prediction]) -> list[Likelihood]:
    """How likely the untuned base finds a model's answers, for FS."""
    split, settings = run.config.evaluate.split, run.config.model
    answered = {p.example_id: p for p in predictions}

    def work(examples: Sequence[Example], _seed: int) -> list[Likelihood]:
        found = [answered[e.id] for e in examples]
        turns = [Turn(e.id, run.domain.path(e), p.query, p.text) for e, p in zip(examples, found, strict=True)]
        base = run.loaded.in_process(run.base).vlm
        scored = answer_likelihoods(base, turns, settings.batch_size, load_image, share_image=settings.share_image)
        return [Likelihood(turn.id, nats, tokens) for turn, (nats, tokens) in zip(turns, scored, strict=True)]

    return run.folder.records(
        run.stages[StageKey("likelihoods", model, split)], Likelihood, run.domain.split(split), work
    )


def evidence(run: Run, predictions: Mapping[ModelKey, Sequence[Prediction]]) -> dict[ModelKey, dict[str, Any]]:
    """Model -> what proof.evaluate takes beside its answers; None stands for what the settings leave out."""
    settings = run.config.evaluate
    selected = run.shown(settings.split) if settings.consistency else None
    return {
        name: {"selected": selected, "likelihoods": likelihoods(run, name, p) if settings.fluency else None}
        for name, p in predictions.items()
    }


def count(run: Run) -> dict[ModelKey, Counts]:
    """Of a finished run: model -> figure -> (hits, of), each with a number an image of `evaluate.split`, or a lesion,
    patient or leaf, where the domain knows them."""
    stated = StatedConcepts.of(run.domain)
    predictions = {model: run.predict(model, path) for model, path in run.models.items()}
    beside = evidence(run, predictions)
    return {m: figures.count_units(run.domain, p, stated, **beside[m]) for m, p in predictions.items()}


def measure(
    run: Run,
    models: Mapping[ModelKey, Path],
    selections: Sequence[Selection],
    taught: Mapping[ModelKey, Sequence[Answer]],
    name: str = "metrics.json",
) -> dict[str, Any]:
    """The figures of the models there are so far, and the images to show; written to the run folder.

    Arms that an earlier start of the run left behind are among them, up to the last round of `models`.
    """
    last_round = max((round for round in range(1, run.config.rounds + 1) if OURS.model(round) in models), default=0)
    models = {**models, **run.kept_models(last_round)}
    before = _counted_before(run.figures_before) if name == "metrics.json" else {}
    resamples, seed = run.config.evaluate.bootstrap, run.config.seed
    domain, stated = run.domain, StatedConcepts.of(run.domain)
    predictions = {model: run.predict(model, path) for model, path in models.items()}
    beside = evidence(run, predictions)
    measured = {
        m: figures.measure(domain, p, domain.matcher, stated, **beside[m], resamples=resamples, seed=seed)
        for m, p in predictions.items()
    }
    chosen = figures.measure_selection(domain, selections, resamples=resamples, seed=seed) if selections else {}
    metrics: dict[str, Any] = {"base": measured[BASE]}
    for arm in run.shown_arms:
        metrics[arm.key] = [
            {
                "round": round,
                **measured[model],
                **(chosen if arm == OURS else {}),
                **(_counts(taught.get(model)) or before.get((arm.key, round), {})),
            }
            for round in range(1, run.config.rounds + 1)
            if (model := arm.model(round)) in measured
        ]
    run.folder.write_json(name, metrics)
    own = [model for model in predictions if model == BASE or model.is_methods]
    last = {model.arm: model for model in predictions if model not in own}
    answers = {model.title: predictions[model] for model in [*last.values(), *own]}
    run.folder.write_json(name.replace("metrics", "gallery"), gallery(domain, answers, domain.matcher, stated))
    mistakes = confusion(domain, predictions[own[-1]], domain.matcher, stated)
    run.folder.write_json(name.replace("metrics", "confusion"), {"model": own[-1].title, **mistakes})
    return metrics


def gate(run: Run, models: Mapping[ModelKey, Path]) -> Gate | None:
    """The gate after the rounds there are so far, also written to the run folder; None without validation images."""
    if not run.domain.split("val"):
        return None
    stated = StatedConcepts.of(run.domain)
    selected = run.shown("val") if run.config.evaluate.consistency else None
    rounds = [OURS.model(round) for round in range(1, run.config.rounds + 1) if OURS.model(round) in models]
    predictions = [run.predict(name, models[name], "val") for name in rounds]
    counted = [figures.count_units(run.domain, p, stated, selected=selected) for p in predictions]
    found = judge_rounds(
        counted, resamples=run.config.evaluate.bootstrap, seed=run.config.seed, planned=run.config.rounds
    )
    run.folder.write_json(FILE, found.record())
    return found


def write_audit(run: str) -> Audit:
    """Return the audit of a run's training data, which is also written to RUN/audit.json, atomically."""
    found = audit(FinishedRun.open(run))
    write_atomically(Path(run) / "audit.json", (audit_json(found) + "\n").encode())
    return found


def _counted_before(found: Mapping[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    """(arm, round) -> the counts of its training answers, as the figures of an earlier start have them."""
    keys = ("training_answers", "fallback_share")
    return {
        (arm, values["round"]): {key: values[key] for key in keys if key in values}
        for arm, rounds in found.items() if isinstance(rounds, list)
        for values in rounds
    }  # fmt: skip


def _counts(taught: Sequence[Answer] | None) -> dict[str, Any]:
    """How many answers a model was taught in its round, and the share of them that were plain label sentences."""
    if taught is None:
        return {}
    return {"training_answers": len(taught), "fallback_share": synthesise.fallback_share(taught)}
