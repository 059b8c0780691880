"""What is wrong with this machine, before a run finds it out: `seewhy doctor`.

Each check says what it found and, where that is not good, what to do. Only what no run can do without is an error;
what some settings need (a GPU, an extra, the Hub) is told and no more.
"""

import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Any, Literal

from seewhy.errors import SeeWhyError

State = Literal["ok", "note", "error"]

PACKAGES = ("torch", "transformers", "peft", "accelerate", "sentence_transformers", "pyarrow", "PIL")
"""Imported by every run, so imported here: a package may be installed and broken."""
LOW_DISK = 5 * 2**30
"""Bytes: less than this at the output folder is told."""
HUB = "https://huggingface.co"
HUB_SECONDS = 3.0
GENERATION_SECONDS = 10.0


@dataclass(frozen=True)
class Check:
    """`name`: what was looked at. `remedy`: what to do, where the state is not "ok"."""

    name: str
    state: State
    found: str
    remedy: str = ""


def diagnose(output: Path, *, generate: bool = True, hub: bool = True) -> list[Check]:
    """All checks, in the order in which they are shown. `output` is where runs are to be written."""
    found = [_python(), *_packages(), *_torchvision()]
    if all(check.state != "error" for check in found):
        found += [*_devices(), _precision()]
    found += [_disk(output), _cache(), *_extras()]
    if hub:
        found.append(_hub())
    if generate and all(check.state != "error" for check in found):
        found += [_generation(), _speed()]
    return found


def broken(checks: list[Check]) -> bool:
    """Whether no run can work here."""
    return any(check.state == "error" for check in checks)


def as_json(checks: list[Check]) -> dict[str, Any]:
    return {"ok": not broken(checks), "checks": [asdict(check) for check in checks]}


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("Python", "ok", found)


def _packages() -> list[Check]:
    return [_package(name) for name in PACKAGES]


def _package(module: str) -> Check:
    distribution = {"PIL": "pillow", "sentence_transformers": "sentence-transformers"}.get(module, module)
    try:
        import_module(module)
        if module == "transformers":  # imports its parts when they are asked for
            _ = import_module(module).AutoProcessor
        return Check(distribution, "ok", version(distribution))
    except Exception as error:  # whatever a broken package raises is what is asked for
        return Check(
            distribution, "error", _short(error), f"Install it again: pip install --force-reinstall {distribution}"
        )


def _torchvision() -> list[Check]:
    """Nothing where it is not installed; transformers imports it wherever it finds it."""
    try:
        found = version("torchvision")
    except PackageNotFoundError:
        said = "not installed; image processors of PIL are used"
        remedy = "Qwen-VL, SmolVLM and InternVL need it: install the torchvision that was built for your torch."
        return [Check("torchvision", "note", said, remedy)]
    try:
        import_module("torchvision")
    except Exception as error:  # a build for another torch raises RuntimeError and what not
        remedy = (
            f"It was not built for torch {_version('torch')}, and keeps transformers from being imported: install the "
            "build that matches (a CPU torch takes torchvision from the same index), or pip uninstall torchvision."
        )
        return [Check("torchvision", "error", f"{found}: {_short(error)}", remedy)]
    return [Check("torchvision", "ok", found)]


def _devices() -> list[Check]:
    import torch

    from seewhy.vlm.speed import machine_memory

    memory = machine_memory()
    processor = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    cpu = Check("CPU", "ok", processor + ("" if memory is None else f", {_gib(memory)} of memory"))
    if not torch.cuda.is_available():
        remedy = "Models above about a billion parameters want a GPU. `seewhy plan` says what one would take."
        built = "" if torch.version.cuda else " (this torch is built for the CPU)"
        return [cpu, Check("GPU", "note", f"none{built}", remedy)]
    names = range(torch.cuda.device_count())
    found = [(torch.cuda.get_device_name(i), *torch.cuda.mem_get_info(i)) for i in names]
    return [cpu, *(Check("GPU", "ok", f"{name}, {_gib(free)} of {_gib(all_)} free") for name, free, all_ in found)]


