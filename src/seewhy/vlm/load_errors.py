"""What went wrong when a model was loaded, in words, with what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import logging as transformers_logging

from seewhy.errors import SeeWhyError


@contextmanager
def loading(name: str, part: str) -> Iterator[None]:
    """Turn what libraries raise while they read `part` of a model into SeeWhyError. Out of memory stays what it is."""
    transformers_logging.disable_progress_bar()
    try:
        yield
    except (SeeWhyError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # tokenizers raises Exception itself, others whatever a broken file makes them do
        raise SeeWhyError(why_not_loaded(name, part, error)) from error


def placed(name_or_path: str | Path) -> str:
    """The folder or the Hub's name. Raises SeeWhyError for a folder that is not there, and for a file."""
    name = str(name_or_path)
    path = Path(name).expanduser()
    if path.is_file():
        kind = " It is for llama.cpp, and cannot be tuned." if path.suffix == ".gguf" else ""
        raise SeeWhyError(f"{name} is a file, not a model folder: give the folder that holds config.json.{kind}")
    is_path = name.startswith(("/", ".", "~")) or name.count("/") > 1
    if is_path and not path.is_dir():
        raise SeeWhyError(f"There is no model folder {name}. Check model.name_or_path.")
    return str(path) if name.startswith("~") else name


def why_not_loaded(name: str, part: str, error: Exception) -> str:
    """One sentence or two on an error of transformers, safetensors, tokenizers or huggingface_hub."""
    text = " ".join(str(error).split())
    if "torchvision" in text.lower():  # processors that could take videos, and some images in tiles
        return f"The processor of model {name} needs torchvision, which is not installed: pip install torchvision."
    if isinstance(error, ModuleNotFoundError) and "Could not import module" in text:
        return f"transformers could not be imported whole; `seewhy doctor` says which package is broken. ({text[:300]})"
    if isinstance(error, ImportError):
        return f"Model {name} needs a package that is not installed. ({text[:300]})"
    if "does not appear to have a file named" in text and "safetensors" in text:
        return (
            f"Model {name} has no safetensors weights, the only ones that are read (pickled ones can run code). Look "
            f"for a revision that has them, or write them with save_pretrained() where you trust the file. ({text})"
        )
    if "does not recognize this architecture" in text:
        return (
            f"The installed transformers does not know the architecture of model {name}: upgrade it (pip install -U "
            f"transformers), or, if the model runs code of its own, set model.trust_remote_code. ({text[:200]})"
        )
    if "Unrecognized configuration class" in text or "Unrecognized model" in text:
        return f"Model {name} is not an image-text-to-text model that transformers knows. ({text[:300]})"
    if "trust_remote_code" in text:
        return f"Model {name} runs code of its own: read it, then set model.trust_remote_code to true. ({text[:300]})"
    if not Path(name).is_dir() and (of_hub := _of_hub(name, error)):
        return of_hub
    said = text if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {text}"
    where = "Check its files" if Path(name).is_dir() else "Check model.name_or_path and model.revision"
    return f"Model {name} could not be loaded: {part} cannot be read. {where}, or download it again. ({said[:500]})"


def _of_hub(name: str, error: Exception) -> str | None:
    """What the Hub, or the way to it, says of a model; None for all else."""
    text = " ".join(str(error).split())
    low = text.lower()

    def is_about(kinds: tuple[type[Exception], ...], *words: str) -> bool:
        return any(isinstance(one, kinds) for one in _chain(error)) or any(word in low for word in words)

    if is_about((GatedRepoError,), "gated repo"):
        return (
            f"Model {name} is open only to those who have accepted its terms: accept them at "
            f"https://huggingface.co/{name}, then log in here with `hf auth login`. ({text[:200]})"
        )
    if is_about((RevisionNotFoundError,), "is not a valid git identifier"):
        return f"Model {name} has no such revision: correct model.revision. ({text[:200]})"
    unreachable = ("offline", "couldn't connect", "name or service not known", "timed out", "locate the file")
    if is_about((LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError), *unreachable):
        return (
            f"Model {name} is not on this machine and the Hub cannot be reached. Put its config.json, tokenizer and "
            f"processor files, chat template and (to run it) *.safetensors into a folder, and set model.name_or_path "
            f"to that; or fill the cache with `hf download {name}` where there is a connection. ({text[:200]})"
        )
    if is_about((RepositoryNotFoundError, HFValidationError), "is not a valid model identifier", "repo id must"):
        return (
            f"There is no model {name} on the Hub, nor a folder of that name here: correct model.name_or_path. If it "
            f"is private, log in with `hf auth login`. ({text[:200]})"
        )
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
