"""What a run checks before it starts and between its stages, so that hours of work are not lost."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from seewhy.config import DataConfig, EvaluateConfig, RunConfig
from seewhy.domain.concepts import ConceptBank
from seewhy.domain.domain import Domain, load_domain
from seewhy.domain.problems import nearest, raise_problems, size_problems
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide
from seewhy.method.encoder import Encoder
from seewhy.method.sampler import Sampler
from seewhy.proof import support
from seewhy.records import Description
from seewhy.results import Support
from seewhy.results_json import write
from seewhy.run.folder import RunFolder
from seewhy.run.model_files import check_model_folder
from seewhy.run.progress import say
from seewhy.run.ranks import world_size
from seewhy.run.sources import CELLS
from seewhy.vlm import adapter
from seewhy.vlm.model import VisionLanguageModel, resolve
from seewhy.vlm.server.process import command_line


def refuse_several_processes() -> None:
    """Raise SeeWhyError under torchrun or accelerate launch."""
    if (processes := world_size()) > 1:
        raise SeeWhyError(
            f"This is one of {processes} processes, among which only `seewhy run` shares its work: start this without "
            "torchrun and accelerate launch. `seewhy compare CONFIG --workers.count N` starts workers of its own."
        )


def check_settings(config: RunConfig) -> None:
    """Raise SeeWhyError, with every problem, for settings that the machine or other settings do not allow.

    It is called before any work: all of them would be noticed only after hours of describing or in tuning.
    """
    raise_problems("settings", [*_tuning_problems(config), *_machine_problems(config), *_engine_problems(config)])


def _tuning_problems(config: RunConfig) -> Iterator[str]:
    tune = config.tune
    if config.rounds and tune.batch_size % min(tune.micro_batch_size, tune.batch_size):
        yield (
            f"tune.batch_size ({tune.batch_size}) is no multiple of tune.micro_batch_size ({tune.micro_batch_size}); "
            "change one of them."
        )
    if tune.method == "full" and tune.vision_tower == "lora":
        yield "tune.vision_tower is lora, which tune.method full cannot take; set it to full or frozen."
    if tune.method == "qlora" and find_spec("bitsandbytes") is None:
        yield "tune.method: qlora needs bitsandbytes: pip install 'seewhy[qlora]', or set tune.method to lora."
    there = get_available_reporting_integrations()
    for tracker in tune.trackers:
        if tracker not in INTEGRATION_TO_CALLBACK:
            listed, close = ", ".join(INTEGRATION_TO_CALLBACK), nearest(tracker, INTEGRATION_TO_CALLBACK)
            yield f"tune.trackers has {tracker!r}, which is none of {listed}{close}."
        elif tracker not in there:
            yield f"tune.trackers has {tracker!r}, which is not installed here; install it, or leave it out."


def _machine_problems(config: RunConfig) -> Iterator[str]:
    name = config.model.device
    if config.rounds and config.model.dtype == "float16" and resolve(name, "auto")[0] == "cpu":
        yield "model.dtype is float16, in which nothing can be tuned on a CPU; set it to auto, float32 or bfloat16."
    if name == "auto":
        return
    try:
        device = torch.device(name)
    except RuntimeError:
        yield f"model.device is {name!r}, which is no device of torch; set it to cuda, cpu or auto."
        return
    there = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= there:
        yield f"model.device is {name!r}, but this machine has {there} GPUs; set it to {'cuda' if there else 'cpu'}."
    elif device.type not in ("cuda", "cpu"):
        try:
            torch.zeros(1, device=device).item()
        except (RuntimeError, NotImplementedError, AssertionError) as error:
            yield f"model.device is {name!r}, on which nothing can be computed here ({error!s:.200}); set it to cpu."


def _engine_problems(config: RunConfig) -> Iterator[str]:
    engine = config.model.engine
    if engine.kind == "server" and not engine.base_url:
        try:
            command_line(engine.command, dict.fromkeys(("model", "port", "dtype", "device", "images"), "-"))
        except SeeWhyError as error:
            yield str(error)


def load_measured_data(data: DataConfig, folder: Path, settings: EvaluateConfig, own: ConceptBank) -> Domain:
    """Load another data set than the run's own, to measure its models on.

    If it has no concept bank, it is read with `own`, the run's. It needs no train images, unless CS selects concepts
    among them: then SeeWhyError is raised where there are none.
    """
    measured = load_domain(with_guide(data, folder / "fieldguide"), to_train=False, bank=own)
    if settings.consistency and not measured.split("train"):
        raise SeeWhyError(
            f"{measured.name} has no train images, among which CS selects the concepts of the {settings.split} images: "
            "leave out --consistency, or add some."
        )
    return measured


def check_tower_setting(config: RunConfig, base: Path) -> None:
    """Raise SeeWhyError where the base's vision tower cannot be tuned as the settings say. No weights are read."""
    if config.tune.vision_tower != "frozen":
        check_model(config, base)


def check_model(config: RunConfig, base: Path) -> None:
    """Raise SeeWhyError where the base is not there or not whole, or cannot be tuned as the settings say. No weights
    are read."""
    settings = config.model
    if base.is_dir():
        check_model_folder(base, weights=True)
    outline = VisionLanguageModel.outline(
        base, dtype=torch.float32, revision=settings.revision, trust_remote_code=settings.trust_remote_code
    )
    adapter.check_tower_setting(outline.model, config.tune)


def check_encoder(encoder: Path) -> None:
    """Raise SeeWhyError where the text encoder cannot be loaded, which would be noticed after the descriptions.

    It is loaded on the CPU and given up again: a GPU is the model's until the selection.
    """
    Encoder(str(encoder), "cpu")


def check_image_sizes(domain: Domain, sampler: Sampler, model: Path) -> None:
    """Raise SeeWhyError naming every image, of any split, of a size that the model's processor refuses."""
    refused = sampler.refused_sizes(set(domain.sizes.values()))
    images = [(example.image, domain.sizes[example.id]) for example in domain.examples if example.id in domain.sizes]
    raise_problems(f"{domain.root} and the processor of model {model}", size_problems(images, refused))


_SPEAKS_OF = {
    "fieldguide": "the base that comes with SeeWhy speaks of birds and of fruit",
    CELLS: "this base speaks of white blood cells",
}
"""What the small bases, by their name, have words for."""


def check_support(
    domain: Domain, descriptions: Sequence[Description], folder: RunFolder, name: str, *, minimum: float, stop: bool
) -> None:
    """Say how much of the concept bank the descriptions have words for, and write it to the run folder.

    `name` is `model.name_or_path`. Raises SeeWhyError with `stop` where the share is below `minimum`.
    """
    texts = (description.text for description in descriptions)
    found = support.support(domain.concepts.all_concepts, texts, minimum, count=len(descriptions))
    write(folder.path / Support.FILE, found)
    if not found.too_low:
        say(support.verdict(found))
        return
    example, speaks_of = descriptions[0].text if len(descriptions) else "", _SPEAKS_OF.get(name, "")
    message = support.too_few(found, stops=stop, example=example, speaks_of=speaks_of, folder=folder.path)
    if stop:
        raise SeeWhyError(message)
    say(message)


def warn_of_losses(stage: str, lost: int, of: int, reasons: Mapping[str, int], *, fell_back: bool = False) -> None:
    """Say it where most texts of a stage were dropped, or `fell_back` to the label sentence, with the causes."""
    stands_in = "answers are the label sentence, bare or with the selected concepts, for want of a usable one"
    what = stands_in if fell_back else "texts were dropped"
    if message := support.mostly_lost(stage, what, lost, of, reasons):
        say(message)
