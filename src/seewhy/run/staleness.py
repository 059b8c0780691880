"""What a stage is made from, and whether that is still what it was: setting by setting, input by input.

A manifest records of each stage its settings and the names of its inputs. A stage is as it was while its settings are
equal and its inputs are as they were; its fingerprint, once given, is only a name. So a version that records more, or
computes fingerprints otherwise, still knows the outputs of an older one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from seewhy.run.storage import digest


@dataclass(frozen=True)
class Stage:
    """One step of a run. `name` is its folder below `stages/`, and `settings` (JSON-able) all that changes its output.

    Nest settings under the name of their group, {"tune": {"epochs": 2}}, and messages speak of "tune.epochs".
    """

    name: str
    settings: Mapping[str, Any]
    inputs: tuple["Stage", ...] = ()
    former: Mapping[str, Any] = field(default_factory=dict)
    """Dotted setting -> what an older version recorded for the same value; None, nothing."""
    part_of: str = ""
    """The stage that older versions recorded as the input in place of this one, and of others."""

    @cached_property
    def fingerprint(self) -> str:
        return digest([self.name, self.settings, [stage.fingerprint for stage in self.inputs]])


def unchanged(stages: Mapping[str, Stage], plan: Mapping[str, Any], recorded: Mapping[str, Any]) -> set[str]:
    """Return the stages that are recorded as made from what they would be made from now.

    `stages` are in the order in which they are made; `plan` and `recorded` are the entries of a manifest.
    """
    same: set[str] = set()
    for name, stage in stages.items():
        if (entry := recorded.get(name)) is None:
            continue
        if not changes(entry["settings"], plan[name]["settings"], stage.former) and _same_inputs(stage, entry, same):
            same.add(name)
    return same


def _same_inputs(stage: Stage, entry: Mapping[str, Any], same: set[str]) -> bool:
    """An input that an older version did not name is a part of one that has not changed as a whole."""
    then, now = set(entry["inputs"]), {source.name: source.part_of for source in stage.inputs}
    return then <= same and then <= {*now, *now.values()} and all(n in then or of in same for n, of in now.items())


def changes(old: Mapping[str, Any], new: Mapping[str, Any], former: Mapping[str, Any] | None = None) -> list[str]:
    """Return the differences between two nested settings, as "tune.epochs: 1 -> 2".

    `former` gives, by dotted name, a value of `old` that means the same as that of `new`; None, that it is not there.
    """
    before, after = flatten(old), flatten(new)
    same = {key: None if value is None else json.dumps(value, sort_keys=True) for key, value in (former or {}).items()}
    keys = [
        key
        for key in before | after
        if before.get(key) != after.get(key) and not (key in same and before.get(key) == same[key])
    ]
    return [f"{key}: {before.get(key, 'not set'):.60} -> {after.get(key, 'not set'):.60}" for key in keys]


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings by dotted names, each as JSON."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        flat |= (
            flatten(value, f"{prefix}{key}.")
            if isinstance(value, Mapping)
            else {prefix + key: json.dumps(value, sort_keys=True)}
        )
    return flat


def reasons(
    stages: Sequence[Stage], plan: Mapping[str, Any], recorded: Mapping[str, Any], configs: Sequence[Any]
) -> list[str]:
    """Return why stages are no longer what they were made as: the settings that differ, each once.

    `configs` are the whole settings then and now, as far as they are known, which say more of data that changed.
    """
    parts = {stage.part_of for stage in stages if stage.part_of and stage.name in recorded}
    lines = [
        line
        for stage in stages
        if stage.name in recorded and stage.name not in parts
        for line in changes(recorded[stage.name]["settings"], plan[stage.name]["settings"], stage.former)
    ]
    lines += [
        f"{stage.name} is now made from the stage {source.name} too"
        for stage in stages
        for source in stage.inputs
        if stage.name in recorded and source.name not in recorded and not source.part_of
    ]
    if any(line.startswith("data.") for line in lines) and all(configs):
        old, new = ({"data": config.get("data", {})} for config in configs)
        lines = [*changes(old, new), *lines]
    return list(dict.fromkeys(lines))


def versions_of(entry: Mapping[str, Any] | None, manifest: Mapping[str, Any], now: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that a stage is made with: those of its record while it is as it was, and after them today's
    where it is not complete yet."""
    if entry is None:
        return dict(now)
    then = entry.get("versions") or manifest.get("versions", {})
    if entry["complete"] or then == now:
        return dict(then)
    every = {name: [*then.get(name, "").split(" and "), now.get(name, "")] for name in {**then, **now}}
    return {name: " and ".join(filter(None, dict.fromkeys(found))) for name, found in every.items()}
