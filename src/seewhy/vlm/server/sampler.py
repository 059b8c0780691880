"""Answers from a server: what the method's `Sampler` asks for, from any OpenAI-compatible endpoint.

The first call begins it: the model answers a few of the call's prompts in this process, gives its memory back, the
server is started (or found), and must answer them alike (parity.py) before anything is sampled. After that the model
stays here without weights, to tell special tokens from text.

    with ServerSampler(load, folder, config.model.engine, log) as sampler:
        texts = sampler.sample(prompts, Sampling(samples=3, temperature=0.7), seed=0)
"""

import base64
import gc
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import TracebackType

import torch
from PIL import Image

from seewhy.config import EngineConfig
from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling
from seewhy.run.progress import say
from seewhy.run.storage import digest
from seewhy.vlm import parity
from seewhy.vlm.chat import open_image
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.server import process as server_process
from seewhy.vlm.server.client import ChatClient
from seewhy.vlm.server.process import ServerProcess
from seewhy.vlm.template import switch_of


class ServerSampler:
    """One model behind a server, which is stopped by `close` if it was started here; a later call starts it again.

    `load` loads the model in this process, `model` is its folder or its name on the Hub, `log` the file to which a
    started server prints, and `opener` reads an image (RGB) from a path.
    """

    def __init__(
        self,
        load: Callable[[], BatchSampler],
        model: str | Path,
        settings: EngineConfig,
        log: Path,
        opener: Callable[[str], Image.Image] = open_image,
    ) -> None:
        self._load = load
        self._opener = opener
        self._model = str(Path(model).absolute() if Path(model).is_dir() else model)
        self._settings = settings
        self._log = log
        self._images = log.absolute().parent / "images"
        self._in_process: BatchSampler | None = None
        self._process: ServerProcess | None = None
        self._client: ChatClient | None = None

    def __enter__(self) -> "ServerSampler":
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server, if it was started here, with all that it started."""
        self._client = self._in_process = None
        if self._process is not None:
            process, self._process = self._process, None
            process.stop()
        shutil.rmtree(self._images, ignore_errors=True)

    def rejected_text(self, text: str) -> str | None:
        """Why `text` may not be used as text with this model (a special token or chat marker in it), or None."""
        return self._loaded().rejected_text(text)

    def count_tokens(self, text: str) -> int:
        """The number of the model's tokens in a text, without an end token."""
        return self._loaded().count_tokens(text)

    def refused_sizes(self, sizes: Iterable[tuple[int, int]]) -> Mapping[tuple[int, int], str]:
        """Those of some image sizes (width, height) that the model's processor refuses, with what it says."""
        return self._loaded().refused_sizes(sizes)

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[str]]:
        """`sampling.samples` texts for each prompt, in the prompts' order: all of them, or SeeWhyError.

        Raises it where the server cannot be started or does not answer as the model does in process, and where it
        refuses, fails, is too slow, dies, or answers with something else than texts of this model.
        """
        if not prompts:
            return []
        for prompt in prompts:
            if fault := self.rejected_text(prompt.text):
                raise SeeWhyError(f"The text {prompt.text[:80]!r} of prompt {prompt.id} {fault}: reword it.")
        try:
            client = self._client or self._begin(prompts, sampling)
            return client.sample(prompts, sampling, seed)
        except SeeWhyError as error:
            death = self._death()
            self.close()
            if death is None:
                raise
            raise SeeWhyError(f"{death}\n({error})") from error
        except BaseException:
            self.close()
            raise
        finally:
            shutil.rmtree(self._images, ignore_errors=True)

    def _loaded(self) -> BatchSampler:
        if self._in_process is None:
            self._in_process = self._load()
        return self._in_process

    def _begin(self, prompts: Sequence[Prompt], sampling: Sampling) -> ChatClient:
        """Start the server, learn how it speaks, and compare it with the model in process."""
        in_process = self._loaded()
        vlm = in_process.vlm
        compared = parity.chosen(prompts)
        expected = parity.references(in_process, compared, sampling.max_new_tokens)
        values = {
            "model": self._model,
            "dtype": str(vlm.model.dtype).removeprefix("torch."),
            "device": vlm.device.type,
            "images": str(self._images),
        }
        _forget_weights(vlm)
        client = self._connect(values, vlm).learn(compared[0])
        greedy = Sampling(max_new_tokens=min(sampling.max_new_tokens, parity.TOKENS))
        answers = [(reply.texts[0], reply.prompt_tokens) for (reply,) in client.replies(compared, greedy, seed=0)]
        ties = parity.check(vlm, client.base_url, expected, answers)
        parted = f", {ties} of them up to a tie between two tokens" if ties else ""
        say(f"the server answers {len(compared)} prompts as the model in process does{parted}")
        self._client = client
        return client

    def _connect(self, values: dict[str, str], vlm: VisionLanguageModel) -> ChatClient:
        settings, base_url = self._settings, self._settings.base_url
        if base_url is None:
            self._process, base_url = server_process.start(
                settings.command, values, self._log, port=settings.port, seconds=settings.start_timeout
            )
        ends = tuple(vlm.stop_token_ids)
        return ChatClient(
            base_url.rstrip("/"), settings.served_name or self._model, self._image_url,
            settings.concurrency, settings.timeout, settings.retries, end_tokens=ends,
            end_texts=tuple(str(vlm.tokenizer.convert_ids_to_tokens(end)) for end in ends),
            max_length=vlm.max_length, started=self._process is not None,
            key=server_process.key_in(settings.command) if self._process else "",
            template_settings=switch_of(vlm.processor),
        )  # fmt: skip

    def _image_url(self, path: str) -> str:
        image = self._loaded().vlm.limited(self._opener(path))
        return data_url(image) if self._settings.image == "data" else file_url(image, self._images)

    def _death(self) -> str | None:
        """That the server is dead, and its last words; None while it lives or is not ours."""
        if self._process is None or not self._process.ended():
            return None
        return (
            f"The server of {self._model} died while it was asked. Start the run again: it goes on where it stopped. "
            f"If that happens again, give the server less to do at once (model.engine.concurrency) or more memory. "
            f"{self._process.tail()}"
        )


def data_url(image: Image.Image) -> str:
    """The image as a PNG in a URL: exactly these pixels."""
    return f"data:image/png;base64,{base64.b64encode(_png(image)).decode()}"


def file_url(image: Image.Image, folder: Path) -> str:
    """The URL of a PNG in `folder`, which the server must be allowed to read: exactly these pixels."""
    png = _png(image)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest(base64.b64encode(png).decode())}.png"
    path.write_bytes(png)
    return path.as_uri()


def _png(image: Image.Image) -> bytes:
    written = BytesIO()
    image.save(written, "PNG", compress_level=1)
    return written.getvalue()


def _forget_weights(vlm: VisionLanguageModel) -> None:
    """Leave the model's shapes and settings, and give its memory back."""
    vlm.model.to("meta")  # pyright: ignore[reportArgumentType]
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
