"""Which settings decide a run's outputs: what stages and checkpoints are held against, when a run is started again.

    Stage("round-1/model", {"tune": decisive("tune", config.tune)}, (answers, base))

A setting that is not in `THROUGHPUT` counts. One that is may be changed in the midst of a run: what is finished stays.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

THROUGHPUT = frozenset(
    {
        "model.device",
        "model.trust_remote_code",
        "model.batch_size",
        "model.share_image",
        "model.engine.kind",
        "model.engine.command",
        "model.engine.base_url",
        "model.engine.served_name",
        "model.engine.port",
        "model.engine.concurrency",
        "model.engine.timeout",
        "model.engine.start_timeout",
        "model.engine.retries",
        "model.engine.image",
        "tune.micro_batch_size",
        "tune.gradient_checkpointing",
        "tune.checkpoint_steps",
        "tune.trackers",
    }
)
"""Settings that say where, how fast and in how much memory something is computed, and what may be run for it. A server
must answer as the model in this process does before anything is sampled from it (vlm/parity.py)."""


def decisive(group: str, settings: "DataclassInstance") -> dict[str, Any]:
    """Return the settings of a group, such as "tune", that change an output, nested as they are in the configuration;
    a group within it of which nothing is left is left out."""
    return _without(asdict(settings), f"{group}.")


def _without(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    kept = {key: value for key, value in settings.items() if prefix + key not in THROUGHPUT}
    nested = {key: _without(value, f"{prefix}{key}.") for key, value in kept.items() if isinstance(value, Mapping)}
    return {key: nested.get(key, value) for key, value in kept.items() if nested.get(key) != {}}
