"""The settings that a run folder records. The folder may come from anybody, so they are read and never obeyed.

What may run code, start a program or send images to a server (`model.trust_remote_code`, `model.engine`) is up to
whoever opens the run, on the command line; what the folder asks for is said. `seewhy run CONFIG` obeys CONFIG, a file
that the user names.

    config = recorded_config("runs/fieldguide")
    config = recorded_config("runs/birds", trust_remote_code=True)

Where the models of a run lie, those among them that an earlier start with other controls left there.

The records of a run for those who only look at it, finished or not: nothing is made, no image is opened.

A run that can be exported: what its folder holds of it, and which round is meant.

The models of a run, and what one of them answers: for those that measure a run after it has ended.

config, models = run_models("runs/fieldguide", arms_wanted=("rounds", "lge"))
asked = Asked(config, models["rounds"])
texts = asked.answers({"a": lambda: image}, "Which bird is this?", "answering")["a"]
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from seewhy.config import EngineConfig, RunConfig
from seewhy.domain.domain import Domain, list_examples, load_domain
from seewhy.domain.loaders import Row
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import BASE, with_guide
from seewhy.proof import gate
from seewhy.proof.audit import Audit, audit_run
from seewhy.records import Answer, Candidate, Prompt, Sampling, Selection
from seewhy.run import models
from seewhy.run.folder import RunFolder, read_manifest, read_records
from seewhy.run.progress import progress, say
from seewhy.run.stages import BASE as BASE_MODEL
from seewhy.run.stages import OURS, Arm, ModelKey, StageKey, arms, is_complete, with_finished_controls
from seewhy.run.storage import decode_shard, inside, weights_digest
from seewhy.settings import restore_config
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler


def recorded_config(
    run: str | Path, *, trust_remote_code: bool | None = None, engine: EngineConfig | None = None, quiet: bool = False
) -> RunConfig:
    """The settings of a run, with what may run code as the caller allows it: not at all, and in this process.

    Says what of it the run was made with, and how to allow it; `quiet` is for those who load no model, as it is for the
    engine of those who ask none (`engine` None). Raises SeeWhyError where there is no run.
    """
    recorded = read_manifest(Path(run)).get("config")
    if not recorded:
        raise SeeWhyError(f"{run} is no run folder: it has no manifest. Start a run with `seewhy run CONFIG.yaml`.")
    made = restore_config(recorded)
    model = replace(made.model, trust_remote_code=bool(trust_remote_code), engine=engine or EngineConfig())
    if made.model.trust_remote_code and trust_remote_code is None and not quiet:
        _tell(f"{run} was made with code that came with its model. It is not run: if you trust it, read it and add "
              "--trust_remote_code true.")  # fmt: skip
    return replace(made, model=model, output=str(run))


def tell_engine(run: str | Path, engine: EngineConfig | None) -> None:
    """Say that answers come from this process, where a run was made through a server and none is given."""
    recorded = read_manifest(Path(run)).get("config")
    if recorded and engine is None and restore_config(recorded).model.engine.kind == "server":
        _tell(f"{run} was made through a server; its models answer in this process now. For a server add "
              "--engine.base_url URL or --engine.command COMMAND.")  # fmt: skip


@cache
def _tell(text: str) -> None:
    """Say it once."""
    say(text)


def run_model(
    run: str, *, round: int | None = None, base: bool = False, trust_remote_code: bool | None = None
) -> tuple[RunConfig, str]:
    """The settings of a run and where one of its models is: that of `round`, the untuned `base`, or else
    the one that the round gate found best (the last, where there was none)."""
    config = recorded_config(run, trust_remote_code=trust_remote_code)
    if base:
        name = config.model.name_or_path
        return config, str(BASE) if name == "fieldguide" else name
    paths = {int(path.parts[-3][6:]): path for path in Path(run).glob("stages/round-[0-9]*/model/model")}
    if not paths:
        raise SeeWhyError(f"{run} has no tuned model yet: start its run again, or ask the untuned one with --base.")
    last = gate.read(Path(run)).get("best", max(paths)) if round is None else round
    if last not in paths:
        there = ", ".join(map(str, sorted(paths)))
        raise SeeWhyError(f"{run} has no model of round {last}; it has those of round {there}.")
    return config, str(inside(Path(run), paths[last].relative_to(run).as_posix()))


def load_model(config: RunConfig, path: str) -> VisionLanguageModel:
    """One of the run's models, as the run itself loads it."""
    return models.load_model(config.model, Path(path), untuned=path == config.model.name_or_path)


