"""The one way to open a run after it has been made.

    run = FinishedRun.open("runs/fieldguide")
    run.config, run.domain, run.metrics, run.best_round
    run.records(StageKey("select"), Selection)
    model = run.load(run.method_model())

A run folder may come from anybody: it is read and never obeyed. Whoever opens it decides on the command line what may
run code, start a program or send images to a server (`model.trust_remote_code`, `model.engine`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from seewhy.config import DataConfig, EngineConfig, RunConfig
from seewhy.domain.concepts import ConceptBank
from seewhy.domain.corrections import Corrections, for_measuring
from seewhy.domain.domain import Domain, Vocabulary, list_examples, load_domain
from seewhy.domain.image_index import IMAGES_FILE, ImageIndex
from seewhy.domain.labels import LabelMatcher
from seewhy.domain.loaders import Row
from seewhy.domain.questions import Questions
from seewhy.domain.verdicts import read_verdicts, verdicts_file
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide
from seewhy.records import Correction, Selection
from seewhy.results import Gate, Metrics
from seewhy.results_json import find
from seewhy.run.correcting import corrected
from seewhy.run.folder import check_stage_folder, read_manifest, read_records, read_shards
from seewhy.run.progress import say
from seewhy.run.sources import base_source, made_base_source
from seewhy.run.stages import ARMS, BASE, METHOD, OURS, ModelKey, StageKey, arms, is_complete
from seewhy.run.storage import inside, refuse_links, weights_digest
from seewhy.settings import restore_config

if TYPE_CHECKING:
    from PIL.Image import Image

    from seewhy.explanation.asking import Asker
    from seewhy.explanation.explained import Explanation
    from seewhy.vlm.model import VisionLanguageModel

R = TypeVar("R")
SELECT = StageKey("select")
AGAIN = "Start the run again: it goes on where it stopped."
_STATING_REASONS = (METHOD, "lge")
"""The arms whose answers state concepts."""


class FinishedRun:
    """A run folder and what has been made in it so far. Opening it reads the manifest; the rest is read when used.

    Example:
        >>> finished = seewhy.FinishedRun.open("runs/birds")
        >>> finished.config.rounds, len(finished.labels), sorted(set(finished.labels.values()))
        (1, 18, ['Crow', 'Fish Crow', 'Red-crested Finch'])
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], recorded: RunConfig, config: RunConfig) -> None:
        self.path = path
        self.manifest = manifest
        self.recorded = recorded
        """The settings in the manifest, with all that could run code."""
        self.config = config
        """The same, with only what the caller allows to run code or ask a server."""
        self._warn_of_code = recorded.model.trust_remote_code

    @classmethod
    def open(
        cls, path: str | Path, *, trust_remote_code: bool | None = None, engine: EngineConfig | None = None
    ) -> "FinishedRun":
        """Open a run folder.

        Code that comes with the model is run only with `trust_remote_code`, and a server is asked only with `engine`,
        whatever the folder says. Raises SeeWhyError where there is no run, or one of a version that cannot be read.
        """
        path = Path(path)
        refuse_links(path)
        manifest = read_manifest(path)
        if not (settings := manifest.get("config")):
            raise SeeWhyError(
                f"{path} is no run folder: it has no manifest. Start a run with `seewhy run CONFIG.yaml`."
            )
        try:
            recorded = restore_config(settings)
        except SeeWhyError as error:
            version = manifest.get("versions", {}).get("seewhy", "of an unknown version")
            raise SeeWhyError(f"{path} was made by SeeWhy {version}, whose settings cannot be read. {error}") from error
        model = replace(recorded.model, trust_remote_code=bool(trust_remote_code), engine=engine or EngineConfig())
        run = cls(path, manifest, recorded, replace(recorded, model=model, output=str(path)))
        run._warn_of_code = recorded.model.trust_remote_code and trust_remote_code is None
        return run

    # The data.

    @cached_property
    def data(self) -> DataConfig:
        """The settings that read the run's data: for the built-in domain, those of its drawings in the run folder."""
        return with_guide(self.config.data, self.path / "fieldguide")

    @cached_property
    def domain(self) -> Domain:
        """The data set as it is now, with every image checked that has changed since the run last saw it; the bank as
        the run had it corrected, and what people have said of other images than train as truth."""
        loaded = load_domain(self.data, index=ImageIndex(inside(self.path, IMAGES_FILE)))
        return for_measuring(read_verdicts(self.verdicts_file), self.corrections.domain(loaded))

    @cached_property
    def _listed(self) -> tuple[Path, Mapping[str, Row]]:
        try:
            return list_examples(self.data)
        except SeeWhyError as error:
            raise SeeWhyError(f"The data that {self.path} was made from cannot be read. {error}") from error

    @property
    def examples(self) -> Mapping[str, Row]:
        """Example id -> image, label, split and group. No image is opened."""
        return self._listed[1]

    @property
    def image_folder(self) -> Path:
        """The absolute folder of the images."""
        return self._listed[0]

    @property
    def labels(self) -> dict[str, str]:
        """Example id -> label."""
        return {name: row.label for name, row in self.examples.items()}

    @property
    def groups(self) -> dict[str, str]:
        """Example id -> the lesion, patient or leaf that its image shows, where that is known."""
        return {name: row.group for name, row in self.examples.items() if row.group}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The labels, aliases and concepts that the run was made with, although the data may have changed since."""
        return Vocabulary.of_run(self.path, self.data)

    @property
    def bank(self) -> ConceptBank:
        """The concept bank of the vocabulary."""
        return self.vocabulary.bank

    @property
    def matcher(self) -> LabelMatcher:
        """The label matcher of the vocabulary."""
        return self.vocabulary.matcher

    @property
    def verdicts_file(self) -> Path:
        """Where people's verdicts on this run are kept."""
        return verdicts_file(self.config.data, self.path)

    @cached_property
    def corrections(self) -> Corrections:
        """What people's verdicts had corrected when the run was made."""
        if not self.is_complete(key := StageKey("verdicts")):
            return Corrections()
        return Corrections.of_records(self.complete_records(key, Correction))

    @cached_property
    def questions(self) -> Questions:
        """The questions that were put to the models."""
        return Questions.for_noun(self.data.noun, self.data.questions)

    # The stages.

    def is_complete(self, key: StageKey) -> bool:
        """Return whether every record, or the whole folder, of a stage is there."""
        return is_complete(self.manifest, key)

    def fingerprint(self, key: StageKey) -> str | None:
        """Return the digest of all that a stage was made from, or None where it has not begun."""
        return self.manifest.get("stages", {}).get(str(key), {}).get("fingerprint")

    def records(self, key: StageKey, record: type[R]) -> list[R]:
        """Return a stage's records in order, as far as it has come."""
        return read_shards(self.path, str(key), record)

    def complete_records(self, key: StageKey, record: type[R]) -> list[R]:
        """Return all records of a stage. Raises SeeWhyError where some are not made yet."""
        return read_records(self.path, str(key), record)

    def selections(self, key: StageKey = SELECT) -> list[Selection]:
        """Return the selection that the run learnt from: of the train images as people have corrected it."""
        edited = StageKey("reselect")
        if key == SELECT and self.corrections.reworded and self.is_complete(edited):
            key = edited
        found = self.records(key, Selection)
        return corrected(found, self.corrections, self.labels, self.config.select) if key.split == "train" else found

    # The models.

    @property
    def base(self) -> Path:
        """The untuned model: a folder, or a name on the Hub."""
        return base_source(self.config.model.name_or_path)

    @cached_property
    def models(self) -> Mapping[ModelKey, Path]:
        """The models that are there, by round: the base, then the method's and the controls' after each round."""
        found = [key for arm in ARMS for key in self._rounds_of(arm)]
        ordered = sorted(found, key=lambda key: (key.round, list(ARMS).index(key.arm)))
        return {BASE: self.base, **{key: model_path(self.path, key) for key in ordered}}

    @property
    def rounds(self) -> list[int]:
        """The rounds after which the method has a model."""
        return [key.round for key in self.models if key.is_methods]

    @property
    def best_round(self) -> int:
        """The round that the gate found best; without a gate, the last one that has a model, of those that the settings
        ask for: they may have been lowered. Raises SeeWhyError where there is no tuned model."""
        rounds = self._tuned_rounds()
        last = max([round for round in rounds if round <= self.config.rounds] or rounds)
        return self.gate.best if self.gate else last

    def _tuned_rounds(self) -> list[int]:
        if not self.rounds:
            raise SeeWhyError(
                f"{self.path} has no tuned model yet: start its run again, or ask the untuned one with --base."
            )
        return self.rounds

    def method_model(self, round: int | None = None) -> ModelKey:
        """Return the method's model after a round, by default the best one. Raises SeeWhyError where it is missing."""
        key = OURS.model(self.best_round if round is None else round)
        if key not in self.models:
            listed = ", ".join(map(str, self._tuned_rounds()))
            raise SeeWhyError(f"{self.path} has no model of round {key.round}; it has those of round {listed}.")
        return key

    def arm_models(self, wanted: Sequence[str] | None = None, round: int | None = None) -> dict[str, ModelKey]:
        """Return a model for each arm: that of `round`, or else of the best round or the nearest one before it.

        `wanted` are keys of arms, "base" among them; by default the method and, if the run has it, L+GE: the arms that
        state reasons. Controls without such a model are left out. Raises SeeWhyError for an arm that the run does not
        have, and where the method itself is wanted and has no model.
        """
        known = {arm.key: arm for arm in arms(self.config)}
        if wanted is None:
            wanted = [key for key in _STATING_REASONS if key in known]
        if unknown := [key for key in wanted if key not in known and key != BASE.arm]:
            there = ", ".join([BASE.arm, *known])
            raise SeeWhyError(f"{self.path} has no arm {unknown[0]!r}; it has {there}. See --arms.")
        last = self.gate.best if self.gate else self.config.rounds
        rounds = range(last, 0, -1) if round is None else (round,)
        found: dict[str, ModelKey] = {}
        for key in wanted:
            if key == BASE.arm:
                found[key] = BASE
            elif key == METHOD:
                found[key] = self.method_model(round)
            elif there := [model for r in rounds if (model := known[key].model(r)) in self.models]:
                found[key] = there[0]
        return found

    def all_models(self) -> dict[ModelKey, Path]:
        """Return every model of a run that has ended. Raises SeeWhyError naming the first one that is missing."""
        last = (self.gate and self.gate.stopped_after) or self.config.rounds
        planned = {arm.model(round) for round in range(1, last + 1) for arm in arms(self.config)}
        if missing := sorted(planned - self.models.keys(), key=lambda key: (key.round, str(key))):
            raise SeeWhyError(
                f"{self.path} has no model {missing[0]} yet; start its run again: it goes on where it stopped."
            )
        return {key: self.whole(key) for key in self.models if key.round <= last}

    def whole(self, key: ModelKey) -> Path:
        """Return a model's folder. Raises SeeWhyError naming the file of a tuned one that is missing or damaged."""
        if key != BASE:
            entry = self.manifest.get("stages", {}).get(str(StageKey("model", key)), {})
            check_stage_folder(self.models[key].parent, entry)
        return self.models[key]

    def adapters(self, round: int) -> list[Path]:
        """Return the adapters that made the method's model after a round, in order: each is relative to the model that
        the ones before it made of the base."""
        first = round if self.config.start_from == "base" else 1
        return [self.whole(OURS.model(r)).with_name("adapter") for r in range(first, round + 1)]

    def load(self, key: ModelKey) -> "VisionLanguageModel":
        """Load a model in this process, as the run itself does. Raises SeeWhyError where it cannot be loaded."""
        from seewhy.run import models  # torch takes seconds to import

        self._say_code_is_not_run()
        if key == BASE:
            made_base_source(self.config.model.name_or_path)
        return models.load_model(self.config.model, self.whole(key), untuned=key == BASE)

    def explain(
        self, image: "str | Path | Image", *, round: int | None = None, base: bool = False, samples: int = 8
    ) -> "Explanation":
        """Name what an image shows and say why, with the best model, or that of `round`, or the untuned `base`.

        In a notebook the result shows the image, with an overlay of where the model looks for each reason; printed, it
        is what `seewhy explain` prints. The model stays loaded. Raises SeeWhyError for an image that cannot be read and
        a model that is not there.
        """
        return self._asker.explain_image(image, BASE if base else self.method_model(round), samples)

    @cached_property
    def _asker(self) -> "Asker":
        from seewhy.explanation.asking import Asker  # the one arrow that points up: a shortcut for notebooks

        return Asker(self)

    def weights(self, key: ModelKey) -> str:
        """Return a digest of a model's weights, or the name of one on the Hub."""
        return weights_digest(self.models[key]) or str(self.models[key])

    def measured_round(self, wanted: str | None = None) -> int:
        """Return the measured round that `wanted` stands for: a number, 'last', or 'best' on val images.

        None is the gate's best round, or the last one of a run without a gate. Raises SeeWhyError where the run has no
        such round, or 'best' is wanted and neither a gate nor figures on val images say which it is.
        """
        if self.metrics is None:
            raise SeeWhyError(f"{self.path} has not been measured yet. {AGAIN}")
        measured = [figures.round for figures in self.metrics.rounds if figures.round]
        if not measured:
            raise SeeWhyError(f"{self.path} has no tuned and measured model yet. {AGAIN}")
        if wanted == "last" or (wanted is None and self.gate is None):
            return measured[-1]
        if wanted in (None, "best"):
            return self.gate.best if self.gate else self._best_on_val(measured)
        if not wanted.isdecimal():
            raise SeeWhyError(f"--round is {wanted!r}, but takes a number, 'last' or 'best'.")
        if int(wanted) not in measured:
            listed = ("round " if len(measured) == 1 else "rounds ") + ", ".join(map(str, measured))
            raise SeeWhyError(f"{self.path} has no measured model of round {wanted}; it has those of {listed}.")
        return int(wanted)

    def _best_on_val(self, measured: Sequence[int]) -> int:
        """Return the earliest of the rounds most accurate on val images; test images would flatter it."""
        on_val = self.metrics if self.metrics and self.metrics.base.split == "val" else None
        on_val = on_val or find(self.path / "metrics-val.json", Metrics)
        accuracy = {f.round: f["accuracy"].value for f in (on_val.rounds if on_val else ()) if f.round in measured}
        if list(accuracy) != list(measured):
            raise SeeWhyError(
                f"The best round of {self.path} is chosen on val images, and not every round has been measured on "
                f"them. Run `seewhy evaluate {self.path} --split val` first, or take --round last."
            )
        return max(measured, key=lambda round: (accuracy[round], -round))

    # The results.

    @cached_property
    def metrics(self) -> Metrics | None:
        """The figures of the models; None before they are measured."""
        return find(self.path / Metrics.FILE, Metrics)

    @cached_property
    def gate(self) -> Gate | None:
        """The record of the round gate; None for a run without one."""
        return find(self.path / Gate.FILE, Gate)

    def say_what_is_not_obeyed(self) -> None:
        """Say what the run was made with and does not use now, and how to allow it."""
        self._say_code_is_not_run()
        if self.recorded.model.engine.kind == "server" and self.config.model.engine.kind != "server":
            _say_once(f"{self.path} was made through a server; its models answer in this process now. For a server add "
                      "--engine.base_url URL or --engine.command COMMAND.")  # fmt: skip

    def _say_code_is_not_run(self) -> None:
        if self._warn_of_code:
            _say_once(f"{self.path} was made with code that came with its model. It is not run: if you trust it, read "
                      "it and add --trust_remote_code true.")  # fmt: skip

    def _rounds_of(self, arm: str) -> list[ModelKey]:
        place = inside(self.path, "stages" if arm == METHOD else f"stages/{arm}")
        rounds = {int(folder.name[6:]) for folder in place.glob("round-*") if folder.name[6:].isdecimal()}
        keys = [ModelKey(arm, round) for round in rounds]
        return [key for key in keys if model_path(self.path, key).is_dir()]


def model_path(run: Path, key: ModelKey) -> Path:
    """Return the folder of a tuned model, `RUN/stages/ARM/round-N/model/model`; its adapter is `adapter` beside it."""
    return inside(run, f"stages/{StageKey('model', key)}/model")


@cache
def _say_once(text: str) -> None:
    say(text)
