"""Step 8: the figures of a run's models on its evaluation split, and what CS and FS need beside the models' answers.

CS compares an answer with the concepts selected for its image. They are selected as for training (steps 1 and 2), by
the image's true label, which measures and feeds nothing: the untuned base describes the split's images, and their
concepts are scored among the training images', which serve as negatives and as the scores that the rule compares with.
So an image's selection hardly depends on which others are in its split. It is made once for all arms and rounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from seewhy.method.synthesise import fallback_share
from seewhy.proof.audit import Audit, audit
from seewhy.proof.confusion import confusion, gallery
from seewhy.proof.figures import Evidence, count_units, measure, measure_selection
from seewhy.proof.gate import judge_rounds
from seewhy.records import Answer, Prediction, Selection
from seewhy.results import Confusion, Counts, Figure, Figures, Gallery, Gate, Metrics
from seewhy.results_json import find_usable, write
from seewhy.run.finished import FinishedRun
from seewhy.run.stages import BASE, OURS, ModelKey
from seewhy.run.steps import Run


class Evaluation:
    """The measurements of one run. Answers and figures are kept in memory: a new round measures only its own models."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._settings = {"resamples": run.config.evaluate.bootstrap, "seed": run.config.seed}
        self._before = find_usable(run.folder.path / Metrics.FILE, Metrics)  # of an earlier start of the run
        self._predictions: dict[ModelKey, Sequence[Prediction]] = {}
        self._figures: dict[ModelKey, Figures] = {}
        self._selection: Mapping[str, Figure] = {}
        self._fallback_shares: dict[ModelKey, float] = {}
        self._val_counts: dict[ModelKey, Counts] = {}

    def measure(
        self,
        models: Mapping[ModelKey, Path],
        selections: Sequence[Selection],
        taught: Mapping[ModelKey, Sequence[Answer]],
        name: str = Metrics.FILE,
    ) -> Metrics:
        """Return the figures of the models so far, and write them, the images to show and the confused classes.

        Arms that an earlier start of the run left behind are among them, up to the last round of `models`.
        """
        run, domain = self._run, self._run.domain
        last_round = max((round for round in range(1, run.config.rounds + 1) if OURS.model(round) in models), default=0)
        every = {**models, **run.kept_models(last_round)}
        for model, path in every.items():
            if model not in self._figures:
                self._predictions[model] = run.predict(model, path)
                evidence = self._evidence(model)
                self._figures[model] = measure(
                    domain, self._predictions[model], run.stated, evidence, **self._settings
                )  # fmt: skip
        if selections and not self._selection:
            self._selection = measure_selection(domain, selections, **self._settings)
        for model in taught.keys() - self._fallback_shares.keys():
            self._fallback_shares[model] = fallback_share(taught[model])
        before = self._before if name == Metrics.FILE else None
        arms = {}
        for arm in run.shown_arms:
            trained = {figures.round: figures for figures in (before.arms.get(arm.key, ()) if before else ())}
            arms[arm.key] = tuple(
                _in_round(
                    self._figures[model], round, self._selection if arm == OURS and selections else {},
                    (len(taught[model]), self._fallback_shares[model]) if model in taught else None, trained.get(round),
                )
                for round in range(1, run.config.rounds + 1)
                if (model := arm.model(round)) in every
            )  # fmt: skip
        metrics = Metrics(self._figures[BASE], arms)
        run.folder.check_held()
        write(run.folder.path / name, metrics)
        own = [model for model in every if model == BASE or model.is_methods]
        last = {model.arm: model for model in every if model not in own}
        answers = {model.title: self._predictions[model] for model in [*last.values(), *own]}
        stem = name.removeprefix("metrics")
        write(run.folder.path / f"{Path(Gallery.FILE).stem}{stem}", gallery(domain, answers, run.stated))
        title = own[-1].title
        write(
            run.folder.path / f"{Path(Confusion.FILE).stem}{stem}", confusion(domain, title, answers[title], run.stated)
        )
        return metrics

    def gate(self, models: Mapping[ModelKey, Path]) -> Gate | None:
        """Return and write what the gate says after the rounds so far; None without validation images."""
        run = self._run
        if not run.domain.split("val"):
            return None
        rounds = [OURS.model(round) for round in range(1, run.config.rounds + 1) if OURS.model(round) in models]
        for model in rounds:
            if model not in self._val_counts:
                selected = run.selected("val") if run.config.evaluate.consistency else None
                predictions = run.predict(model, models[model], "val")
                self._val_counts[model] = count_units(run.domain, predictions, run.stated, Evidence(selected))
        found = judge_rounds([self._val_counts[m] for m in rounds], **self._settings, planned=run.config.rounds)
        run.folder.check_held()
        write(run.folder.path / Gate.FILE, found)
        return found

    def counts(self) -> dict[ModelKey, Counts]:
        """Return the counts of every model of a finished run: figure -> (hits, totals), with one number per image.

        One number per lesion, patient or leaf, where the domain names them.
        """
        run, found = self._run, {}
        for model, path in run.models.items():
            self._predictions[model] = run.predict(model, path)
            found[model] = count_units(run.domain, self._predictions[model], run.stated, self._evidence(model))
        return found

    def _evidence(self, model: ModelKey) -> Evidence:
        fluency = self._run.config.evaluate.fluency
        likelihoods = self._run.likelihoods(model, self._predictions[model]) if fluency else None
        return Evidence(self._selected, likelihoods)

    @cached_property
    def _selected(self) -> Mapping[str, Sequence[str]] | None:
        settings = self._run.config.evaluate
        return self._run.selected(settings.split) if settings.consistency else None


def write_audit(run: str) -> Audit:
    """Return the audit of a run's training data, which is also written to RUN/audit.json, atomically."""
    found = audit(FinishedRun.open(run))
    write(Path(run) / Audit.FILE, found)
    return found


def _in_round(
    figures: Figures,
    round: int,
    selection: Mapping[str, Figure],
    taught: tuple[int, float] | None,
    before: Figures | None,
) -> Figures:
    """Return a model's figures with its round, the selection's figures, and counts of its training answers.

    These are the number and the fallback share of what it was `taught`, or else those of an earlier start of the run.
    """
    found = replace(figures, figures={**figures.figures, **selection}, round=round)
    if taught is not None:
        return replace(found, training_answers=taught[0], fallback_share=taught[1])
    if before is not None:
        return replace(found, training_answers=before.training_answers, fallback_share=before.fallback_share)
    return found
