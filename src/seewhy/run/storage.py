"""Bytes on disk: whole or not at all, and the same for the same content.

A file is written under a `.partial` name, flushed to disk and renamed; a shard is a Parquet file with pinned writer
options, so that equal records give equal bytes (with one version of pyarrow).
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from seewhy.errors import Damaged, SeeWhyError
from seewhy.run.checksums import KEY, UNSEALED, file_digest, is_whole, seal

R = TypeVar("R")

ARROW_TYPES = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    tuple[str, ...]: pa.list_(pa.field("element", pa.string(), nullable=False)),
}
UNDECISIVE_FILES = {"generation_config.json", "trainer_state.json", "video_preprocessor_config.json"}
"""JSON beside a model that changes none of its answers here: the sampler takes no more of a generation config than the
tokens that end an answer."""
TOKENIZER_TEXTS = {"vocab.txt", "merges.txt"}
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EIO}
ALMOST_FULL = 2**20  # bytes
ENDS = 2**24
"""Bytes of a file's beginning and end that `digest_of_ends` reads."""
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
"""What file systems say that have no way to flush a folder (CIFS, some of FUSE)."""


def digest(value: Any) -> str:
    """Return the sha256 of a JSON-able value, the same for equal values."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def weights_digest(folder: Path) -> str:
    """Return a digest over what decides the outputs of the model in a folder: configuration, tokenizer, processor, chat
    template, weights and remote code, all bytes of them, and the tokens at which it stops.

    What else may lie there (cards, other formats, training logs, how others are to sample) does not count. Empty for
    a name on the Hub, which the revision identifies.
    """
    files = _deciding_files(folder)
    if all(path.stat().st_size <= 2 * ENDS for path in files):
        return digest_of_ends(folder)
    return f"whole-{digest([[_name(folder, path), file_digest(path)] for path in files] + [_stops(folder)])}"


def digest_of_ends(folder: Path) -> str:
    """Return what older versions took for `weights_digest`: of a large file its size, beginning and end alone."""
    if not folder.is_dir():
        return ""
    found = hashlib.sha256()
    for path in _deciding_files(folder):
        size = path.stat().st_size
        found.update(f"{_name(folder, path)}/{size}/".encode())
        with path.open("rb") as file:
            found.update(file.read(ENDS))
            if size > 2 * ENDS:
                file.seek(-ENDS, os.SEEK_END)
            found.update(file.read(ENDS))
    found.update(digest(_stops(folder)).encode())
    return found.hexdigest()


def _deciding_files(folder: Path) -> list[Path]:
    places = _parts(folder) if folder.is_dir() else []
    return sorted(path for place in places for path in place.iterdir() if _decides(path))


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _stops(folder: Path) -> Any:
    return _json(folder / "generation_config.json", {}).get("eos_token_id")


def _parts(folder: Path) -> list[Path]:
    """A model's folder, that of its chat templates, and those of its modules (sentence-transformers)."""
    modules = [m for m in _json(folder / "modules.json", []) if isinstance(m, dict) and "path" in m]
    places = {folder / "additional_chat_templates", *(below(folder, str(module["path"])) for module in modules)}
    return [folder, *sorted(place for place in places if place.is_dir() and place != folder)]


def _decides(path: Path) -> bool:
    if not path.is_file() or path.name.startswith("."):
        return False
    if path.suffix == ".json":
        return path.name not in UNDECISIVE_FILES and not path.name.endswith("_results.json")
    return path.suffix in {".safetensors", ".jinja", ".model", ".tiktoken", ".py"} or path.name in TOKENIZER_TEXTS


def _json(path: Path, default: Any) -> Any:
    """The content of a JSON file of `default`'s type; `default` where it is missing, damaged or of another type, which
    whoever loads the model complains of."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return default
    return value if isinstance(value, type(default)) else default


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Raise SeeWhyError where the disk is full or fails while `path` is written. Other errors pass through.

    Libraries report a full disk each in its own way (safetensors and torch without an errno), so the disk is asked too.
    """
    try:
        yield
    except SeeWhyError:
        raise
    except Exception as error:
        refused = isinstance(error, OSError) and (error.errno in DISK_ERRORS or _is_not_ours(error, path))
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not refused and shutil.disk_usage(folder).free > ALMOST_FULL:
            raise
        reason = (isinstance(error, OSError) and error.strerror) or error
        remedy = "Make room and start the run again: what is finished is kept."
        raise SeeWhyError(f"{path} cannot be written: {reason}. {remedy}") from error


