"""Loads the models of a run, one at a time: in this process, or behind a server.

loaded = Loaded(config.model, base, folder / "server" / "log.txt")
loaded.sampler(path).sample(prompts, sampling, seed)
loaded.release()
"""

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image

from seewhy.config import ModelConfig, RunConfig
from seewhy.domain.covering import open_view
from seewhy.method.sampler import Sampler
from seewhy.records import Prompt, Sampling
from seewhy.run.progress import progress
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.server.sampler import ServerSampler

Picture = Callable[[], Image.Image]
"""Loads an image when it is needed, so that a thousand of them need not be in memory."""


class Loaded:
    """The model in use. It is loaded as the run's settings say, after the one before it is released."""

    def __init__(self, settings: ModelConfig, base: Path, log: Path) -> None:
        """`base` is the untuned model; a server writes to `log`."""
        self.settings = settings
        self.base = base
        self.log = log
        self._here: tuple[Path, BatchSampler] | None = None
        self._served: tuple[Path, ServerSampler] | None = None

    def sampler(self, path: Path) -> Sampler:
        """Return what samples answers of a model, in this process or through a server. The most recent one stays."""
        if self.settings.engine.kind == "in_process":
            return self.in_process(path)
        if self._served is None or self._served[0] != path:
            self.release()
            served = ServerSampler(lambda: self._batch_sampler(path), path, self.settings.engine, self.log, open_view)
            self._served = path, served
        return self._served[1]

    def in_process(self, path: Path) -> BatchSampler:
        """Load a model in this process, even if sampling uses a server. The most recent one stays loaded."""
        if self._here is None or self._here[0] != path:
            self.release()
            self._here = path, self._batch_sampler(path)
        return self._here[1]

    def model(self, path: Path, *, four_bit: bool = False) -> VisionLanguageModel:
        """Load a model, base or tuned, for the caller alone."""
        return load_model(self.settings, path, untuned=path == self.base, four_bit=four_bit)

    def release(self) -> None:
        """Release the loaded model, and stop the server."""
        self._here, served, self._served = None, self._served, None
        if served is not None:
            served[1].close()
        give_back_memory()

    def _batch_sampler(self, path: Path) -> BatchSampler:
        share_image = self.settings.share_image
        return BatchSampler(self.model(path), self.settings.batch_size, open_view, share_image=share_image)


class LoadedModel:
    """A model of a finished run in this process, to be asked about any pictures."""

    def __init__(self, vlm: VisionLanguageModel, config: RunConfig) -> None:
        self.vlm = vlm
        self.config = config

    def answers(
        self, pictures: Mapping[str, Picture], questions: Mapping[str, Sequence[str]] | str, title: str
    ) -> dict[str, list[str]]:
        """Return for each picture the greedy answers to its questions, or to the one question that all are asked.

        `title` names the progress bar.
        """
        asked = {name: (questions,) if isinstance(questions, str) else questions[name] for name in pictures}
        prompts = [Prompt(f"{name}: {text}", name, text) for name, texts in asked.items() for text in texts]
        model = self.config.model
        sampler = BatchSampler(self.vlm, model.batch_size, lambda name: pictures[name](), share_image=model.share_image)
        greedy = Sampling(max_new_tokens=self.config.evaluate.max_new_tokens)
        texts: list[str] = []
        with progress(title, total=len(prompts), done=0) as advance:
            while part := prompts[len(texts) : len(texts) + sampler.batch_size]:
                texts += [text for (text,) in sampler.sample(part, greedy, 0)]
                advance(len(part))
        given = iter(texts)
        return {name: [next(given) for _ in asked[name]] for name in pictures}


def give_back_memory() -> None:
    """Free the models that nothing refers to any more: they refer to themselves in circles, and torch keeps a GPU's
    memory for later use."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_model(
    settings: ModelConfig, path: Path, *, untuned: bool = False, four_bit: bool = False
) -> VisionLanguageModel:
    """Load a model as a run's settings say, in 4 bits to be tuned. The revision is that of the untuned base."""
    return VisionLanguageModel.load(
        str(path), device=settings.device, dtype=settings.dtype, trust_remote_code=settings.trust_remote_code,
        revision=settings.revision if untuned else None, four_bit=four_bit, max_pixels=settings.max_pixels,
        tiles=settings.tiles,
    )  # fmt: skip
