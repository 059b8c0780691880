"""What one worker tells of itself, and how another sees whether they would make the same bytes."""

import hashlib
import os
import platform
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from seewhy.config import RunConfig, decisive
from seewhy.errors import SeeWhyError
from seewhy.run.folder import changes, package_versions
from seewhy.run.lock import holder_file
from seewhy.run.progress import say

CLOCKS = 30.0
"""Seconds by which two machines' clocks may differ without a word."""
PATIENCE = 15.0
"""Seconds in which a file that another machine wrote has to appear in a shared folder."""


def about(config: RunConfig) -> dict[str, Any]:
    """Return where this process is and all that its bytes depend on but data and weights, which stages tell."""
    settings = decisive(config)
    settings.pop("output")  # machines may have mounted it elsewhere
    return {
        "host": platform.node(),
        "process": os.getpid(),
        "alike": {"code": code_digest(), "versions": _versions(), "settings": settings},
    }


def check_alike(mine: Mapping[str, Any], theirs: Mapping[str, Any], name: str) -> None:
    """Raise SeeWhyError where a worker has other code, settings or versions than this process."""
    if found := changes(mine["alike"], theirs["alike"]):
        raise SeeWhyError(
            f"{name} is not like the process that drives the run (process {mine['process']} on {mine['host']}), so it "
            f"would make other bytes: {'; '.join(found)}. Give all machines the same packages, code and settings."
        )


def say_clock(name: str, theirs: float, asked: float, heard: float) -> None:
    """Say it where a worker's clock, read between `asked` and `heard` of this one, is far from it. Nothing depends on
    clocks but the times in events.jsonl."""
    ahead = theirs - heard if theirs > heard else theirs - asked if theirs < asked else 0.0
    if abs(ahead) > CLOCKS:
        way = "ahead" if ahead > 0 else "behind"
        say(f"The clock of {name} is {abs(ahead):.0f} seconds {way}. Only times in logs depend on it.")


def invitation(folder: Path) -> dict[str, Any]:
    """Return what another worker needs to see that its run folder is this one. Call it with the folder locked."""
    holder = holder_file(folder).read_text()
    return {"folder": str(folder.absolute()), "host": platform.node(), "holder": holder}


def check_shared(folder: Path, invited: Mapping[str, Any]) -> None:
    """Raise SeeWhyError, with both paths, where a worker's run folder is not that of the driving process."""
    until = time.monotonic() + PATIENCE
    while not _says(folder, invited["holder"]):
        if time.monotonic() > until:
            raise SeeWhyError(
                f"the run folder is not shared: {folder.absolute()} on {platform.node()} does not hold what process "
                f"{invited['holder']} has just written to {invited['folder']}. Set output to a folder that all "
                "machines see."
            )
        time.sleep(0.2)


def _says(folder: Path, holder: str) -> bool:
    try:
        return holder_file(folder).read_text() == holder
    except OSError:
        return False


@cache
def code_digest() -> str:
    """Return a digest of the package's source."""
    root, found = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _versions() -> dict[str, str]:
    versions = package_versions()
    for package in ("peft", "accelerate", "pillow", "sentence-transformers"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
