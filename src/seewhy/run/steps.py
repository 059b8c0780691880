"""The steps of the method, each bound to its stage in the run folder, so that nothing finished is made again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from transformers import TrainerCallback

from seewhy.config import RunConfig
from seewhy.domain.concepts import ConceptBank
from seewhy.domain.corrections import Corrections, for_measuring
from seewhy.domain.covering import COVERED, covered_copies, open_view
from seewhy.domain.domain import Domain
from seewhy.domain.general import GeneralQuestions
from seewhy.domain.images import load_image
from seewhy.domain.labels import name_ranges
from seewhy.domain.loaders.llava import Replay
from seewhy.domain.verdicts import Verdict
from seewhy.fieldguide.guide import ENCODER
from seewhy.method import covered, describe, rejection, replay, select, synthesise
from seewhy.method.encoder import Encoder
from seewhy.method.sampler import Sampler, example_random
from seewhy.method.told import StandIn, reasons_for
from seewhy.proof import support
from seewhy.proof.stated import StatedConcepts
from seewhy.records import (
    Answer,
    Candidate,
    Description,
    Example,
    Likelihood,
    Prediction,
    Prompt,
    Replayed,
    Sampling,
    Selection,
    Turn,
)
from seewhy.run import checks, correcting
from seewhy.run.embeddings import DescriptionEmbeddings
from seewhy.run.finished import FinishedRun, model_path
from seewhy.run.folder import RunFolder, read_manifest
from seewhy.run.models import Loaded
from seewhy.run.records import Records
from seewhy.run.sources import base_source, model_source
from seewhy.run.stages import (
    ARMS,
    BASE,
    OURS,
    Arm,
    ModelKey,
    StageKey,
    Stages,
    arms,
    replay_turns,
    with_finished_controls,
)
from seewhy.vlm.loss import answer_likelihoods
from seewhy.vlm.sampling import CPU_SEQUENCES
from seewhy.vlm.tuning import tune


class Run:
    """The steps of one run over its domain."""

    def __init__(
        self,
        config: RunConfig,
        domain: Domain,
        folder: RunFolder,
        stages: Stages,
        general: Replay | None = None,
        corrections: Corrections | None = None,
        verdicts: Sequence[Verdict] = (),
    ) -> None:
        self.config = config
        self.corrections = corrections or Corrections()
        self.given = domain
        """The domain with the bank as its file has it; `domain` has the one that people's verdicts have corrected."""
        self.domain = for_measuring(verdicts, self.corrections.domain(domain))
        self.folder = folder
        self.stages = stages
        self.general = general or Replay()
        self.base = base_source(config.model.name_or_path)
        self.loaded = Loaded(config.model, self.base, folder.path / "server" / "log.txt")
        self.train = domain.split("train")
        self.learnt_from = tuple(example for example in self.train if example.id not in self.corrections.out)
        """The train images without those whose label a verdict calls wrong."""
        self.copies = covered_copies(self.train, config.tune.covered, config.tune.cover_area, config.seed)
        """Copies of the train images in which a part is covered, each with the image that it is of."""
        self.labels: Mapping[str, str] = {e.id: e.label for e in (*domain.examples, *self.copies)}
        self.callbacks: Sequence[TrainerCallback] = ()
        self._sizes_checked = False
        self._embeddings = DescriptionEmbeddings(folder.path)
        self._descriptions: dict[str, Records[Description]] = {}
        self._selected: dict[str, Mapping[str, Sequence[str]]] = {}

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_error: object) -> None:
        self.loaded.release()
        if self.folder.is_own:
            self._embeddings.remove()

    def describe(self, split: str = "train") -> Records[Description]:
        """Step 1: the untuned base describes images; those of another split than train are for the figures alone."""
        if split in self._descriptions:
            return self._descriptions[split]
        dropped, settings, examples = Counter[str](), self.config.describe, self._split(split)

        def work(examples: Sequence[Example], seed: int) -> list[Description]:
            sampler = self._sampler(self.base)
            self.general.check(sampler.rejected_text)
            return describe.describe(
                examples, self.domain, sampler, settings, seed=seed, query_seed=self.config.seed, dropped=dropped
            )

        stage = self.stages[StageKey("describe", split=split)]
        described = self.folder.records(stage, Description, examples, work)
        asked = len(examples) * settings.prompts_per_image * settings.samples_per_prompt
        checks.warn_of_losses(stage.name, asked - len(described), asked, dropped)
        self._descriptions[split] = described
        return described

    def check_support(self, *, stop: bool) -> None:
        """Say whether the model has words for the concept bank. Raises SeeWhyError with `stop` if for too little."""
        minimum = self.config.minimum_support
        name = self.config.model.name_or_path
        checks.check_support(self.domain, self.describe(), self.folder, name, minimum=minimum, stop=stop)

    def select(self, split: str = "train") -> list[Selection]:
        """Step 2, for all images at once: the negatives of one are the descriptions of the others.

        Images of another split are scored among those of train. People's verdicts have the last word on train images.
        """
        if split != "train":
            return self._scored(StageKey("select", split=split), self.domain.concepts)
        if self.corrections.reworded:
            scored = self._scored(StageKey("reselect"), self.domain.concepts)
        else:
            scored = self._scored(StageKey("select"), self.given.concepts)
        return correcting.corrected(scored, self.corrections, self.labels, self.config.select)

    def _scored(self, key: StageKey, bank: ConceptBank) -> list[Selection]:
        """Return the selection of a split's images among the concepts of a bank, as the rule makes it."""
        split, wanted = key.split, self._split(key.split)
        examples, descriptions = self.train, self.describe()
        if split != "train":
            examples, descriptions = (*examples, *wanted), descriptions + self.describe(split)

        def embedded() -> np.ndarray:
            return self._embeddings.of(descriptions, self.encoder, train=len(self.describe()))

        def work(_all: Sequence[str], _seed: int) -> list[Selection]:
            noun, settings = self.domain.questions.noun, self.config.select
            if split == COVERED:
                settings = replace(settings, minimum=covered.MINIMUM)
            selections = select.select_by_rule(examples, descriptions, bank, noun, self.encoder, embedded, settings)
            ids = {example.id for example in wanted}
            return [selection for selection in selections if selection.example_id in ids]

        return list(self.folder.records(self.stages[key], Selection, ["all"], work))

    def selected(self, split: str) -> Mapping[str, Sequence[str]]:
        """Return example id -> the concepts selected for each image of a split, with which CS compares answers."""
        if split not in self._selected:
            self._selected[split] = select.selected_concepts(self.select(split))
        return self._selected[split]

    def replay(self) -> list[Replayed]:
        """Return what the untuned base says of the train images, to mix into tuning; nothing unless asked for.

        It feeds neither selection nor filtering nor any figure.
        """
        if (key := StageKey("replay")) not in self.stages:
            return []
        turns, descriptions = replay_turns(self.config), self.describe()
        general = GeneralQuestions.of(self.domain.questions.noun, self.domain.concepts)

        def work(examples: Sequence[Example], seed: int) -> list[Replayed]:
            described: dict[str, list[Description]] = {}
            for description in descriptions.about([example.id for example in examples]):
                described.setdefault(description.example_id, []).append(description)
            return replay.replay(
                examples, self.domain, general, described, self._sampler(self.base), self.config.describe,
                turns=turns, seed=seed, query_seed=self.config.seed,
            )  # fmt: skip

        found = list(self.folder.records(self.stages[key], Replayed, self.train, work))
        reasons = Counter(turn.fault for turn in found if turn.fault)
        checks.warn_of_losses(key.kind, reasons.total(), len(found), reasons)
        return found

    def concepts(self, arm: Arm, selections: Sequence[Selection]) -> Mapping[str, Sequence[str]]:
        """Return example id -> the concepts that an arm's answers are made from and judged by."""
        if arm.concepts == "image":
            return select.selected_concepts(selections)
        return {example.id: self.domain.concepts[example.label] for example in self.train}

    def _touched(self, arm: Arm, concepts: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Return, for each image that verdicts touch, a digest of what its answers of round 1 are made from."""
        if not self.corrections:
            return {}
        if arm.concepts == "image":
            before = select.selected_concepts(self._scored(StageKey("select"), self.given.concepts))
        else:
            before = {example.id: self.given.concepts[example.label] for example in self.train}
        return correcting.effects(self.corrections, self.given, before, concepts)

    def synthesise(self, arm: Arm, selections: Sequence[Selection]) -> Records[Answer]:
        """Step 3: the untuned base writes round 1's training set."""
        concepts = self.concepts(arm, selections)

        def work(examples: Sequence[Example], seed: int) -> list[Answer]:
            wanted = [example for example in examples if example.id not in self.corrections.out]
            return synthesise.synthesise(
                wanted, self.domain, concepts, self.stated, self._sampler(self.base), self.config.synthesise,
                seed=seed, query_seed=self.config.seed,
            )  # fmt: skip

        stage = self.stages[arm.stage("answers", 1)]
        made_for = self._touched(arm, concepts)
        answers = self.folder.records(stage, Answer, self.train, work, made_for=made_for)
        reasons = support.fallback_reasons(answers)
        checks.warn_of_losses(stage.name, reasons.total(), len(answers), reasons, fell_back=True)
        return answers

    def cover(self, arm: Arm) -> Sequence[Answer]:
        """Return an arm's answers about copies of train images in which a part is covered; none unless asked for."""
        if arm.template:
            return self.fill_in(arm, self.cover(OURS))
        if (key := arm.of_copies()) not in self.stages:
            return []
        concepts = self.concepts(arm, self.select())
        touched = self._touched(arm, concepts)
        made_for = {copy.id: touched[image.id] for copy, image in self.copies.items() if image.id in touched}
        shown = covered.still_shown(self.copies, concepts, self.selected(COVERED))
        if arm.concepts == "class":
            shown = {copy.id: self.domain.concepts[copy.label] for copy in self.copies}

        def work(copies: Sequence[Example], seed: int) -> list[Answer]:
            wanted = [copy for copy in copies if self.copies[copy].id not in self.corrections.out]
            return covered.answers(
                wanted, self.domain, shown, self.stated, self._sampler(self.base), self.config.synthesise,
                seed=seed, query_seed=self.config.seed,
            )  # fmt: skip

        return self.folder.records(self.stages[key], Answer, list(self.copies), work, made_for=made_for)

    def fill_in(self, arm: Arm, answers: Sequence[Answer]) -> list[Answer]:
        """Return the training set of an arm that answers the method's own queries by template."""
        lists = self.domain.concepts if arm.template == "label and list" else None
        return synthesise.label_answers(answers, self.labels, lists)

    def tune(self, model: ModelKey, before: Path, answers: Sequence[Answer]) -> Path:
        """Step 4: tune the model before a round on the round's training set, mixed with answers about covered images
        and replay data if there are any."""
        of_copies = self.cover(ARMS[model.arm])

        def make(folder: Path) -> None:
            images = {e.id: self.domain.path(e) for e in (*self.train, *self.copies)}
            turns = [Turn(a.id, images[a.example_id], a.query, a.text, self._named(a)) for a in (*answers, *of_copies)]
            wanted, seed = round(self.config.tune.replay_ratio * len(answers)), self.config.seed
            turns += self.general.drawn(wanted, example_random(seed, "replay", "tune"))
            own = [turn for turn in self.replay() if turn.example_id not in self.corrections.out]
            own = replay.drawn(own, wanted, example_random(seed, "replay", f"round {model.round}"))
            turns += [Turn(f"replay/{n}", images[t.example_id], t.query, t.text) for n, t in enumerate(own, 1)]
            self.loaded.release()
            vlm = self.loaded.model(before, four_bit=self.config.tune.method == "qlora")
            tune(
                vlm, turns, self.config.tune, folder, self.config.seed, open_view,
                share_image=self.config.model.share_image, callbacks=self.callbacks,
            )  # fmt: skip

        self.folder.folder(self.stages[StageKey("model", model)], make)
        return model_path(self.folder.path, model)

    def sample(self, arm: Arm, round: int, model: Path, selections: Sequence[Selection]) -> Records[Candidate]:
        """Steps 5 and 6: the tuned model answers, and its answers are judged."""
        concepts = self.concepts(arm, selections)

        def work(examples: Sequence[Example], seed: int) -> list[Candidate]:
            temperature = self.config.select.temperature
            criteria = rejection.Criteria(concepts, self.stated, self.encoder, self.concepts_CE, temperature)
            return rejection.candidates(
                examples, self.domain, self._sampler(model), criteria, self.config.sample,
                round=round, seed=seed, query_seed=self.config.seed, choice=arm.choice,
            )  # fmt: skip

        stage = self.stages[arm.stage("candidates", round)]
        candidates = self.folder.records(stage, Candidate, self.learnt_from, work)
        unusable = support.unusable(candidates)
        checks.warn_of_losses(stage.name, unusable.total(), len(candidates), unusable)
        return candidates

    def filter(
        self, arm: Arm, round: int, candidates: Records[Candidate], model: Path, selections: Sequence[Selection]
    ) -> Records[Answer]:
        """Return the round's training set: the best candidate of each query, or what `sample.fallback` puts in."""
        concepts = self.concepts(arm, selections)

        def work(examples: Sequence[Example], seed: int) -> list[Answer]:
            judged = candidates.about([example.id for example in examples])
            stand_ins: Mapping[str, StandIn] = {}
            if self.config.sample.fallback == "reasons" and (lost := rejection.lost_queries(judged, examples)):
                stand_ins = reasons_for(
                    lost, self.domain, concepts, self.stated, self._sampler(model), self.config.synthesise,
                    seed=seed,
                )  # fmt: skip
            return rejection.answers(judged, self.labels, self.domain.questions, self.config.seed, stand_ins)

        stage, asks_no_model = self.stages[arm.stage("answers", round)], self.config.sample.fallback == "label"
        answers = self.folder.records(stage, Answer, self.learnt_from, work, here=asks_no_model)
        lost, reasons = support.fallback_reasons(answers).total(), support.reasons_of_lost_queries(candidates)
        checks.warn_of_losses(stage.name, lost, len(answers), reasons, fell_back=True)
        return answers

    def predict(self, model: ModelKey, path: Path, split: str | None = None) -> list[Prediction]:
        """Step 8: return a model's greedy answers to the evaluation question, by default on `evaluate.split`."""
        settings, query = self.config.evaluate, self.domain.questions.evaluation
        split = split or settings.split

        def work(examples: Sequence[Example], seed: int) -> list[Prediction]:
            prompts = [Prompt(e.id, self.domain.path(e), query) for e in examples]
            texts = self._sampler(path).sample(prompts, Sampling(max_new_tokens=settings.max_new_tokens), seed)
            return [Prediction(e.id, query, text) for e, (text,) in zip(examples, texts, strict=True)]

        stage = self.stages[StageKey("predictions", model, split)]
        return list(self.folder.records(stage, Prediction, self.domain.split(split), work))

    def likelihoods(self, model: ModelKey, predictions: Sequence[Prediction]) -> list[Likelihood]:
        """Return the likelihood of each of a model's answers under the untuned base, for FS."""
        split, settings = self.config.evaluate.split, self.config.model
        answered = {p.example_id: p for p in predictions}

        def work(examples: Sequence[Example], _seed: int) -> list[Likelihood]:
            given = [answered[e.id] for e in examples]
            turns = [Turn(e.id, self.domain.path(e), p.query, p.text) for e, p in zip(examples, given, strict=True)]
            base = self.loaded.in_process(self.base).vlm
            at_once = settings.batch_size or CPU_SEQUENCES
            scored = answer_likelihoods(base, turns, at_once, load_image, share_image=settings.share_image)
            return [Likelihood(turn.id, nats, tokens) for turn, (nats, tokens) in zip(turns, scored, strict=True)]

        stage = self.stages[StageKey("likelihoods", model, split)]
        return list(self.folder.records(stage, Likelihood, self.domain.split(split), work))

    @property
    def models(self) -> dict[ModelKey, Path]:
        """All models of a run that has ended. Raises SeeWhyError where one is missing."""
        return FinishedRun.open(self.folder.path).all_models()

    @property
    def shown_arms(self) -> tuple[Arm, ...]:
        """The arms that the settings ask for, and those of which the folder has models from an earlier start."""
        return arms(with_finished_controls(self.config, read_manifest(self.folder.path)))

    def kept_models(self, last: int) -> dict[ModelKey, Path]:
        """Return the models, up to round `last`, of controls that the settings no longer ask for."""
        own = {BASE.arm, *(arm.key for arm in arms(self.config))}
        there = FinishedRun.open(self.folder.path).models
        return {key: path for key, path in there.items() if key.arm not in own and key.round <= last}

    def _split(self, name: str) -> tuple[Example, ...]:
        return tuple(self.copies) if name == COVERED else self.domain.split(name)

    def _named(self, answer: Answer) -> tuple[tuple[int, int], ...]:
        """Return where an answer names its label, if that counts in the loss."""
        if self.config.tune.name_weight == 1:
            return ()
        label = self.labels[answer.example_id]
        return name_ranges(answer.text, (label, *self.domain.concepts.aliases.get(label, ())))

    @cached_property
    def stated(self) -> StatedConcepts:
        """Finds the concepts that a text states."""
        return StatedConcepts.of(self.domain)

    @cached_property
    def encoder(self) -> Encoder:
        """The text encoder of steps 2 and 6."""
        settings = self.config.select
        source = str(model_source(settings.encoder, ENCODER))
        return Encoder(source, self.config.model.device, prefixes=settings.prefixes)

    @cached_property
    def concepts_CE(self) -> np.ndarray:
        """The embeddings of all concepts of the bank, (C, E)."""
        return self.encoder.embed_concepts(self.domain.concepts.all_concepts)

    def _sampler(self, model: Path) -> Sampler:
        sampler = self.loaded.sampler(model)
        if not self._sizes_checked:
            self._sizes_checked = True
            checks.check_image_sizes(self.domain, sampler, self.base)
        return sampler
