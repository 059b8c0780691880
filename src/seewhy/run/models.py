"""The one model that is loaded: in this process, or behind a server.

loaded = Loaded(config.model, base, folder / "server" / "log.txt")
loaded.sampler(path).sample(prompts, sampling, seed)
loaded.release()
"""

import gc
from pathlib import Path

import torch

from seewhy.config import ModelConfig
from seewhy.domain.images import load_image
from seewhy.method.sampler import Sampler
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.server.sampler import ServerSampler


class Loaded:
    """Loads models as a run's settings say, and lets go of one before it takes the next."""

    def __init__(self, settings: ModelConfig, base: Path, log: Path) -> None:
        """`base`: the untuned model; `log`: where a server writes."""
        self.settings = settings
        self.base = base
        self.log = log
        self._here: tuple[Path, BatchSampler] | None = None
        self._served: tuple[Path, ServerSampler] | None = None

    def sampler(self, path: Path) -> Sampler:
        """What answers for a model, in this process or through a server; the last one stays."""
        if self.settings.engine.kind == "in_process":
            return self.in_process(path)
        if self._served is None or self._served[0] != path:
            self.release()
            served = ServerSampler(lambda: self._batch_sampler(path), path, self.settings.engine, self.log, load_image)
            self._served = path, served
        return self._served[1]

    def in_process(self, path: Path) -> BatchSampler:
        """A model in this process, whatever answers the run's questions; the last one stays loaded."""
        if self._here is None or self._here[0] != path:
            self.release()
            self._here = path, self._batch_sampler(path)
        return self._here[1]

    def model(self, path: Path, *, four_bit: bool = False) -> VisionLanguageModel:
        """A model, base or tuned, for the caller alone."""
        return load_model(self.settings, path, untuned=path == self.base, four_bit=four_bit)

    def release(self) -> None:
        """Let go of the loaded model, and stop the server of the last one."""
        self._here, served, self._served = None, self._served, None
        if served is not None:
            served[1].close()
        give_back_memory()

    def _batch_sampler(self, path: Path) -> BatchSampler:
        share_image = self.settings.share_image
        return BatchSampler(self.model(path), self.settings.batch_size, load_image, share_image=share_image)


def give_back_memory() -> None:
    """Free the models that nothing refers to any more: they hold on to themselves in circles, and torch keeps a GPU's
    memory for what it may load next."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_model(
    settings: ModelConfig, path: Path, *, untuned: bool = False, four_bit: bool = False
) -> VisionLanguageModel:
    """A model of a run, as the run itself loads it; in 4 bits to be tuned. A revision is that of the untuned base."""
    return VisionLanguageModel.load(
        str(path), device=settings.device, dtype=settings.dtype, trust_remote_code=settings.trust_remote_code,
        revision=settings.revision if untuned else None, four_bit=four_bit, max_pixels=settings.max_pixels,
    )  # fmt: skip
