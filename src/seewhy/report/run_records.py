"""The records of a run for those who only look at it, finished or not: nothing is made, no image is opened."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from seewhy.domain.domain import list_examples
from seewhy.domain.loaders import Row
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide
from seewhy.proof.audit import Audit, audit_run
from seewhy.recorded import recorded_config
from seewhy.records import Answer, Candidate, Selection
from seewhy.run_folder import read_manifest
from seewhy.storage import decode_shard, inside

R = TypeVar("R")


class RunRecords:
    """What a run folder holds so far. Raises SeeWhyError where there is no run, or its data cannot be read."""

    def __init__(self, run: str | Path) -> None:
        self.path = Path(run)
        config, manifest = recorded_config(run, quiet=True), read_manifest(self.path)
        self.rounds = config.rounds
        self.finished = frozenset(name for name, stage in manifest["stages"].items() if stage["complete"])
        """The stages of which every record is there."""
        try:
            root, rows = list_examples(with_guide(config.data, self.path / "fieldguide"))
        except SeeWhyError as error:
            raise SeeWhyError(f"The data that {run} was made from cannot be read. {error}") from error
        self.root: Path = root
        """The absolute folder of the images."""
        self.examples: Mapping[str, Row] = rows
        """Example id -> image, label and split."""

    @property
    def labels(self) -> dict[str, str]:
        """Example id -> label."""
        return {name: row.label for name, row in self.examples.items()}

    @property
    def groups(self) -> dict[str, str]:
        """Example id -> the lesion, patient or leaf that its image shows, where that is known."""
        return {name: row.group for name, row in self.examples.items() if row.group}

    def read(self, stage: str, record: type[R]) -> list[R]:
        """The records of a stage in order, as far as it has come."""
        shards = sorted(inside(self.path, f"stages/{stage}").glob("shard-*.parquet"))
        return [row for shard in shards for row in decode_shard(shard, record)[0]]

    def audit(self) -> Audit:
        """The audit of the rounds that have begun (see `proof.audit`)."""
        rounds = range(1, self.rounds + 1)
        return audit_run(
            {r: self.read(f"round-{r}/answers", Answer) for r in rounds},
            {r: self.read(f"round-{r}/candidates", Candidate) for r in rounds},
            self.read("select", Selection),
            self.labels,
        )
