"""How to make a run again: the commands, and what its bytes depended on."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

CONFIG = "config.yaml"


def commands(
    manifest: Mapping[str, Any], config: str, seeds: Sequence[int] | None, output: str
) -> list[tuple[str, str]]:
    """(command, what it is for), to be given one after the other. `seeds` are those of a comparison, else None."""
    versions = manifest.get("versions", {})
    pinned = [f"{name}=={_public(version)}" for name, version in sorted(versions.items()) if name != "python"]
    found = []
    if pinned:
        python = f", with Python {versions['python']}" if "python" in versions else ""
        found.append((shlex.join(["pip", "install", *pinned]), f"the versions that it was made with{python}"))
    settings = _settings(config)
    output = str(settings.get("output", output)) if seeds is None else output
    if seeds is not None:
        made = ["seewhy", "compare", CONFIG, "--seeds", str(list(seeds)), "--output", output]
        found.append((shlex.join(made), f"with the settings below saved as {CONFIG}"))
    elif settings:
        found.append((shlex.join(["seewhy", "run", CONFIG]), f"with the settings below saved as {CONFIG}"))
    return [*found, (shlex.join(["seewhy", "report", output]), "this page, with where the model looks")]


def origins(manifest: Mapping[str, Any], config: str, seeds: Sequence[int] | None) -> dict[str, str]:
    """What a run's figures depend on, by name; what the manifest does not say is left out."""
    stages = manifest.get("stages", {})
    settings = _settings(config)
    base = _at(stages, "base", "settings", "model")
    chosen = _at(stages, "select", "settings", "select")
    versions = manifest.get("versions", {})
    told = {
        "Seed": ", ".join(map(str, seeds)) if seeds is not None else settings.get("seed", ""),
        "Data (SHA-256)": _at(stages, "domain", "settings", "data").get("fingerprint", ""),
        "Base model": base.get("name_or_path", ""),
        "Base revision": base.get("revision") or "",
        "Base weights (SHA-256)": base.get("weights", ""),
        "Text encoder": chosen.get("encoder", ""),
        "Encoder weights (SHA-256)": chosen.get("encoder_weights", ""),
        "Versions": ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
    }
    return {name: str(value) for name, value in told.items() if value != ""}


def _at(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for key in path:
        tree = tree.get(key) or {}
    return tree


def _settings(config: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(config)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _public(version: str) -> str:
    """Without the part that names a build, which no index has: '2.13.0' of '2.13.0+cpu'."""
    return version.partition("+")[0]
