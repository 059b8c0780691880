"""Check the files of a downloaded model before a library opens them, and say which one is broken and how.

A clone without Git LFS, a copy that was cut off and a saved error page are the usual faults. Libraries report them as
"header too large" or "Expecting value: line 1", or take the broken file for a missing one.
"""

import json
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seewhy.errors import SeeWhyError
from seewhy.run.storage import below

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
OBJECTS = (
    "config.json", "generation_config.json", "processor_config.json", "preprocessor_config.json",
    "video_preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "chat_template.json", INDEX, "config_sentence_transformers.json",
    "sentence_bert_config.json",
)  # fmt: skip
"""Files that hold one JSON object, as far as they are there."""
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
TEXTS = ("chat_template.jinja", "merges.txt")
BINARIES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")


def check_model_folder(folder: Path, *, weights: bool) -> None:
    """Raise SeeWhyError, naming the file and how to get it again, for a folder that holds no whole model.

    With `weights` the safetensors files are checked too: that they are there, and of the length that they declare.
    """
    if (folder / "adapter_config.json").exists():
        raise SeeWhyError(_is_adapter(folder))
    check_links(folder)
    if not (folder / "config.json").exists():
        raise SeeWhyError(_no_model(folder))
    check_files(folder / name for name in (*OBJECTS, *TEXTS, *BINARIES) if (folder / name).exists())
    if not any((folder / name).exists() for name in PROCESSORS):
        raise SeeWhyError(
            f"There is neither {PROCESSORS[0]} nor {PROCESSORS[1]} in {folder}, so it is not known how the model takes "
            f"an image: it is a model for text alone, or not whole. {get_again(folder / PROCESSORS[1])}"
        )
    if weights:
        check_files(weight_files(folder))


def check_encoder_folder(folder: Path) -> None:
    """Raise SeeWhyError, naming the file, for a sentence-transformers folder in which a file is broken."""
    named = {*OBJECTS, *TEXTS, *BINARIES, "modules.json"}
    check_links(folder)
    check_files(path for path in sorted(folder.rglob("*")) if path.name in named or path.suffix == ".safetensors")
    modules = json.loads((folder / "modules.json").read_bytes()) if (folder / "modules.json").exists() else []
    for module in modules:
        kind, path = (str(module.get(key, "")) if isinstance(module, dict) else "" for key in ("type", "path"))
        below(folder, path)
        if not kind.startswith("sentence_transformers."):
            raise SeeWhyError(
                f"{folder / 'modules.json'} asks for {kind!r}, which is no part of sentence-transformers: it would be "
                "code of the encoder's own, and is not run. Choose another encoder."
            )


def check_links(folder: Path, patterns: Sequence[str] = ("*",)) -> None:
    """Raise SeeWhyError for a link in a received folder by which another file of the reader's would be read. `patterns`
    are those of the names that count.

    Links to weights are followed, and so are those of the Hub's cache to its blobs.
    """
    homes = (folder.resolve(), folder.resolve().parent.parent / "blobs")
    for path in (path for pattern in patterns for path in folder.rglob(pattern)):
        if path.is_symlink() and path.suffix != ".safetensors":
            target = Path(os.path.realpath(path))  # which names a link of a loop itself
            if not target.exists():
                raise SeeWhyError(f"{path} is a link to {target}, which cannot be read. Put the file itself there.")
            if not any(target.is_relative_to(home) for home in homes):
                raise SeeWhyError(
                    f"{path} is a link to {target}, which is not in {folder}, and is not read. Put the file itself "
                    "there, if you know where the link comes from."
                )


