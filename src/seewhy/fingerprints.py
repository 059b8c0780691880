"""Which settings decide a run's outputs: what stages and checkpoints are held against, when a run is started again.

    Stage("round-1/model", {"tune": decisive("tune", config.tune)}, (answers, base))

A setting that is not in `THROUGHPUT` counts. One that is may be changed in the midst of a run: what is finished stays.
"""

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

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
    a group within it of which nothing is left is left out. A whole number given for a float is that float."""
    types, kept = get_type_hints(type(settings)), dict[str, Any]()
    for field in fields(settings):
        name = f"{group}.{field.name}"
        value: Any = getattr(settings, field.name)
        if is_dataclass(types[field.name]):
            if nested := decisive(name, value):
                kept[field.name] = nested
        elif name not in THROUGHPUT:
            kept[field.name] = float(value) if types[field.name] is float else value
    return kept
