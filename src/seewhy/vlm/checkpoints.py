"""The checkpoints of one tuning: which of them count when it is started again.

checkpoints = Checkpoints(folder / "checkpoints", made_of)
checkpoints.newest()        # the folder to go on from, or None
checkpoints.complete(50)    # after the checkpoint of step 50 is written
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seewhy.progress import say
from seewhy.run_folder import changes

MARKER = "complete"
"""File that ends a checkpoint; it holds what the checkpoint hangs on, as JSON."""


class Checkpoints:
    """The checkpoints of one tuning, of which only complete ones count and only the newest is kept. `made_of`: all that
    their weights hang on, nested and JSON-able."""

    def __init__(self, folder: Path, made_of: Mapping[str, Any]) -> None:
        self.folder = folder
        self.made_of: Mapping[str, Any] = json.loads(json.dumps(made_of))

    def newest(self) -> str | None:
        """Folder of the newest complete checkpoint of this tuning, or None; all others are removed. Says so where the
        newest of all is one of another tuning, which then begins anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        found = {path: marked for path in self.folder.iterdir() if (marked := self._marked(path)) is not None}
        newest = max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
        if newest is not None and found[newest] != self.made_of:
            what = "; ".join(changes(found[newest], self.made_of))
            say(f"tuning begins anew, without {newest.name} in {self.folder}, which was made otherwise ({what})")
            newest = None
        for path in self.folder.iterdir():
            if path != newest:
                self._remove(path)
        return None if newest is None else str(newest)

    def complete(self, step: int) -> None:
        """Marks the checkpoint of `step` as complete and removes the older ones."""
        (self.folder / f"checkpoint-{step}" / MARKER).write_text(json.dumps(self.made_of))
        self.newest()

    def remove(self) -> None:
        """Removes them all."""
        for path in self.folder.iterdir():
            self._remove(path)
        self.folder.rmdir()

    def _remove(self, path: Path) -> None:
        (path / MARKER).unlink(missing_ok=True)  # first, so that half a checkpoint never counts
        shutil.rmtree(path)

    def _marked(self, path: Path) -> Mapping[str, Any] | None:
        """What a complete checkpoint was made of; None for half a one."""
        try:
            marked = json.loads((path / MARKER).read_text())
        except (OSError, ValueError):
            return None
        return marked if isinstance(marked, dict) else None
