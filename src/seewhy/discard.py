"""Sets outputs of a run folder aside, in discarded/1, discarded/2, ...: all of them or none, whenever it is stopped.

What is to be moved is written down first and crossed out last; a list that is still there is of a process that was
killed, and the next one puts back what it had moved.
"""

import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from seewhy.errors import SeeWhyError
from seewhy.storage import disk, inside, sync, write_atomically

PLACE = "discarded"
MOVES = "moving.txt"
"""File in discarded/N that lists, as JSON, what is being moved there, while it is."""


def set_aside(folder: Path, paths: Sequence[Path], copied: Path) -> Path:
    """Move paths below the run folder to a new folder in discarded/, which is returned, beside a copy of a file."""
    aside = inside(folder, PLACE)
    used = [int(path.name) for path in aside.glob("[0-9]*") if path.name.isdecimal()]
    target = aside / str(max(used, default=0) + 1)
    leaves_first = sorted(set(paths), key=lambda path: (-len(path.parts), path))
    moves = [path.relative_to(folder).as_posix() for path in leaves_first]
    with disk(target):
        target.mkdir(parents=True)
        write_atomically(target / MOVES, json.dumps(moves).encode())
        try:
            for name in moves:
                _move(folder / name, target / name)
            if copied.exists():
                write_atomically(target / copied.name, copied.read_bytes())
        except BaseException:
            undo_half(folder)
            raise
        (target / MOVES).unlink()
        sync(target)
    return target


def undo_half(folder: Path) -> None:
    """Put back what `set_aside` has moved where it did not come to its end."""
    for listed in sorted(inside(folder, PLACE).glob(f"*/{MOVES}*")):  # half a list: nothing has been moved yet
        target = inside(folder, listed.parent.relative_to(folder).as_posix())
        for name in reversed(_read(listed) if listed.name == MOVES else []):
            there, back = inside(target, name), inside(folder, name)
            if there.exists():
                _move(there, back)
        shutil.rmtree(target)


def only_leads_to(folder: Path, places: Collection[Path]) -> bool:
    """Whether a folder holds nothing but some of these places (or partial ones), and folders on the way to them."""
    return bool(places) and all(
        path.with_name(path.name.removesuffix(".partial")) in places
        or (path.is_dir() and not path.is_symlink() and only_leads_to(path, places))
        for path in folder.iterdir()
    )


def _read(listed: Path) -> list[str]:
    try:
        names = json.loads(listed.read_bytes())
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SeeWhyError(f"{listed} is damaged: move what {listed.parent} holds to where it was, and delete it.")
    return names


def _move(path: Path, there: Path) -> None:
    """Rename a file or folder; into a folder that is there already, what it holds."""
    there.parent.mkdir(parents=True, exist_ok=True)
    if not (path.is_dir() and there.is_dir()):
        path.rename(there)
        return
    for inner in sorted(path.iterdir()):
        _move(inner, there / inner.name)
    path.rmdir()
