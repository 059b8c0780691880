"""What is settled before a run begins: which model is meant, which data are measured, and that it is one process.

Each step of the method, bound to its stage in the run folder, so that what is done is never done twice.

Which settings are part of a stage's fingerprint, and which may change in the midst of a run: config.py.
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from seewhy.config import DataConfig, EvaluateConfig, RunConfig
from seewhy.domain.domain import VOCABULARY_FILE, Domain, Vocabulary, load_domain
from seewhy.domain.images import load_image
from seewhy.domain.loaders.llava import Replay, replay_digest
from seewhy.domain.problems import raise_problems, size_problems
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import BASE, ENCODER, with_guide
from seewhy.method import describe, rejection, select, synthesise
from seewhy.method.encoder import Encoder, embed_to_file
from seewhy.method.sampler import Sampler, example_random
from seewhy.proof import support
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Answer, Candidate, Description, Example, Prediction, Prompt, Sampling, Selection, Turn
from seewhy.results import Support, write
from seewhy.run.finished import FinishedRun, model_path, model_source
from seewhy.run.folder import RunFolder, read_manifest
from seewhy.run.models import Loaded
from seewhy.run.progress import say
from seewhy.run.stages import BASE as BASE_MODEL
from seewhy.run.stages import Arm, ModelKey, StageKey, Stages, arms, with_finished_controls
from seewhy.run.storage import weights_digest
from seewhy.vlm.tuning import tune


def data_to_measure(data: DataConfig, folder: Path, settings: EvaluateConfig) -> Domain:
    """Another data set than the run's own, which needs no train images unless CS selects concepts among them."""
    measured = load_domain(with_guide(data, folder / "fieldguide"), to_train=False)
    if settings.consistency and not measured.split("train"):
        raise SeeWhyError(
            f"{measured.name} has no train images, among which CS selects the concepts of the {settings.split} images: "
            "leave out --consistency, or add some."
        )
    return measured


def refuse_several_processes() -> None:
    """Raise SeeWhyError under torchrun or accelerate launch."""
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise SeeWhyError(
            f"This is one of {processes} processes, but a run is one process on one device: start it without torchrun "
            "and accelerate launch. To sample on more, give model.engine a server that spreads over them."
        )


