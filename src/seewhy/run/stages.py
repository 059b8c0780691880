"""The models and stages of a run: their keys, the arms that are trained side by side, and which stage needs which.

str(ModelKey("lge", 2))                                       # "lge/round-2"
str(StageKey("predictions", ModelKey("lge", 2), "test"))      # "lge/round-2/predictions-test"
Stages.of(config, domain.fingerprint, base, encoder)[StageKey("select")]
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from seewhy.config import SELF, RunConfig, decisive
from seewhy.domain.corrections import Corrections
from seewhy.domain.covering import COVERED
from seewhy.domain.general import WORDINGS
from seewhy.errors import SeeWhyError
from seewhy.method import covered
from seewhy.run.staleness import Stage
from seewhy.run.storage import digest

METHOD = "rounds"
"""The key of the method's own arm, which metrics.json has too."""
_MODEL = re.compile(r"(?:(?P<arm>\w+)/)?round[- ](?P<round>\d+)")
_STAGE = re.compile(
    r"(?:elsewhere/(?P<place>[^/]+)/)?(?:(?P<model>base|(?:\w+/)?round-\d+)/)?(?P<kind>[a-z]+)(?:-(?P<split>[a-z]+))?"
)
_PER_SPLIT = ("predictions", "likelihoods")
DATA = ("images", "labels", "concepts", "aliases", "questions")
"""Kinds of stages that stand for a part of the data, images and labels by split: what others are made from."""
_MEASURING = ("describe", "select", *_PER_SPLIT)
"""Kinds of stages that can be made on another data set than the run's own."""


@dataclass(frozen=True, order=True)
class ModelKey:
    """A model of a run: what an arm has after a round, or the untuned base (round 0)."""

    arm: str
    round: int

    def __str__(self) -> str:
        """Return the model's folder below `stages/`: "round-2", "nl/round-2"; "base" for the base."""
        if self == BASE:
            return BASE.arm
        return f"round-{self.round}" if self.is_methods else f"{self.arm}/round-{self.round}"

    @property
    def title(self) -> str:
        """Return the name that gallery.json and confusion.json give it: "round 2", "nl/round 2", "base"."""
        return str(self).replace("-", " ")

    @property
    def is_methods(self) -> bool:
        """Whether it is the method's own model, neither the base nor a control's."""
        return self.arm == METHOD

    @classmethod
    def parse(cls, name: str) -> "ModelKey":
        """Return the key of a model's name, as `str()` or `title` gives it. Raises SeeWhyError for any other text."""
        if name == BASE.arm:
            return BASE
        if not (found := _MODEL.fullmatch(name)):
            raise SeeWhyError(f"{name!r} names no model of a run, such as base, round-2 or nl/round-2.")
        return cls(found["arm"] or METHOD, int(found["round"]))


BASE = ModelKey("base", 0)
"""The untuned model, from which every arm starts."""


@dataclass(frozen=True)
class StageKey:
    """A stage of a run. `kind` is "base", "describe", "select", "verdicts", "reselect", "replay", "answers",
    "candidates", "model", "predictions" or "likelihoods"; or, without outputs of its own, a part of the data (`DATA`)
    or all of them ("domain")."""

    kind: str
    model: ModelKey | None = None
    """The model that the stage trains, asks or measures; None for the stages that all arms share."""
    split: str = "train"
    """The split of its images."""
    elsewhere: str = ""
    """The folder below `stages/elsewhere/`, for a stage on another data set than the run's own."""

    def __str__(self) -> str:
        """Return the stage's folder below `stages/`: "select", "describe-test", "nl/round-2/predictions-val"."""
        with_split = self.kind in _PER_SPLIT or self.split != "train"
        place = f"elsewhere/{self.elsewhere}/" if self.elsewhere else ""
        model = f"{self.model}/" if self.model else ""
        return f"{place}{model}{self.kind}{f'-{self.split}' if with_split else ''}"

    @classmethod
    def parse(cls, name: str) -> "StageKey":
        """Return the key whose `str()` is `name`. Raises SeeWhyError for any other text."""
        if not (found := _STAGE.fullmatch(name)):
            raise SeeWhyError(f"{name!r} names no stage of a run, such as select or round-1/answers.")
        model = ModelKey.parse(found["model"]) if found["model"] else None
        return cls(found["kind"], model, found["split"] or "train", found["place"] or "")