def _precision() -> Check:
    """The dtypes in which a small product works and is right."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    works = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        try:
            ones = torch.ones(8, 8, dtype=dtype, device=device)
            if bool((ones @ ones == 8).all()):
                works.append(str(dtype).removeprefix("torch."))
        except RuntimeError:
            continue
    if "float32" not in works:
        return Check("precision", "error", f"{device}: matrix products are wrong", "Install torch again.")
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return Check("precision", "note", f"cuda: {', '.join(works)}", "No bfloat16 units: set model.dtype to float16.")
    return Check("precision", "ok", f"{device}: {', '.join(works)}")


def _disk(output: Path) -> Check:
    place = next(path for path in (output.absolute(), *output.absolute().parents) if path.exists())
    if not os.access(place, os.W_OK):
        return Check("output", "error", f"{place} cannot be written", "Set output to a folder that can.")
    free = shutil.disk_usage(place).free
    if free < LOW_DISK:
        return Check("output", "note", f"{_gib(free)} free at {place}", "`seewhy plan CONFIG` says what a run writes.")
    return Check("output", "ok", f"{_gib(free)} free at {place}")


def _cache() -> Check:
    from huggingface_hub.constants import HF_HOME

    offline = " (HF_HUB_OFFLINE is set: nothing is fetched)" if os.environ.get("HF_HUB_OFFLINE", "") == "1" else ""
    return Check("HF_HOME", "ok", f"{HF_HOME}{offline}")


def _extras() -> list[Check]:
    """Optional packages, as pyproject.toml names them; developers' own are left out."""
    try:
        required = metadata("seewhy").get_all("Requires-Dist") or []
    except PackageNotFoundError:
        return [Check("extras", "note", "not known: seewhy runs from a source tree", "pip install -e .")]
    wanted: dict[str, list[str]] = {}
    for line in required:
        requirement, _, marker = line.partition(";")
        if "extra ==" in marker:
            extra = marker.split("extra ==")[1].strip().strip("\"'")
            wanted.setdefault(extra, []).append(_name(requirement))
    return [_extra(extra, names) for extra, names in wanted.items() if extra not in ("dev", "bench", "all")]


def _extra(extra: str, names: list[str]) -> Check:
    missing = [name for name in names if _version(name) is None]
    if missing:
        return Check(f"extra {extra}", "note", f"no {', '.join(missing)}", f"pip install 'seewhy[{extra}]'")
    return Check(f"extra {extra}", "ok", ", ".join(f"{name} {_version(name)}" for name in names))


def _name(requirement: str) -> str:
    """The package of a requirement, `openai<4,>=2` without its versions."""
    return requirement.replace("(", " ").split("[")[0].split("<")[0].split(">")[0].split("=")[0].split("!")[0].strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _hub() -> Check:
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    remedy = "Not needed for models and data on disk: set model.name_or_path to a folder."
    if os.environ.get("HF_HUB_OFFLINE", "") == "1":
        return Check("Hub", "note", "not asked: HF_HUB_OFFLINE is set", remedy)
    try:
        start = time.perf_counter()
        with urlopen(Request(os.environ.get("HF_ENDPOINT", HUB), method="HEAD"), timeout=HUB_SECONDS):
            return Check("Hub", "ok", f"reached in {time.perf_counter() - start:.1f} s")
    except (URLError, OSError, ValueError) as error:
        return Check("Hub", "note", f"not reached: {_short(error)}", remedy)


def _generation(seconds: float = GENERATION_SECONDS, clock: Callable[[], float] = time.perf_counter) -> Check:
    """The shipped base describes a grey image for about ten seconds; tokens a second."""
    from PIL import Image

    from seewhy.fieldguide.guide import BASE
    from seewhy.records import Prompt, Sampling
    from seewhy.vlm.model import VisionLanguageModel
    from seewhy.vlm.sampling import BatchSampler

    try:
        vlm = VisionLanguageModel.load(BASE)
        sampler = BatchSampler(vlm, 8, lambda _path: Image.new("RGB", (96, 96), (128, 128, 128)))
        prompts = [Prompt(str(number), "grey", "Describe the bird.") for number in range(8)]
        start, tokens, seed = clock(), 0, 0
        while clock() - start < seconds:
            texts = sampler.sample(prompts, Sampling(temperature=1.0, max_new_tokens=48), seed)
            tokens += sum(len(vlm.token_ids(text)) for (text,) in texts)
            seed += 1
        rate = tokens / (clock() - start)
    except (SeeWhyError, RuntimeError, OSError) as error:
        return Check("generation", "error", _short(error), "The shipped model does not run: install seewhy again.")
    if not tokens:
        return Check("generation", "error", "the shipped model writes nothing", "Install torch and seewhy again.")
    return Check("generation", "ok", f"{rate:,.0f} tokens a second with the shipped model on {vlm.device.type}")


def _speed(seconds: float = GENERATION_SECONDS) -> Check:
    """What the CPU does, as `seewhy plan` measures it where a run has no GPU."""
    from seewhy.vlm.speed import cpu_speed

    speed = cpu_speed(seconds)
    reached = ", ".join(f"{getattr(speed, work) / 1e9:,.3g} in {work}" for work in ("reading", "tuning", "writing"))
    return Check("CPU speed", "ok", f"billions of operations a second: {reached} ({speed.threads} threads)")


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
