"""What is settled before a run begins: which model is meant, which data are measured, and that it is one process."""

import os
from pathlib import Path

from seewhy.config import DataConfig, EvaluateConfig
from seewhy.domain.domain import Domain, load_domain
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide


def shipped(name: str, built_in: Path) -> Path:
    """The folder of the model that comes with the package, or what the user names."""
    return built_in if name == "fieldguide" else Path(name).expanduser()


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
