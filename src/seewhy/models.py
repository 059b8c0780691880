"""Where the models of a run lie, those among them that an earlier start with other controls left there."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.plan import Arm, arms, with_arms_there
from seewhy.proof import gate
from seewhy.run_folder import RunFolder, read_manifest
from seewhy.storage import inside


class Models:
    """The models of a run folder, by name; `base` is where the untuned one lies."""

    def __init__(self, config: RunConfig, folder: RunFolder, base: Path) -> None:
        self.config = config
        self.folder = folder
        self.base = base

    @property
    def models(self) -> dict[str, Path]:
        """All models of a finished run, by name."""
        stopped = gate.read(self.folder.path).get("stopped_after")
        last = stopped or self.config.rounds
        rounds = range(1, last + 1)
        tuned = {arm.model(round): self.tuned(arm.model(round)) for round in rounds for arm in arms(self.config)}
        return {"base": self.base, **tuned, **self.kept_models(last)}

    @property
    def shown_arms(self) -> tuple[Arm, ...]:
        """The arms that the settings ask for, and those that the folder has from an earlier start."""
        return arms(with_arms_there(self.config, read_manifest(self.folder.path)))

    @cached_property
    def figures_before(self) -> Mapping[str, Any]:
        """What metrics.json held before this start of the run wrote any; {} where it cannot be read."""
        try:
            return json.loads((self.folder.path / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def kept_models(self, last: int) -> dict[str, Path]:
        """The finished models, up to round `last`, of arms that the settings no longer ask for."""
        stages = read_manifest(self.folder.path).get("stages", {})
        kept = [arm for arm in self.shown_arms if arm not in arms(self.config)]
        names = [arm.model(round) for round in range(1, last + 1) for arm in kept if round >= arm.parts]
        done = [name for name in names if stages.get(f"{name}/model", {}).get("complete")]
        return {name: self.tuned(name) for name in done}

    def tuned(self, name: str) -> Path:
        """The model that a finished run left after a round. Raises SeeWhyError where it is missing."""
        path = inside(self.folder.path, f"stages/{name}/model/model")
        if not path.exists():
            raise SeeWhyError(
                f"{self.folder.path} has no model {name} yet; start its run again: it goes on where it stopped."
            )
        return path