def _is_not_ours(error: OSError, path: Path) -> bool:
    """Return whether a file beside or below `path`, or a folder above it, and no other, cannot be written or is on a
    disk that fails."""
    named = Path(str(error.filename or ""))
    return error.errno in _NOT_OURS and (named.is_relative_to(path.parent) or named in path.absolute().parents)


def inside(folder: Path, name: str) -> Path:
    """The path below `folder` that a name stands for which was read from a file. Raises SeeWhyError for one that leads
    out of the folder, by `..`, from the root, or by a link in it."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SeeWhyError(
            f"{name!r} leads out of {folder}, to {path.resolve()}, and is not touched. Remove the link or the entry if "
            "it is yours; do not use the folder if it came from somebody else."
        )
    return path


def below(folder: Path, name: str) -> Path:
    """The path of a file that a model's own files name. Links are followed, as the Hub's cache has links to its blobs.
    Raises SeeWhyError for a name that itself leads out of the folder."""
    if os.path.isabs(name) or ".." in Path(name).parts:
        raise SeeWhyError(f"{name!r} leads out of the model folder {folder}, and is not read. Do not use this model.")
    return folder / name


def refuse_links(folder: Path) -> None:
    """Raise SeeWhyError for a link in a run folder that leads out of it: what is written there would be elsewhere."""
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink():
                inside(folder, str(path.relative_to(folder)))


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk; folders only where the file system can do that."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def write_atomically(path: Path, payload: bytes) -> None:
    """Write a file, whole or not at all, even through a power cut. A failed write leaves nothing behind."""
    unfinished = path.with_name(path.name + ".partial")
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)  # of a killed process, or a link that somebody put there
        try:
            with unfinished.open("xb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        sync(path.parent)


def schema_of(record: type) -> pa.Schema:
    """Return the columns of a record type: its fields, in order."""
    hints = get_type_hints(record)
    types = {name: str if get_origin(hint) is Literal else hint for name, hint in hints.items()}
    return pa.schema([pa.field(f.name, ARROW_TYPES[types[f.name]], nullable=False) for f in fields(record)])


ANEW = "Delete this one file and start the run again: it is made anew."


def encode_shard(rows: Sequence[Any], record: type, origin: Mapping[str, str]) -> bytes:
    """Return records as the bytes of a sealed Parquet file, with what they were made from as `origin`."""
    schema = schema_of(record).with_metadata({**origin, KEY: UNSEALED})
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_pydict(columns, schema=schema),
        sink,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
        row_group_size=2**20,
    )
    return seal(sink.getvalue().to_pybytes())


def look_at_shard(path: Path, record: type) -> tuple[int, dict[str, str]]:
    """Return the number of a shard's records and their origin, once its checksum is verified. Errors as
    `decode_shard`."""
    with _readable(path):
        metadata = pq.read_metadata(pa.BufferReader(_whole(path)))
        rows, schema = metadata.num_rows, metadata.schema.to_arrow_schema()
    _check_columns(path, schema, record)
    return rows, _origin(schema)


def decode_shard(path: Path, record: type[R]) -> tuple[list[R], dict[str, str]]:
    """Return a shard's records and their origin. Raises SeeWhyError when the file is damaged or holds other records."""
    with _readable(path):
        table = pq.ParquetFile(pa.BufferReader(_whole(path))).read(use_threads=False)
    _check_columns(path, table.schema, record)
    columns = [
        [tuple(value) for value in column.to_pylist()] if pa.types.is_list(column.type) else column.to_pylist()
        for column in table.columns
    ]
    return [record(*values) for values in zip(*columns, strict=True)], _origin(table.schema)


def _whole(path: Path) -> bytes:
    """Return the bytes of a shard. Raises Damaged where they are not those that were written."""
    payload = path.read_bytes()
    if is_whole(payload) is False:
        raise Damaged(f"{path} is damaged: its bytes are not those that were written. {ANEW}")
    return payload


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Damaged(f"{path} cannot be read ({error}). {ANEW}") from error


def _check_columns(path: Path, schema: pa.Schema, record: type) -> None:
    if not schema.equals(schema_of(record)):
        remedy = "Another version of seewhy wrote it: use that version, or choose another output folder."
        raise SeeWhyError(f"{path} does not hold the columns of {record.__name__}. {remedy}")


def shard_origin(path: Path) -> dict[str, str]:
    """Return what a shard was made from, without its records; {} for a damaged one, of which `decode_shard` speaks."""
    try:
        return _origin(pq.read_schema(path))
    except (OSError, ValueError, pa.ArrowException):  # also a name that is no text
        return {}


def _origin(schema: pa.Schema) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items() if key != KEY.encode()}
