"""What a run will do: its stages with the settings that each depends on, and the arms that learn side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seewhy.config import RunConfig
from seewhy.method.synthesise import fallback_share, label_answers
from seewhy.records import Answer
from seewhy.run_folder import Stage

_THROUGHPUT = ("checkpoint_steps", "trackers")
"""Settings of tuning that change no weight."""


@dataclass(frozen=True)
class Arm:
    """A line of models, one a round: the method, or a control that learns from other answers to the same queries."""

    key: str
    """Its place in metrics.json."""
    prefix: str
    selects: bool
    """Whether it learns from selected concepts."""

    def model(self, round: int) -> str:
        """The name of its model after a round; before the first, every arm has the base."""
        return f"{self.prefix}round-{round}" if round else "base"

    def teach(self, answers: Sequence[Answer], labels: Mapping[str, str]) -> Sequence[Answer]:
        """What it learns in a round, given the method's own training set: as many answers about the same images."""
        return answers if self.selects else label_answers(answers, labels)

    def counts(self, answers: Mapping[int, Sequence[Answer]], round: int) -> dict[str, Any]:
        """How many answers the round taught, and how many of them were plain label sentences."""
        if round not in answers:
            return {}
        share = fallback_share(answers[round]) if self.selects else 1.0
        return {"training_answers": len(answers[round]), "fallback_share": share}


OURS = Arm("rounds", "", selects=True)
NL = Arm("nl", "nl/", selects=False)


def arms(config: RunConfig) -> tuple[Arm, ...]:
    """The method, then the controls asked for."""
    return (OURS, *(arm for arm in (NL,) if arm.key in config.controls))


class Plan(dict[str, Stage]):
    """Stage name -> stage, in the order in which they are made."""

    @classmethod
    def of(cls, config: RunConfig, domain_fingerprint: str, base_weights: str, encoder_weights: str) -> "Plan":
        """The stages of a run over a domain. `domain_fingerprint` covers examples, concepts and questions; the digests
        of weights tell a local model from another one under the same name."""
        plan = cls()
        settings = {key: asdict(getattr(config, key)) for key in ("describe", "select", "synthesise", "sample", "tune")}
        settings["tune"] = {k: v for k, v in settings["tune"].items() if k not in _THROUGHPUT}
        model = asdict(config.model)
        settings["select"]["encoder_weights"] = encoder_weights
        scoring = {key: settings["select"][key] for key in ("encoder", "encoder_weights", "temperature")}
        evaluation = {key: getattr(config.evaluate, key) for key in ("split", "max_new_tokens")}
        domain = plan.add("domain", {"data": {"fingerprint": domain_fingerprint}})
        named = {key: model[key] for key in ("name_or_path", "revision", "dtype")}
        base = plan.add("base", {"model": {**named, "weights": base_weights}})
        plan.predictions("base", evaluation, base, domain)
        describe = plan.add("describe", {"describe": settings["describe"]}, domain, base)
        select = plan.add("select", {"select": settings["select"]}, describe)
        models = {"base": base}
        for round in range(1, config.rounds + 1):
            if round == 1:
                answers = plan.add("round-1/answers", {"synthesise": settings["synthesise"]}, select, base)
            else:
                sampled = {"sample": settings["sample"], "select": scoring}
                tuned = models[OURS.model(round - 1)]
                candidates = plan.add(f"round-{round}/candidates", sampled, select, tuned)
                answers = plan.add(f"round-{round}/answers", {}, candidates)
            for arm in arms(config):
                name, before = arm.model(round), models[arm.model(round - 1)]
                models[name] = plan.add(f"{name}/model", {"tune": settings["tune"]}, answers, before)
                plan.predictions(name, evaluation, models[name], domain)
        return plan

    def add(self, name: str, settings: Mapping[str, Any], *inputs: Stage) -> Stage:
        self[name] = Stage(name, settings, inputs)
        return self[name]

    def predictions(self, model: str, evaluation: Mapping[str, Any], *inputs: Stage) -> None:
        self.add(f"{model}/predictions-{evaluation['split']}", {"evaluate": evaluation}, *inputs)