class Models:
    """The models of a run folder, by name; `base` is where the untuned one lies."""

    def __init__(self, config: RunConfig, folder: RunFolder, base: Path) -> None:
        self.config = config
        self.folder = folder
        self.base = base

    @property
    def models(self) -> dict[ModelKey, Path]:
        """All models of a finished run."""
        stopped = gate.read(self.folder.path).get("stopped_after")
        last = stopped or self.config.rounds
        rounds = range(1, last + 1)
        tuned = {arm.model(round): self.tuned(arm.model(round)) for round in rounds for arm in arms(self.config)}
        return {BASE_MODEL: self.base, **tuned, **self.kept_models(last)}

    @property
    def shown_arms(self) -> tuple[Arm, ...]:
        """The arms that the settings ask for, and those that the folder has from an earlier start."""
        return arms(with_finished_controls(self.config, read_manifest(self.folder.path)))

    @cached_property
    def figures_before(self) -> Mapping[str, Any]:
        """What metrics.json held before this start of the run wrote any; {} where it cannot be read."""
        try:
            return json.loads((self.folder.path / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def kept_models(self, last: int) -> dict[ModelKey, Path]:
        """The finished models, up to round `last`, of arms that the settings no longer ask for."""
        manifest = read_manifest(self.folder.path)
        kept = [arm for arm in self.shown_arms if arm not in arms(self.config)]
        keys = [arm.model(round) for round in range(1, last + 1) for arm in kept if round >= arm.diverges_at_round]
        return {key: self.tuned(key) for key in keys if is_complete(manifest, StageKey("model", key))}

    def tuned(self, key: ModelKey) -> Path:
        """The model that a finished run left after a round. Raises SeeWhyError where it is missing."""
        path = inside(self.folder.path, f"stages/{StageKey('model', key)}/model")
        if not path.exists():
            raise SeeWhyError(
                f"{self.folder.path} has no model {key} yet; start its run again: it goes on where it stopped."
            )
        return path


R = TypeVar("R")


class RunRecords:
    """What a run folder holds so far. Raises SeeWhyError where there is no run, or its data cannot be read."""

    def __init__(self, run: str | Path) -> None:
        self.path = Path(run)
        config, manifest = recorded_config(run, quiet=True), read_manifest(self.path)
        self.rounds = config.rounds
        self.manifest = manifest
        try:
            root, rows = list_examples(with_guide(config.data, self.path / "fieldguide"))
        except SeeWhyError as error:
            raise SeeWhyError(f"The data that {run} was made from cannot be read. {error}") from error
        self.root: Path = root
        """The absolute folder of the images."""
        self.examples: Mapping[str, Row] = rows
        """Example id -> image, label and split."""

    @property
    def labels(self) -> dict[str, str]:
        """Example id -> label."""
        return {name: row.label for name, row in self.examples.items()}

    @property
    def groups(self) -> dict[str, str]:
        """Example id -> the lesion, patient or leaf that its image shows, where that is known."""
        return {name: row.group for name, row in self.examples.items() if row.group}

    def is_complete(self, key: StageKey) -> bool:
        """Whether every record of a stage is there."""
        return is_complete(self.manifest, key)

    def read(self, stage: StageKey, record: type[R]) -> list[R]:
        """Return the records of a stage in order, as far as it has come."""
        shards = sorted(inside(self.path, f"stages/{stage}").glob("shard-*.parquet"))
        return [row for shard in shards for row in decode_shard(shard, record)[0]]

    def audit(self) -> Audit:
        """The audit of the rounds that have begun (see `proof.audit`)."""
        rounds = range(1, self.rounds + 1)
        return audit_run(
            {r: self.read(OURS.stage("answers", r), Answer) for r in rounds},
            {r: self.read(OURS.stage("candidates", r), Candidate) for r in rounds},
            self.read(StageKey("select"), Selection),
            self.labels,
        )


_AGAIN = "Start the run again: it goes on where it stopped."


@dataclass(frozen=True)
class FinishedRun:
    """A run folder with at least one tuned and measured model; `round` is the one to export."""

    path: Path
    config: RunConfig
    manifest: Mapping[str, Any]
    domain: Domain
    metrics: Mapping[str, Any]
    audit: Audit
    round: int

    @property
    def model(self) -> Path:
        """The merged model after `round`."""
        return self._tuned(self.round) / "model"

    @property
    def adapters(self) -> list[Path]:
        """The adapters that made the model, in order; each is relative to what the ones before it made of the base."""
        first = self.round if self.config.start_from == "base" else 1
        return [self._tuned(round) / "adapter" for round in range(first, self.round + 1)]

    @property
    def base(self) -> str:
        """Where the untuned model is loaded from: a folder or a name on the Hub."""
        name = self.config.model.name_or_path
        return str(BASE) if name == "fieldguide" else str(Path(name).expanduser())

    @property
    def figures(self) -> Mapping[str, Any]:
        """The exported model's entry in metrics.json."""
        return next(r for r in self.metrics["rounds"] if r["round"] == self.round)

    def answers(self, round: int) -> list[Answer]:
        """What the model of a round was taught of the domain."""
        return read_records(self.path, str(OURS.stage("answers", round)), Answer)

    def selections(self) -> list[Selection]:
        return read_records(self.path, "select", Selection)

    def _tuned(self, round: int) -> Path:
        return inside(self.path, f"stages/round-{round}/model")


def open_run(run: str, round: str | None, *, trust_remote_code: bool | None = None) -> FinishedRun:
    """Read a run folder. `round` as `choose_round` takes it.

    Raises SeeWhyError for a folder without a measured model, for a round that it does not have, and where the data is
    not what the run learnt from.
    """
    path, records = Path(run), RunRecords(run)
    manifest, config = read_manifest(path), recorded_config(run, trust_remote_code=trust_remote_code)
    metrics = _read_metrics(path / "metrics.json")
    if metrics is None:
        raise SeeWhyError(f"{run} has not been measured yet. {_AGAIN}")
    chosen = choose_round(path, metrics, round)
    if not inside(path, f"stages/round-{chosen}/model/model").is_dir():
        raise SeeWhyError(f"{run} has no model of round {chosen}. {_AGAIN}")
    domain = load_domain(with_guide(config.data, path / "fieldguide"))
    learnt = manifest["stages"].get("domain", {}).get("settings", {}).get("data", {}).get("fingerprint")
    if learnt != domain.fingerprint:
        raise SeeWhyError(
            f"The images, labels, concepts or questions of {config.data.source} are no longer those that {run} was "
            "made from, so a card would describe other data. Put them back, or run again on the new ones."
        )
    return FinishedRun(path, config, manifest, domain, metrics, records.audit(), chosen)


def choose_round(run: Path, metrics: Mapping[str, Any], wanted: str | None) -> int:
    """The round that `wanted` stands for, among those in metrics.json: a number, 'last', or 'best' on val images.

    None is the round gate's best, or the last one of a run without a gate.
    """
    measured = [r["round"] for r in metrics["rounds"]]
    if not measured:
        raise SeeWhyError(f"{run} has no tuned and measured model yet. {_AGAIN}")
    gated = gate.read(run).get("best")
    if wanted == "last" or (wanted is None and gated is None):
        return measured[-1]
    if wanted in (None, "best"):
        return gated or _best(run, metrics, measured)
    if not wanted.isdecimal():
        raise SeeWhyError(f"--round is {wanted!r}, but takes a number, 'last' or 'best'.")
    if int(wanted) not in measured:
        raise SeeWhyError(f"{run} has no measured model of round {wanted}; it has those of {_listed(measured)}.")
    return int(wanted)


def _best(run: Path, metrics: Mapping[str, Any], measured: Sequence[int]) -> int:
    """Without a gate: the earliest of the rounds most accurate on val images. On test images it would be flattered."""
    chosen_on = metrics if metrics["base"]["split"] == "val" else _read_metrics(run / "metrics-val.json")
    rounds = [r for r in (chosen_on or {}).get("rounds", ()) if r["round"] in measured]
    if [r["round"] for r in rounds] != list(measured):
        raise SeeWhyError(
            f"The best round of {run} is chosen on val images, and not every round has been measured on them. Run "
            f"`seewhy evaluate {run} --split val` first, or take --round last."
        )
    return max(rounds, key=lambda r: (r["accuracy"], -r["round"]))["round"]


def _read_metrics(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SeeWhyError(f"{path} cannot be read ({error}). {_AGAIN}") from error


def _listed(rounds: Sequence[int]) -> str:
    return ("round " if len(rounds) == 1 else "rounds ") + ", ".join(map(str, rounds))


_ARMS = (OURS.key, "lge")
BASE_KEY = "base"
"""The untuned model's place beside the arms."""

Picture = Callable[[], Image.Image]
"""Gives an image when it is needed, so that a thousand of them need not be in memory."""


@dataclass(frozen=True)
class RunModel:
    """One model of a run: its arm's key in metrics.json (or 'base'), its own name ('lge/round-2') and its folder."""

    arm: str
    name: str
    path: str

    @cached_property
    def digest(self) -> str:
        """Tells it from another model in the same place; of a model on the Hub its name."""
        return weights_digest(Path(self.path)) or self.path


def run_models(
    run: str,
    *,
    arms_wanted: Sequence[str] | None = None,
    round: int | None = None,
    trust_remote_code: bool | None = None,
) -> tuple[RunConfig, dict[str, RunModel]]:
    """The settings of a run, and of each arm the model of `round`, or else that of the round that the gate found best
    (the last, where there was none) or of the one before it; arms without one are left out.

    Where no arms are named, those are the method and, if the run has it, L+GE: the control that states reasons too.

    Raises SeeWhyError for a folder without a run, for an arm that there is not, and where the method itself is wanted
    and has no model.
    """
    config, base = run_model(run, base=True, trust_remote_code=trust_remote_code)
    known: dict[str, Arm] = {arm.key: arm for arm in arms(config)}
    if arms_wanted is None:
        arms_wanted = [key for key in _ARMS if key in known]
    if unknown := [key for key in arms_wanted if key not in known and key != BASE_KEY]:
        there = ", ".join([BASE_KEY, *known])
        raise SeeWhyError(f"{run} has no arm {unknown[0]!r}; it has {there}. See --arms.")
    found = {}
    for key in arms_wanted:
        if key == BASE_KEY:
            found[key] = RunModel(key, BASE_KEY, base)
        elif key == OURS.key:
            found[key] = _named(run, key, Path(run_model(run, round=round, trust_remote_code=trust_remote_code)[1]))
        else:
            last = gate.read(Path(run)).get("best", config.rounds)
            rounds = range(last, 0, -1) if round is None else (round,)
            there = (model for number in rounds if (model := _model(run, known[key], number)))
            if model := next(there, None):
                found[key] = model
    return config, found


def round_models(run: str) -> dict[str, RunModel]:
    """The method's models by name, 'round-1' first, as far as the run has come."""
    config, _ = run_model(run, base=True, trust_remote_code=False)
    every = (_model(run, OURS, round) for round in range(1, config.rounds + 1))
    return {model.name: model for model in every if model}


def _named(run: str, arm: str, path: Path) -> RunModel:
    """A model by its folder, RUN/stages/NAME/model/model."""
    return RunModel(arm, path.relative_to(Path(run) / "stages").parent.parent.as_posix(), str(path))


def _model(run: str, arm: Arm, round: int) -> RunModel | None:
    path = inside(Path(run), f"stages/{arm.stage('model', round)}/model")
    return RunModel(arm.key, str(arm.model(round)), str(path)) if path.is_dir() else None


def measured_before(file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The models that a results file holds, if they were measured with the same settings; else {}."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    same = isinstance(found, dict) and all(found.get(key) == value for key, value in settings.items())
    models = found.get("models") if same else None
    return {key: of for key, of in models.items() if isinstance(of, dict)} if isinstance(models, dict) else {}


class Asked:
    """A model of a run, loaded, and what it answers to a question about pictures."""

    def __init__(self, config: RunConfig, model: RunModel) -> None:
        self.config = config
        self.vlm: VisionLanguageModel = load_model(config, model.path)

    def answers(
        self, pictures: Mapping[str, Picture], questions: Mapping[str, Sequence[str]] | str, doing: str
    ) -> dict[str, list[str]]:
        """Picture -> the greedy answer to each of its questions, in order, or to the one question that all are asked.

        `doing` is what the progress bar is called.
        """
        asked = {name: (questions,) if isinstance(questions, str) else questions[name] for name in pictures}
        prompts = [Prompt(f"{name}: {text}", name, text) for name, texts in asked.items() for text in texts]
        model = self.config.model
        sampler = BatchSampler(self.vlm, model.batch_size, lambda name: pictures[name](), share_image=model.share_image)
        greedy = Sampling(max_new_tokens=self.config.evaluate.max_new_tokens)
        texts: list[str] = []
        with progress(doing, total=len(prompts), done=0) as advance:
            while part := prompts[len(texts) : len(texts) + sampler.batch_size]:
                texts += [text for (text,) in sampler.sample(part, greedy, 0)]
                advance(len(part))
        given = iter(texts)
        return {name: [next(given) for _ in asked[name]] for name in pictures}