@dataclass(frozen=True)
class Arm:
    """One model a round: the method, or a control that is trained on as many answers made in another way."""

    key: str
    """Its name in metrics.json, and the folder of its models."""
    concepts: Literal["image", "class"] = "image"
    """What its answers are made from and judged by: the concepts selected for an image, or its class's whole list."""
    choice: Literal["best", "random"] = "best"
    """Which of a query's candidates it is trained on."""
    template: Literal["", "label", "label and list"] = ""
    """What it is trained to answer to the method's own queries, where it samples nothing."""
    diverges_at_round: int = 1
    """The first round in which it differs from the method; before it, the arm's models are the method's."""

    def model(self, round: int) -> ModelKey:
        """Return the key of its model after a round; after round 0 every arm has the base."""
        if round == 0:
            return BASE
        return ModelKey(METHOD if round < self.diverges_at_round else self.key, round)

    def stage(self, kind: str, round: int) -> StageKey:
        """Return the key of its stage of a kind ("answers", "candidates", "model") in a round."""
        return StageKey(kind, self.model(round))

    def of_copies(self) -> StageKey:
        """Return the key of the answers about covered copies of images that its own are, or are made from."""
        return StageKey("answers", ModelKey(METHOD if self.template else self.model(1).arm, 1), COVERED)


OURS = Arm(METHOD)
CONTROLS = {
    arm.key: arm
    for arm in (
        Arm("nl", template="label"),
        Arm("lge", template="label and list"),
        Arm("unfiltered", choice="random", diverges_at_round=2),
        Arm("class_level", concepts="class"),
    )
}
ARMS: Mapping[str, Arm] = {METHOD: OURS, **CONTROLS}
"""The arm of each key."""


def arms(config: RunConfig) -> tuple[Arm, ...]:
    """Return the method, then the controls asked for."""
    return (OURS, *(arm for key, arm in CONTROLS.items() if key in config.controls))


def replay_turns(config: RunConfig, round: int | None = None) -> int:
    """Return how many replay turns about an image a round wants at most; without `round`, the round that wants most."""
    first, later = config.synthesise.answers_per_image, config.sample.queries_per_image
    every = [first, *([later] if config.rounds > 1 else [])]
    answers = max(every) if round is None else first if round == 1 else later
    return math.ceil(config.tune.replay_ratio * answers - 1e-9)


def with_finished_controls(config: RunConfig, manifest: Mapping[str, Any]) -> RunConfig:
    """Return the settings with every control of which the run folder holds a finished model among their controls."""

    def is_finished(arm: Arm) -> bool:
        rounds = range(arm.diverges_at_round, config.rounds + 1)
        return any(is_complete(manifest, arm.stage("model", round)) for round in rounds)

    wanted: Any = tuple(key for key, arm in CONTROLS.items() if key in config.controls or is_finished(arm))
    return replace(config, controls=wanted)


def is_complete(manifest: Mapping[str, Any], key: StageKey) -> bool:
    """Return whether a manifest records that every record, or the whole folder, of a stage is there."""
    return bool(manifest.get("stages", {}).get(str(key), {}).get("complete"))


def engine_of(manifest: Mapping[str, Any], key: StageKey, now: str) -> str:
    """Return what sampled a stage, as a manifest records it, or samples it `now`."""
    entry = manifest.get("stages", {}).get(str(key))
    return entry["settings"].get("model", {}).get("engine", {}).get("kind", "in_process") if entry else now


DataParts = Mapping[str, Any]
"""`Domain.parts`: "images", "images-test", "labels", "concepts", ... -> what a stage is recorded to be made from."""


