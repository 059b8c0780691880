"""The models of a run, and what one of them answers: for those that measure a run after it has ended.

config, models = run_models("runs/fieldguide", arms_wanted=("rounds", "lge"))
asked = Asked(config, models["rounds"])
texts = asked.answers({"a": lambda: image}, "Which bird is this?", "answering")["a"]
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.explainer import load_model, run_model
from seewhy.plan import OURS, Arm, arms
from seewhy.progress import progress
from seewhy.proof import gate
from seewhy.records import Prompt, Sampling
from seewhy.storage import inside, weights_digest
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler

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
    path = inside(Path(run), f"stages/{arm.model(round)}/model/model")
    return RunModel(arm.key, arm.model(round), str(path)) if path.is_dir() else None


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
            for start in range(0, len(prompts), model.batch_size):
                part = prompts[start : start + model.batch_size]
                texts += [text for (text,) in sampler.sample(part, greedy, 0)]
                advance(len(part))
        given = iter(texts)
        return {name: [next(given) for _ in asked[name]] for name in pictures}
