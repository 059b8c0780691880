"""What a run will do: its stages with the settings that each depends on, and the arms that learn side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from seewhy.config import RunConfig, decisive
from seewhy.run.folder import Stage

_MEASURING = ("describe", "select", "/predictions-", "/likelihoods-")
"""How the names of the stages begin, or what stands in them, that can be made on another data set."""


@dataclass(frozen=True)
class Arm:
    """A line of models, one a round: the method, or a control that learns otherwise from as many answers."""

    key: str
    """Its place in metrics.json."""
    prefix: str = ""
    """Of the names of its models and stages."""
    concepts: Literal["image", "class"] = "image"
    """What it takes to be visible: the concepts selected for an image, or its class's whole list."""
    choice: Literal["best", "random"] = "best"
    """Which of a query's candidates it learns from."""
    template: Literal["", "label", "label and list"] = ""
    """What it says in answer to the method's own queries, where it samples nothing."""
    parts: int = 1
    """The round from which on it differs from the method; until then it has the method's models."""

    def model(self, round: int) -> str:
        """The name of its model after a round; before the first, every arm has the base."""
        return f"{'' if round < self.parts else self.prefix}round-{round}" if round else "base"

    def stage(self, kind: str, round: int) -> str:
        """The name of a stage of its own in a round: 'answers' or 'candidates'."""
        return f"{self.model(round)}/{kind}"


OURS = Arm("rounds")
CONTROLS = {
    arm.key: arm
    for arm in (
        Arm("nl", "nl/", template="label"),
        Arm("lge", "lge/", template="label and list"),
        Arm("unfiltered", "unfiltered/", choice="random", parts=2),
        Arm("class_level", "class_level/", concepts="class"),
    )
}


def arms(config: RunConfig) -> tuple[Arm, ...]:
    """The method, then the controls asked for."""
    return (OURS, *(arm for key, arm in CONTROLS.items() if key in config.controls))


def with_arms_there(config: RunConfig, manifest: Mapping[str, Any]) -> RunConfig:
    """The settings with the controls that a run folder has a finished model of, beside those that they ask for."""
    stages = manifest.get("stages", {})

    def is_there(arm: Arm) -> bool:
        models = [f"{arm.model(round)}/model" for round in range(arm.parts, config.rounds + 1)]
        return any(stages.get(name, {}).get("complete") for name in models)

    wanted: Any = tuple(key for key, arm in CONTROLS.items() if key in config.controls or is_there(arm))
    return replace(config, controls=wanted)


class Plan(dict[str, Stage]):
    """Stage name -> stage, in the order in which they are made."""

    @classmethod
    def of(
        cls, config: RunConfig, domain_fingerprint: str, base_weights: str, encoder_weights: str, replay: str = ""
    ) -> "Plan":
        """The stages of a run over a domain. `domain_fingerprint` covers examples, concepts and questions; the digests
        of weights, and of the replay data, tell a local file from another one under the same name."""
        plan = cls()
        groups = ("describe", "select", "synthesise", "sample", "tune", "model")
        settings = {group: decisive(group, getattr(config, group)) for group in groups}
        settings["tune"]["replay"] = replay or None
        settings["select"]["encoder_weights"] = encoder_weights
        scoring = {key: settings["select"][key] for key in ("encoder", "encoder_weights", "prefixes", "temperature")}
        evaluation = {key: getattr(config.evaluate, key) for key in ("split", "max_new_tokens")}
        domain = plan.add("domain", {"data": {"fingerprint": domain_fingerprint}})
        base = plan.add("base", {"model": {**settings["model"], "weights": base_weights}})
        plan.predictions("base", evaluation, base, domain)
        describe = plan.add("describe", {"describe": settings["describe"]}, domain, base)
        select = plan.add("select", {"select": settings["select"]}, describe)
        visible = {"image": select, "class": domain}
        for round in range(1, config.rounds + 1):
            for arm in arms(config):
                if round < arm.parts:
                    continue
                before = plan.model(arm, round - 1)
                if arm.template:
                    answers = plan[OURS.stage("answers", round)]
                elif round == 1:
                    made = {"synthesise": settings["synthesise"]}
                    answers = plan.add(arm.stage("answers", 1), made, visible[arm.concepts], base)
                else:
                    sampled = {"sample": settings["sample"], "select": scoring}
                    candidates = plan.add(arm.stage("candidates", round), sampled, visible[arm.concepts], before)
                    answers = plan.add(arm.stage("answers", round), {}, candidates)
                name = arm.model(round)
                start = base if config.start_from == "base" else before
                tuned = plan.add(f"{name}/model", {"tune": settings["tune"]}, answers, start)
                plan.predictions(name, evaluation, tuned, domain)
                if arm == OURS and not config.keep_going:
                    plan.predictions(name, {**evaluation, "split": "val"}, tuned, domain)
        split = config.evaluate.split
        if config.evaluate.fluency:
            for name in [name for name in plan if name.endswith(f"/predictions-{split}")]:
                plan.add(name.replace("/predictions-", "/likelihoods-"), {}, plan[name], base)
        judged = {split} if config.keep_going else {split, "val"}
        for split in sorted(judged - {"train"}) if config.evaluate.consistency else ():
            described = plan.add(f"describe-{split}", {"describe": settings["describe"]}, domain, base)
            plan.add(f"select-{split}", {"select": settings["select"]}, describe, described)
        return plan

    def elsewhere(self, name: str, domain_fingerprint: str) -> "Plan":
        """The same plan with all that measures the models moved to another data set, and its stages to a place where no
        stage of the run itself can be. What made the models stays."""
        place, plan = f"elsewhere/{name.replace('/', '-')}-{domain_fingerprint[:8]}", Plan()
        for key, stage in self.items():
            inputs = tuple(plan[source.name] for source in stage.inputs)
            if key == "domain":
                plan[key] = Stage(f"{place}/{key}", {"data": {"fingerprint": domain_fingerprint}})
            elif key.startswith(_MEASURING[:2]) or any(kind in key for kind in _MEASURING[2:]):
                plan[key] = Stage(f"{place}/{key}", stage.settings, inputs)
            else:
                plan[key] = stage
        return plan

    def add(self, name: str, settings: Mapping[str, Any], *inputs: Stage) -> Stage:
        self[name] = Stage(name, settings, inputs)
        return self[name]

    def model(self, arm: Arm, round: int) -> Stage:
        return self[f"{arm.model(round)}/model" if round else "base"]

    def predictions(self, model: str, evaluation: Mapping[str, Any], *inputs: Stage) -> None:
        self.add(f"{model}/predictions-{evaluation['split']}", {"evaluate": evaluation}, *inputs)