class Run:
    """The steps of one run, each bound to its stage."""

    def __init__(
        self, config: RunConfig, domain: Domain, folder: RunFolder, stages: Stages, replay: Replay | None = None
    ) -> None:
        self.config = config
        self.folder = folder
        self.base = model_source(config.model.name_or_path, BASE)
        self.domain = domain
        self.stages = stages
        self.replay = replay or Replay()
        self.train = domain.split("train")
        self.labels: Mapping[str, str] = {e.id: e.label for e in domain.examples}
        self.loaded = Loaded(config.model, self.base, folder.path / "server" / "log.txt")
        self._unchecked = domain.sizes

    @classmethod
    def open(
        cls,
        folder: RunFolder,
        config: RunConfig,
        *,
        discard_stale: bool = False,
        record: bool = True,
        elsewhere: DataConfig | None = None,
    ) -> "Run":
        """Read the data (or another data set, `elsewhere`, to measure the models on), hold the folder's stages against
        the settings and, with `record`, write these down."""
        refuse_several_processes()
        domain = load_domain(with_guide(config.data, folder.path / "fieldguide"))
        measured = domain if elsewhere is None else data_to_measure(elsewhere, folder.path, config.evaluate)
        if not measured.split(split := config.evaluate.split):
            raise SeeWhyError(f"{measured.name} has no {split} images to measure on: add some, or set evaluate.split.")
        base = model_source(config.model.name_or_path, BASE)
        encoder = model_source(config.select.encoder, ENCODER)
        replay = Replay.read(config.tune.replay) if record and config.tune.replay else None
        replayed = replay_digest(config.tune.replay) if config.tune.replay else ""
        shown = with_finished_controls(config, read_manifest(folder.path))
        own = Stages.of(shown, domain.fingerprint, weights_digest(base), weights_digest(encoder), replayed)
        stages = own if measured is domain else own.elsewhere(measured.name, measured.fingerprint)
        settings = asdict(config) if record else None
        folder.check([*own.values(), *stages.values()], config=settings, discard_stale=discard_stale)
        if settings:
            folder.write_text("config.yaml", yaml.safe_dump(_plain(settings), sort_keys=False))
            folder.write_json(VOCABULARY_FILE, Vocabulary.of(domain).record())
        return cls(config, measured, folder, stages, replay)

    def describe(self, split: str = "train") -> list[Description]:
        """Step 1, by the untuned base; on another split than train, for the figures alone."""
        dropped = Counter[str]()

        def work(examples: Sequence[Example], seed: int) -> list[Description]:
            sampler = self.loaded.sampler(self.base)
            self.replay.check(sampler.rejected_text)
            self.check_sizes(sampler)
            return describe.describe(
                examples, self.domain, sampler, self.config.describe,
                seed=seed, query_seed=self.config.seed, dropped=dropped,
            )  # fmt: skip

        stage = self.stages[StageKey("describe", split=split)]
        described = self.folder.records(stage, Description, self.domain.split(split), work)
        settings = self.config.describe
        asked = len(self.domain.split(split)) * settings.prompts_per_image * settings.samples_per_prompt
        _warn(support.mostly_lost(stage.name, "texts were dropped", asked - len(described), asked, dropped))
        return described

    def check_sizes(self, sampler: Sampler) -> None:
        """Raises SeeWhyError naming every image, of any split, of a size that the model's processor refuses. To be
        called before hours of sampling; does its work once."""
        sizes, self._unchecked = self._unchecked, {}
        refused = sampler.refused_sizes(set(sizes.values()))
        images = [(example.image, sizes[example.id]) for example in self.domain.examples if example.id in sizes]
        raise_problems(f"{self.domain.root} and the processor of model {self.base}", size_problems(images, refused))

    def check_support(self, descriptions: Sequence[Description], *, stop: bool) -> Support:
        """Say how much of the concept bank the model has words for. Raises SeeWhyError with `stop` if too little."""
        texts, minimum = [d.text for d in descriptions], self.config.minimum_support
        found = support.support(self.domain.concepts.all_concepts, texts, minimum)
        write(self.folder.path / Support.FILE, found)
        if found.too_low:
            told = support.too_few(
                found, stops=stop, example=texts[0] if texts else "", shipped_base=self.base == BASE,
                folder=self.folder.path,
            )  # fmt: skip
            if stop:
                raise SeeWhyError(told)
            say(told)
        else:
            say(support.verdict(found))
        return found

    def select(self, descriptions: Sequence[Description], split: str = "train") -> list[Selection]:
        """Step 2, of all images at once: each one's negatives are the descriptions of the others.

        Images of another split are scored among those of train, `descriptions` being of both.
        """
        bank = self.domain.concepts
        wanted = self.domain.split(split)
        examples = self.train if split == "train" else (*self.train, *wanted)

        def work(_all: Sequence[str], _seed: int) -> list[Selection]:
            scratch = self.folder.path / "scratch"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            embedded_DE = embed_to_file(scratch / "descriptions.npy", [d.text for d in descriptions], self.encoder)
            selections = select.select(
                examples, descriptions, embedded_DE, bank, bank.all_concepts, self.concepts_CE, self.config.select
            )
            shutil.rmtree(scratch)
            ids = {example.id for example in wanted}
            return [selection for selection in selections if selection.example_id in ids]

        stage = self.stages[StageKey("select", split=split)]
        return self.folder.records(stage, Selection, ["all"], work)

    def shown(self, split: str) -> Mapping[str, Sequence[str]]:
        """Example id -> the concepts selected for an image of a split, which CS holds answers to."""
        descriptions = self.describe()
        if split != "train":
            descriptions += self.describe(split)
        return select.selected_concepts(self.select(descriptions, split))

    def visible(self, arm: Arm, selections: Sequence[Selection]) -> Mapping[str, Sequence[str]]:
        """Example id -> the concepts that an arm takes to be visible."""
        if arm.concepts == "image":
            return select.selected_concepts(selections)
        return {example.id: self.domain.concepts[example.label] for example in self.train}

    def synthesise(self, arm: Arm, selections: Sequence[Selection]) -> list[Answer]:
        """Step 3: round 1's training set, by the untuned base."""
        visible = self.visible(arm, selections)

        def work(examples: Sequence[Example], seed: int) -> list[Answer]:
            return synthesise.synthesise(
                examples, self.domain, visible, self.stated, self.loaded.sampler(self.base), self.config.synthesise,
                seed=seed, query_seed=self.config.seed,
            )  # fmt: skip

        stage = self.stages[arm.stage("answers", 1)]
        answers = self.folder.records(stage, Answer, self.train, work)
        reasons = support.fallback_reasons(answers)
        _warn(support.mostly_lost(stage.name, _FELL_BACK, reasons.total(), len(answers), reasons))
        return answers

    def fill_in(self, arm: Arm, answers: Sequence[Answer]) -> list[Answer]:
        """The training set of an arm that answers the method's own queries by template."""
        lists = self.domain.concepts if arm.template == "label and list" else None
        return synthesise.label_answers(answers, self.labels, lists)

    def tune(self, model: ModelKey, before: Path, answers: Sequence[Answer]) -> Path:
        """Step 4: the model after a round, from the model before it."""

        def make(folder: Path) -> None:
            self.loaded.release()
            tune(
                self.loaded.model(before, four_bit=self.config.tune.method == "qlora"), self.turns(answers),
                self.config.tune, folder, self.config.seed, load_image,
                share_image=self.config.model.share_image,
            )  # fmt: skip

        self.folder.folder(self.stages[StageKey("model", model)], make)
        return model_path(self.folder.path, model)

    def sample(self, arm: Arm, round: int, model: Path, selections: Sequence[Selection]) -> list[Candidate]:
        """Steps 5 and 6: what the tuned model answers, judged."""
        visible = self.visible(arm, selections)

        def work(examples: Sequence[Example], seed: int) -> list[Candidate]:
            temperature = self.config.select.temperature
            criteria = rejection.Criteria(visible, self.stated, self.encoder, self.concepts_CE, temperature)
            return rejection.candidates(
                examples, self.domain, self.loaded.sampler(model), criteria, self.config.sample,
                round=round, seed=seed, query_seed=self.config.seed, choice=arm.choice,
            )  # fmt: skip

        stage = self.stages[arm.stage("candidates", round)]
        candidates = self.folder.records(stage, Candidate, self.train, work)
        unusable = support.unusable(candidates)
        _warn(support.mostly_lost(stage.name, "texts were dropped", unusable.total(), len(candidates), unusable))
        return candidates

    def filter(self, arm: Arm, round: int, candidates: Sequence[Candidate]) -> list[Answer]:
        """The round's training set: the best candidate of each query, or the label sentence."""
        of_example: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            of_example.setdefault(candidate.example_id, []).append(candidate)

        def work(examples: Sequence[Example], _seed: int) -> list[Answer]:
            judged = [c for e in examples for c in of_example[e.id]]
            return rejection.answers(judged, self.labels, self.domain.questions, self.config.seed)

        stage = self.stages[arm.stage("answers", round)]
        answers = self.folder.records(stage, Answer, self.train, work)
        lost, reasons = support.fallback_reasons(answers).total(), support.reasons_of_lost_queries(candidates)
        _warn(support.mostly_lost(stage.name, _FELL_BACK, lost, len(answers), reasons))
        return answers

    def predict(self, model: ModelKey, path: Path, split: str | None = None) -> list[Prediction]:
        """Step 8: a model's greedy answers to the evaluation question, on `evaluate.split` or another."""
        settings: EvaluateConfig = self.config.evaluate
        split = split or settings.split
        query = self.domain.questions.evaluation

        def work(examples: Sequence[Example], seed: int) -> list[Prediction]:
            prompts = [Prompt(e.id, self.domain.path(e), query) for e in examples]
            sampler = self.loaded.sampler(path)
            self.check_sizes(sampler)
            texts = sampler.sample(prompts, Sampling(max_new_tokens=settings.max_new_tokens), seed)
            return [Prediction(e.id, query, text) for e, (text,) in zip(examples, texts, strict=True)]

        stage = self.stages[StageKey("predictions", model, split)]
        return self.folder.records(stage, Prediction, self.domain.split(split), work)

    def turns(self, answers: Sequence[Answer]) -> list[Turn]:
        """A training set as the model layer takes it, with replay data mixed in where it is asked for."""
        images = {e.id: self.domain.path(e) for e in self.train}
        turns = [Turn(a.id, images[a.example_id], a.query, a.text) for a in answers]
        wanted = round(self.config.tune.replay_ratio * len(turns))
        return turns + self.replay.drawn(wanted, example_random(self.config.seed, "replay", "tune"))

    @property
    def models(self) -> dict[ModelKey, Path]:
        """All models of a run that has ended."""
        return FinishedRun.open(self.folder.path).all_models()

    @property
    def shown_arms(self) -> tuple[Arm, ...]:
        """The arms that the settings ask for, and those of which the folder has models from an earlier start."""
        return arms(with_finished_controls(self.config, read_manifest(self.folder.path)))

    def kept_models(self, last: int) -> dict[ModelKey, Path]:
        """The models, up to round `last`, of controls that the settings no longer ask for."""
        own = {BASE_MODEL.arm, *(arm.key for arm in arms(self.config))}
        there = FinishedRun.open(self.folder.path).models
        return {key: path for key, path in there.items() if key.arm not in own and key.round <= last}

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_error: object) -> None:
        self.loaded.release()

    @cached_property
    def stated(self) -> StatedConcepts:
        """Finds the concepts that a text states."""
        return StatedConcepts.of(self.domain)

    @cached_property
    def encoder(self) -> Encoder:
        settings = self.config.select
        return Encoder(
            str(model_source(settings.encoder, ENCODER)), self.config.model.device, prefixes=settings.prefixes
        )

    @cached_property
    def concepts_CE(self) -> np.ndarray:
        """Embeddings of all concepts of the bank, (C, E)."""
        return self.encoder.embed_concepts(self.domain.concepts.all_concepts)


_FELL_BACK = "answers are the bare label sentence, for want of a usable one"


def _warn(told: str | None) -> None:
    if told:
        say(told)


def _plain(value: Any) -> Any:
    """Nested settings as YAML writes them: tuples as lists."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value
