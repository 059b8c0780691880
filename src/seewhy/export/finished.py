"""A run that can be exported: what its folder holds of it, and which round is meant."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seewhy.config import RunConfig
from seewhy.domain.domain import Domain, load_domain
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import BASE, with_guide
from seewhy.proof import gate
from seewhy.proof.audit import Audit
from seewhy.recorded import recorded_config
from seewhy.records import Answer, Selection
from seewhy.report.run_records import RunRecords
from seewhy.run_folder import read_manifest, read_records
from seewhy.storage import inside

_AGAIN = "Start the run again: it goes on where it stopped."


@dataclass(frozen=True)
class FinishedRun:
    """A run folder with at least one tuned and measured model; `round` is the one to export."""

    path: Path
    config: RunConfig
    manifest: Mapping[str, Any]
    domain: Domain
    metrics: Mapping[str, Any]
    audit: Audit
    round: int

    @property
    def model(self) -> Path:
        """The merged model after `round`."""
        return self._tuned(self.round) / "model"

    @property
    def adapters(self) -> list[Path]:
        """The adapters that made the model, in order; each is relative to what the ones before it made of the base."""
        first = self.round if self.config.start_from == "base" else 1
        return [self._tuned(round) / "adapter" for round in range(first, self.round + 1)]

    @property
    def base(self) -> str:
        """Where the untuned model is loaded from: a folder or a name on the Hub."""
        name = self.config.model.name_or_path
        return str(BASE) if name == "fieldguide" else str(Path(name).expanduser())

    @property
    def figures(self) -> Mapping[str, Any]:
        """The exported model's entry in metrics.json."""
        return next(r for r in self.metrics["rounds"] if r["round"] == self.round)

    def answers(self, round: int) -> list[Answer]:
        """What the model of a round was taught of the domain."""
        return read_records(self.path, f"round-{round}/answers", Answer)

    def selections(self) -> list[Selection]:
        return read_records(self.path, "select", Selection)

    def _tuned(self, round: int) -> Path:
        return inside(self.path, f"stages/round-{round}/model")


def open_run(run: str, round: str | None, *, trust_remote_code: bool | None = None) -> FinishedRun:
    """Read a run folder. `round` as `choose_round` takes it.

    Raises SeeWhyError for a folder without a measured model, for a round that it does not have, and where the data is
    not what the run learnt from.
    """
    path, records = Path(run), RunRecords(run)
    manifest, config = read_manifest(path), recorded_config(run, trust_remote_code=trust_remote_code)
    metrics = _read_metrics(path / "metrics.json")
    if metrics is None:
        raise SeeWhyError(f"{run} has not been measured yet. {_AGAIN}")
    chosen = choose_round(path, metrics, round)
    if not inside(path, f"stages/round-{chosen}/model/model").is_dir():
        raise SeeWhyError(f"{run} has no model of round {chosen}. {_AGAIN}")
    domain = load_domain(with_guide(config.data, path / "fieldguide"))
    learnt = manifest["stages"].get("domain", {}).get("settings", {}).get("data", {}).get("fingerprint")
    if learnt != domain.fingerprint:
        raise SeeWhyError(
            f"The images, labels, concepts or questions of {config.data.source} are no longer those that {run} was "
            "made from, so a card would describe other data. Put them back, or run again on the new ones."
        )
    return FinishedRun(path, config, manifest, domain, metrics, records.audit(), chosen)


def choose_round(run: Path, metrics: Mapping[str, Any], wanted: str | None) -> int:
    """The round that `wanted` stands for, among those in metrics.json: a number, 'last', or 'best' on val images.

    None is the round gate's best, or the last one of a run without a gate.
    """
    measured = [r["round"] for r in metrics["rounds"]]
    if not measured:
        raise SeeWhyError(f"{run} has no tuned and measured model yet. {_AGAIN}")
    gated = gate.read(run).get("best")
    if wanted == "last" or (wanted is None and gated is None):
        return measured[-1]
    if wanted in (None, "best"):
        return gated or _best(run, metrics, measured)
    if not wanted.isdecimal():
        raise SeeWhyError(f"--round is {wanted!r}, but takes a number, 'last' or 'best'.")
    if int(wanted) not in measured:
        raise SeeWhyError(f"{run} has no measured model of round {wanted}; it has those of {_listed(measured)}.")
    return int(wanted)


def _best(run: Path, metrics: Mapping[str, Any], measured: Sequence[int]) -> int:
    """Without a gate: the earliest of the rounds most accurate on val images. On test images it would be flattered."""
    chosen_on = metrics if metrics["base"]["split"] == "val" else _read_metrics(run / "metrics-val.json")
    rounds = [r for r in (chosen_on or {}).get("rounds", ()) if r["round"] in measured]
    if [r["round"] for r in rounds] != list(measured):
        raise SeeWhyError(
            f"The best round of {run} is chosen on val images, and not every round has been measured on them. Run "
            f"`seewhy evaluate {run} --split val` first, or take --round last."
        )
    return max(rounds, key=lambda r: (r["accuracy"], -r["round"]))["round"]


def _read_metrics(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SeeWhyError(f"{path} cannot be read ({error}). {_AGAIN}") from error


def _listed(rounds: Sequence[int]) -> str:
    return ("round " if len(rounds) == 1 else "rounds ") + ", ".join(map(str, rounds))