def check_files(paths: Iterable[Path]) -> None:
    """Raise SeeWhyError for the first file that is not what its name says."""
    for path in paths:
        if fault := file_fault(path):
            raise SeeWhyError(f"{path} {fault}. {get_again(path)}")


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that transformers reads: one, or the shards that an index names.

    Raises SeeWhyError where there are none, or where shards are missing.
    """
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        if not (folder / WEIGHTS).exists():
            raise SeeWhyError(_no_weights(folder))
        return [folder / WEIGHTS]
    shards = json.loads((folder / INDEX).read_bytes()).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise SeeWhyError(f"{folder / INDEX} names no weights (weight_map). {get_again(folder / INDEX)}")
    files = [below(folder, name) for name in sorted(set(shards.values()))]
    if missing := [path for path in files if not path.exists()]:
        raise SeeWhyError(
            f"{missing[0]} is missing: {len(missing)} of the {len(files)} weight files that {INDEX} names are not "
            f"there, so the download or copy is not whole. {get_again(missing[0])}"
        )
    return files


def get_again(path: Path) -> str:
    """Return how to download one file of a model again."""
    return (
        f"Get it again: `git lfs pull` in a clone of the repository, or `hf download OWNER/NAME {path.name} "
        f"--local-dir FOLDER`, or copy it once more and compare the sizes."
    )


def file_fault(path: Path) -> str | None:
    """Return what is wrong with a file, to follow its name in a sentence, or None."""
    if path.is_dir():
        return "is a folder, where a file is expected"
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if head.startswith(LFS_POINTER):
        declared = next((line[5:].decode() for line in head.splitlines() if line.startswith(b"size ")), "?")
        return f"is a Git-LFS pointer, not the file of {declared} bytes that it stands for"
    if not head:
        return "is empty"
    if path.suffix not in (".jinja", ".txt") and head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "is a web page, not the file that was asked for"
    if path.suffix == ".safetensors":
        return _safetensors_fault(path)
    if path.suffix == ".json":
        return _json_fault(path)
    return _text_fault(path) if path.suffix in (".jinja", ".txt") else None


def _safetensors_fault(path: Path) -> str | None:
    """A safetensors file is 8 bytes with the header's length, the header (JSON with offsets), and the tensors."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= 100_000_000:
            return "is no safetensors file"
        header = file.read(length)
    if len(header) < length:
        return f"is cut off: it has {size:,} bytes, and its header alone is {length + 8:,} bytes long"
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        end = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, LookupError, TypeError, AttributeError):
        return "is no safetensors file: its header cannot be read"
    return None if size == end else f"{_cut_or_long(size, end)}: it has {size:,} of {end:,} bytes"


def _cut_or_long(size: int, expected: int) -> str:
    return "is cut off" if size < expected else "is longer than its header says"


def _json_fault(path: Path) -> str | None:
    try:
        value: Any = json.loads(path.read_bytes())
    except RecursionError:
        return "is no JSON that can be read: it is nested too deeply"
    except ValueError as error:
        return f"is no JSON, or only a part of it ({error})"
    wanted, word = (list, "list") if path.name == "modules.json" else (dict, "object")
    return None if isinstance(value, wanted) else f"holds no JSON {word}"


def _text_fault(path: Path) -> str | None:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return f"is no text in UTF-8 ({error.reason} at byte {error.start})"
    return None


def _is_adapter(folder: Path) -> str:
    try:
        base = json.loads((folder / "adapter_config.json").read_bytes()).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        base = None
    on = f" on {base}" if base else ""
    return (
        f"{folder} holds an adapter (adapter_config.json){on}, not a whole model. Merge it first, with peft's "
        f"merge_and_unload() and save_pretrained(), and give that folder; or give the untuned model itself. If its "
        f"weights are merged already, take adapter_config.json out of the folder."
    )


def _no_model(folder: Path) -> str:
    inner = sorted(path.parent.name for path in folder.glob("*/config.json"))
    hint = f" There is one in {folder / inner[0]}: give that folder." if inner else ""
    if gguf := _first(folder, "*.gguf"):
        hint = f" {_of_gguf(gguf)}"
    return f"There is no config.json in {folder}, so it is not an image-text-to-text model of transformers.{hint}"


def _no_weights(folder: Path) -> str:
    if pickled := _first(folder, "*.bin", "*.pth", "*.pt", "*.ckpt"):
        return (
            f"Model {folder} has no safetensors weights, the only ones that are read: {pickled.name} is pickled, and "
            f"can run code. Look for a revision that has them, or, where you trust the file, load it with transformers "
            f"and write it with save_pretrained()."
        )
    if gguf := _first(folder, "*.gguf"):
        return f"Model {folder} has no safetensors weights. {_of_gguf(gguf)}"
    if shard := _first(folder, "*.safetensors"):
        return (
            f"Model {folder} has {shard.name} and neither {WEIGHTS} nor {INDEX}, which says which weights lie in which "
            f"file. {get_again(folder / INDEX)}"
        )
    return f"Model {folder} has no safetensors weights ({WEIGHTS}). {get_again(folder / WEIGHTS)}"


def _of_gguf(path: Path) -> str:
    return (
        f"{path.name} is for llama.cpp, and cannot be tuned: give the model of transformers (safetensors) that it was "
        f"made from."
    )


def _first(folder: Path, *patterns: str) -> Path | None:
    return next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None)