class Stages(dict[StageKey, Stage]):
    """The stages of a run by key, in the order in which they are made."""

    @classmethod
    def of(
        cls,
        config: RunConfig,
        domain_fingerprint: str,
        base_weights: str,
        encoder_weights: str,
        replay: str = "",
        corrections: Corrections | None = None,
        *,
        parts: DataParts | None = None,
        former_weights: tuple[str, str] = ("", ""),
        engine_of: Callable[[StageKey], str] | None = None,
    ) -> "Stages":
        """Return the stages of a run over a domain, each with all that its output depends on.

        `domain_fingerprint` covers all of the data and `parts` each part of them (`Domain.parts`); the digests of the
        weights and of a file of replay data distinguish a local file from another one under the same name, and
        `former_weights` are those that older versions recorded. `engine_of` says what samples for a stage, by default
        what the settings say. Where there are `corrections` by people's verdicts, even none any more, every model
        depends on them. "select" and the answers of round 1 do not: they stay, and single images are made anew
        (`RunFolder.records`, `made_for`).
        """
        stages = cls()
        groups = ("describe", "select", "synthesise", "sample", "tune", "model")
        settings = {group: decisive(getattr(config, group)) for group in groups}
        settings["model"].pop("engine", None)
        settings["tune"]["replay"] = replay or None
        if not config.tune.covered:
            settings["tune"].pop("cover_area", None)
        settings["select"]["encoder_weights"] = encoder_weights
        scoring = {key: settings["select"][key] for key in ("encoder", "encoder_weights", "prefixes", "temperature")}
        sampling = {key: value for key, value in settings["sample"].items() if key != "fallback"}
        filling = {"sample": {"fallback": "reasons"}} if "fallback" in settings["sample"] else {}
        evaluation = {"max_new_tokens": config.evaluate.max_new_tokens}
        measured = config.evaluate.split
        base_before, encoder_before = former_weights
        former_encoder = {"select.encoder_weights": encoder_before} if encoder_before else {}

        def sampled(key: StageKey, made: Mapping[str, Any], *inputs: Stage, **more: Any) -> Stage:
            kind = engine_of(key) if engine_of else config.model.engine.kind
            engine = {} if kind == "in_process" else {"model": {"engine": {"kind": kind}}}
            return stages.add(key, {**made, **engine}, *inputs, **more)

        def predictions(model: ModelKey, split: str, weights: Stage) -> None:
            evaluate = {"split": split, **evaluation}
            key = StageKey("predictions", model, split)
            sampled(key, {"evaluate": evaluate}, weights, stages.part("images", split), stages.part("questions"))

        stages.add_data(domain_fingerprint, parts)
        images, labels, concepts, aliases, questions = (stages.part(kind) for kind in DATA)
        base_settings = {"model": {**settings["model"], "weights": base_weights}}
        former = {"model.weights": base_before} if base_before else {}
        base = stages.add(StageKey("base"), base_settings, former=former)
        predictions(BASE, measured, base)
        described = {"describe": settings["describe"]}
        describe = sampled(StageKey("describe"), described, images, questions, base)
        scored = (describe, labels, concepts)
        select = stages.add(StageKey("select"), {"select": settings["select"]}, *scored, former=former_encoder)
        corrected: tuple[Stage, ...] = ()
        edited: tuple[Stage, ...] = ()
        if corrections is not None:
            counted = {"verdicts": _counted(corrections)}
            corrected = (stages.add(StageKey("verdicts"), counted, images, labels, concepts),)
        if corrections and corrections.reworded:
            bank = [asdict(record) for record in corrections.records() if record.kind == "bank"]
            reworded = {**select.settings, "verdicts": {"bank": bank}}
            edited = (stages.add(StageKey("reselect"), reworded, *scored, former=former_encoder),)
        own_answers: tuple[Stage, ...] = ()
        if config.tune.replay == SELF and config.rounds:
            asked = {"tune": {"replay_turns": replay_turns(config)}, "replay": {"wordings": digest(WORDINGS)}}
            data = (images, labels, concepts, aliases, questions)
            own_answers = (sampled(StageKey("replay"), asked, *data, base, describe),)
            settings["tune"]["replay"] = SELF
        covering: tuple[Stage, ...] = ()
        if config.tune.covered and config.rounds:
            cut = {"tune": {"covered": config.tune.covered, "cover_area": config.tune.cover_area}}
            shown = sampled(StageKey("describe", split=COVERED), {**described, **cut}, images, questions, base)
            made = {"select": {**settings["select"], "minimum": covered.MINIMUM}}
            covering = (
                stages.add(StageKey("select", split=COVERED), made, *scored, shown, *edited, former=former_encoder),
            )
        told = {"image": (select, aliases), "class": (images, labels, concepts, aliases, questions)}
        for round in range(1, config.rounds + 1):
            for arm in arms(config):
                if round < arm.diverges_at_round:
                    continue
                before = stages[arm.stage("model", round - 1)] if round > 1 else base
                if arm.template:
                    answers = stages[OURS.stage("answers", round)]
                elif round == 1:
                    made = {"synthesise": settings["synthesise"]}
                    answers = sampled(arm.stage("answers", 1), made, *told[arm.concepts], base)
                    if covering:
                        sampled(arm.of_copies(), made, *told[arm.concepts], *covering, base)
                else:
                    made, key = {"sample": sampling, "select": scoring}, arm.stage("candidates", round)
                    candidates = sampled(key, made, *told[arm.concepts], before, former=former_encoder)
                    write = sampled if filling else stages.add
                    answers = write(arm.stage("answers", round), filling, candidates)
                start = base if config.start_from == "base" else before
                of_copies = (stages[arm.of_copies()],) if covering else ()
                made_of = (answers, start, *of_copies, *own_answers, *corrected)
                tuned = stages.add(arm.stage("model", round), {"tune": settings["tune"]}, *made_of)
                predictions(arm.model(round), measured, tuned)
                if arm == OURS and not config.keep_going:
                    predictions(arm.model(round), "val", tuned)
        if config.evaluate.fluency:
            answered = [key for key in stages if key.kind == "predictions" and key.split == measured]
            for key in answered:
                stages.add(replace(key, kind="likelihoods"), {}, stages[key], base)
        judged = {measured} if config.keep_going else {measured, "val"}
        for split in sorted(judged - {"train"}) if config.evaluate.consistency else ():
            shown = sampled(StageKey("describe", split=split), described, stages.part("images", split), questions, base)
            inputs = (*scored, shown, stages.part("labels", split), *edited)
            key = StageKey("select", split=split)
            stages.add(key, {"select": settings["select"]}, *inputs, former=former_encoder)
        return stages

    def part(self, kind: str, split: str = "train") -> Stage:
        """Return the stage that stands for a part of the data."""
        return self[StageKey(kind, split=split)]

    def add_data(self, fingerprint: str, parts: DataParts | None, place: str = "") -> None:
        """Add the stages that stand for the data as a whole, which older versions recorded, and for each part."""
        whole = StageKey("domain")
        name = str(replace(whole, elsewhere=place))
        self[whole] = Stage(name, {"data": {"fingerprint": fingerprint}})
        for kind in DATA:
            for split in ("train", "val", "test") if kind in ("images", "labels") else ("train",):
                key, of_split = StageKey(kind, split=split), kind if split == "train" else f"{kind}-{split}"
                value = parts[of_split] if parts else fingerprint
                self[key] = Stage(str(replace(key, elsewhere=place)), {"data": {of_split: value}}, part_of=name)

    def elsewhere(self, name: str, domain_fingerprint: str, parts: DataParts | None = None) -> "Stages":
        """Return these stages with all that measure the models moved to another data set, in folders of their own.

        The keys are the same; the stages that made the models stay.
        """
        place, stages = f"{name.replace('/', '-')}-{domain_fingerprint[:8]}", Stages()
        stages.add_data(domain_fingerprint, parts, place)
        for key, stage in self.items():
            if key in stages:
                continue
            measures = key.kind in _MEASURING and key.split != COVERED
            moved = str(replace(key, elsewhere=place))
            inputs = tuple(stages[StageKey.parse(source.name)] for source in stage.inputs)
            stages[key] = replace(stage, name=moved, inputs=inputs) if measures else stage
        return stages

    def add(
        self, key: StageKey, settings: Mapping[str, Any], *inputs: Stage, former: Mapping[str, Any] | None = None
    ) -> Stage:
        """Add a stage and return it."""
        self[key] = Stage(str(key), settings, inputs, former or {})
        return self[key]


def _counted(corrections: Corrections) -> dict[str, Any]:
    """Return what the manifest says of corrections: how many there are of each kind, and a digest of them all."""
    records = corrections.records()
    counts = Counter(record.kind for record in records)
    kinds: dict[str, Any] = {"concepts": counts["concept"], "labels": counts["label"], "bank": counts["bank"]}
    if corrections.carry:
        kinds["carry"] = True
    return {**kinds, "digest": digest([asdict(record) for record in records])}
