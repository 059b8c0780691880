"""Checksums, so that damage is noticed: a changed byte, a file that was cut, a weight that is gone.

A sealed file holds the SHA-256 of its own bytes, as `seal` and `sha256:...` in a form that suits it; the digest is of
the file with zeros in place of the digest. So one file stands for itself, whoever writes beside it. A folder that a
program writes (a model) has a list of its files' digests, SHA256SUMS, which `sha256sum -c SHA256SUMS` reads as well.

    payload = seal(json.dumps({"seal": UNSEALED, "rounds": []}).encode())
    is_whole(payload)        # True; False for a damaged file, None for one of a version without seals
    write_sums(folder); broken(folder)
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from seewhy.errors import SeeWhyError

KEY = "seal"
UNSEALED = f"sha256:{'0' * 64}"
"""What stands for the digest until `seal` fills it in."""
SUMS = "SHA256SUMS"
"""The file in a folder that lists the digests of all others in it."""

_SEAL = re.compile(rb"seal(?s:.{1,6}?)sha256:([0-9a-f]{64})")
_HALF_A_SEAL = re.compile(
    rb"sha256:(?s:.{0,33}?)[0-9a-f]{32}|seal(?s:.{8,13})[0-9a-f]{64}|seal(?s:.{1,6}?)sha256:[0-9a-f]{,63}\Z"
)
"""What is left of a seal when one byte of it has changed, or when the file was cut in it."""
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_CACHED_FROM = 2**20
"""Bytes: the digest of a smaller file is not worth keeping."""
_SETTLED = 2.0
"""Seconds after which a file's time tells that it has changed."""


def seal(payload: bytes) -> bytes:
    """Return a file's bytes with its digest in place of the last `UNSEALED` in them."""
    place = payload.rindex(UNSEALED.encode()) + len("sha256:")
    return payload[:place] + hashlib.sha256(payload).hexdigest().encode() + payload[place + 64 :]


def is_whole(payload: bytes) -> bool | None:
    """Return whether a file's bytes have the digest that they hold; None for a file without one (an older version)."""
    found = list(_SEAL.finditer(payload))
    for match in reversed(found):
        start, end = match.span(1)
        unsealed = payload[:start] + b"0" * 64 + payload[end:]
        if hashlib.sha256(unsealed).hexdigest().encode() == match[1]:
            return True
    return False if found or not payload or _HALF_A_SEAL.search(payload) else None


def sealed_json(values: Mapping[str, Any], **options: Any) -> bytes:
    """Return an object as a sealed file of JSON, the seal among its keys. `options` are those of `json.dumps`."""
    return seal((json.dumps({**values, KEY: UNSEALED}, ensure_ascii=False, **options) + "\n").encode())


def unsealed_json(payload: bytes) -> Any:
    """Return what a file of JSON holds, without its seal. Raises ValueError where it is damaged or no JSON."""
    if is_whole(payload) is False:
        raise ValueError("its bytes are not those that were written: the checksum in it differs")
    values = json.loads(payload)
    if isinstance(values, dict):
        values.pop(KEY, None)
    return values


# Files and folders.


def default_cache() -> Path:
    """Return SEEWHY_CACHE, or `seewhy` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SEEWHY_CACHE") or Path(home) / "seewhy")


def file_digest(path: Path, *, cached: bool = True) -> str:
    """Return the SHA-256 of all bytes of a file. That of a large one is kept in the user's cache, and with `cached`
    taken from there while the file has the same size and times."""
    stat = path.stat()
    state = [str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    large = stat.st_size >= _CACHED_FROM
    place = default_cache() / "digests" / hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:32]
    if large and cached:
        with suppress(OSError, ValueError):
            *kept, found = json.loads(place.read_bytes())
            if kept == state:
                return found
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if large and time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED:
        with suppress(OSError):  # a cache that cannot be written costs time alone
            place.parent.mkdir(parents=True, exist_ok=True)
            unfinished = place.with_name(f"{place.name}.{os.getpid()}")
            unfinished.write_text(json.dumps([*state, found]))
            unfinished.replace(place)
    return found


def sums_of(folder: Path) -> dict[str, str]:
    """Return the digest of every file in a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SUMS)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def write_sums(folder: Path, made: str = "") -> None:
    """Write SHA256SUMS for the files of a folder; `made` says in a comment what they were made from."""
    lines = [f"{found}  {name}" for name, found in sums_of(folder).items()]
    text = "\n".join([f"# {KEY} {UNSEALED}", *([f"# made from {made}"] if made else []), *lines]) + "\n"
    (folder / SUMS).write_bytes(seal(text.encode()))


def made_from(folder: Path) -> str:
    """Return what SHA256SUMS says a folder's files were made from; empty where it does not."""
    with suppress(OSError, UnicodeDecodeError):
        for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
            if line.startswith("# made from "):
                return line.removeprefix("# made from ")
    return ""


def broken(folder: Path, *, cached: bool = True) -> Iterator[tuple[str, str]]:
    """Yield the files of a folder that are not as its SHA256SUMS says, each with what is wrong: "is missing", "is not
    the file that was written". Nothing for a folder without a list, which older versions wrote."""
    if not (folder / SUMS).is_file():
        return
    payload = (folder / SUMS).read_bytes()
    if not is_whole(payload):
        yield SUMS, "is damaged, so it cannot be told whether the other files are whole"
        return
    for expected, name in _LINE.findall(payload.decode()):
        if not (folder / name).is_file():
            yield name, "is missing"
        elif file_digest(folder / name, cached=cached) != expected:
            yield name, "is damaged: its bytes are not those that were written"


def check_folder(folder: Path, remedy: str) -> None:
    """Raise SeeWhyError for the first file of a folder that is not as its SHA256SUMS says."""
    for name, fault in broken(folder):
        raise SeeWhyError(f"{folder / name} {fault}. {remedy}")
