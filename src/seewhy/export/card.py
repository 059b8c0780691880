"""The cards of an export: what a model or data set is, how it was made, what it is good for and where it fails.

Whatever comes from data, settings or a model is escaped for Markdown as it is written; paths of this machine are
reduced to their last part.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

import yaml
from huggingface_hub import DatasetCardData, EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from seewhy.export.dataset import Taught, holds_placeholder
from seewhy.export.model import AdapterCheck, ExportedRound
from seewhy.method.synthesise import fallback_share
from seewhy.report.doubts import of_run
from seewhy.report.figures import COLUMNS, title
from seewhy.report.table import percent, rows, selection_cells
from seewhy.results import Figures
from seewhy.results_json import encode
from seewhy.run.sources import CELLS

_SPECIAL = re.compile(r"[\\`*_{}\[\]<>|~$&]|^[#+=-]|(?<=^\d)[.)](?=\s)")
_FILES = ("data.concepts", "data.questions", "data.truth", "tune.replay")
_NAMES = ("data.source", "model.name_or_path", "select.encoder")
"""Settings that are a place on this machine, or a name on the Hub."""
MOST_CLASSES = 500
"""Classes that a card lists with their concepts; the rest are counted."""


class Plain(str):
    """Text that is Markdown already."""

    __slots__ = ()


def escape(value: Any) -> str:
    """`value` as text that Markdown shows as it stands, on one line; `Plain` stays as it is."""
    if isinstance(value, Plain):
        return value
    return _SPECIAL.sub(r"\\\g<0>", " ".join(str(value).split())).replace("\\<", "&lt;").replace("\\&", "&amp;")


def literal(text: str) -> Plain:
    """`text` as a Python string in a code block."""
    return Plain(json.dumps(text, ensure_ascii=False))


def render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("seewhy.export"),
        autoescape=False,  # for HTML; finalize escapes for Markdown
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"literal": literal, "percent": percent, "plain": Plain}
    return environment.get_template(template).render(v=values, **values)


def model_card(run: ExportedRound, *, hub_name: str | None, hub_data: str | None) -> str:
    """The merged model's README.md. `hub_name` and `hub_data` are the repositories that it and its data go to."""
    metadata = _metadata(run, "transformers", name_of(run), [], hub_data)
    return render("model_card.md.jinja", metadata=metadata, place=hub_name or ".", **_values(run))


def adapter_card(run: ExportedRound, check: AdapterCheck, *, hub_name: str | None, hub_data: str | None) -> str:
    """The adapter's README.md."""
    metadata = _metadata(run, "peft", f"{name_of(run)} adapter", ["lora"], hub_data)
    checked = {"rank": check.rank, "stacked": check.rounds, "each": check.rank // check.rounds}
    checked |= {"in_full": check.in_full}
    values = {**_values(run), **checked, "difference": f"{check.difference:.1g}", "place": hub_name or "."}
    return render("adapter_card.md.jinja", metadata=metadata, **values)


def _metadata(run: ExportedRound, library: str, name: str, tags: Sequence[str], hub_data: str | None) -> Plain:
    """A model card's head, as the Hub reads it."""
    data = ModelCardData(
        base_model=public_base(run),
        library_name=library,
        pipeline_tag="image-text-to-text",
        tags=["seewhy", "explainability", "fine-grained-classification", *tags],
        datasets=_datasets(run, hub_data),
        model_name=name,
        eval_results=_results(run),
    )
    return Plain(data.to_yaml())


def data_card(
    run: ExportedRound, taught: Mapping[int, Sequence[Taught]], files: Mapping[str, int], *, images: bool
) -> str:
    """The data set's README.md. `files` is file -> rows."""
    parquet = [name for name in files if name.endswith(".parquet")]
    configs = [{"config_name": Path(name).stem, "data_files": name} for name in parquet]
    total = sum(map(len, taught.values()))
    metadata = DatasetCardData(
        task_categories=["visual-question-answering", "image-text-to-text"], tags=["seewhy", "explainability"],
        size_categories=_size(total), pretty_name=f"{name_of(run)}: training data", configs=configs or None,
    )  # fmt: skip
    rounds = [_round_values(run, round, rows) for round, rows in taught.items()]
    marked = any(name.startswith(("llava", "sharegpt")) for name in files)
    left_out = sum(holds_placeholder(row) for rows in taught.values() for row in rows) if marked else 0
    values = {"files": files, "taught": rounds, "copied": images, "left_out": left_out, "total": total}
    return render("data_card.md.jinja", metadata=Plain(metadata.to_yaml()), **{**_values(run), **values})


def name_of(run: ExportedRound) -> str:
    """'run, round 2': what a card is headed."""
    return f"{run.path.resolve().name}, round {run.round}"


def base_of(run: ExportedRound) -> str:
    """The untuned model's name without its place on this machine."""
    name = run.config.model.name_or_path
    if name == "fieldguide":
        return "the small base model of SeeWhy's field guide"
    if name == CELLS:
        return "the small base model of white blood cells that SeeWhy's tools make"
    return Path(name).name if Path(name).expanduser().is_dir() else name


def public_base(run: ExportedRound) -> str | None:
    """The untuned model's name on the Hub, or None where it is a folder or one of SeeWhy's small ones."""
    name = run.config.model.name_or_path
    return None if name in ("fieldguide", CELLS) or Path(name).expanduser().is_dir() else name


def shareable_settings(run: ExportedRound) -> dict[str, Any]:
    """The run's settings, with the last part alone of what is a path."""
    settings = json.loads(json.dumps(asdict(run.config)))
    for group, name in (("", "output"), ("model", "device"), ("model", "engine")):
        (settings[group] if group else settings).pop(name)
    for key in (*_FILES, *_NAMES):
        group, name = key.split(".")
        value = settings[group][name]
        if value and (key in _FILES or Path(value).expanduser().exists()):
            settings[group][name] = PurePath(value).name
    return settings


def _values(run: ExportedRound) -> dict[str, Any]:
    """What the cards have in common."""
    domain, audited = run.domain, {r.round: r for r in run.audit.rounds}
    columns, body = rows(run.metrics)
    images = Counter(e.split for e in domain.examples)
    trained = Counter(e.label for e in domain.examples if e.split == "train")
    of_round = {figures.round: figures for figures in run.metrics.rounds if figures.round is not None}
    return {
        "name": name_of(run), "base": base_of(run), "hub_base": public_base(run), "round": run.round,
        "shipped_base": run.config.model.name_or_path == "fieldguide",
        "cells_base": run.config.model.name_or_path == CELLS,
        "noun": domain.questions.noun, "question": domain.questions.evaluation,
        "tokens": run.config.evaluate.max_new_tokens,
        "dataset": domain.name, "fingerprint": domain.fingerprint, "images": dict(images), "labels": domain.labels,
        "classes": [(label, trained[label], domain.concepts[label]) for label in domain.labels[:MOST_CLASSES]],
        "more_classes": len(domain.labels[MOST_CLASSES:]), "concepts": len(domain.concepts.all_concepts),
        "columns": columns, "rows": body, "split": run.metrics.base.split, "n": run.metrics.base.n,
        "warnings": [(c.head, f"{c.why} {c.remedy}") for c in of_run(run.path, run.metrics, run.round)],
        "selection": selection_cells(run.metrics), "figures": encode(run.figures),
        "taught": [_trained(of_round[r]) for r in sorted(of_round) if r <= run.round],
        "starving": list(audited[run.round].starving) if run.round in audited else [],
        "covered": run.config.tune.covered,
        "replay": PurePath(run.config.tune.replay).name if run.config.tune.replay else None,
        "settings": Plain(yaml.safe_dump(shareable_settings(run), sort_keys=False, allow_unicode=True, width=10**6)),
        "versions": run.run.manifest["versions"], "seed": run.config.seed, "rounds": run.config.rounds,
    }  # fmt: skip


def _trained(figures: Figures) -> dict[str, Any]:
    return {key: getattr(figures, key) for key in ("round", "training_answers", "fallback_share")}


def _round_values(run: ExportedRound, round: int, rows: Sequence[Taught]) -> dict[str, Any]:
    """A round's counts for the data card."""
    sources, kinds = Counter(row.source for row in rows), Counter(row.kind for row in rows)
    return {
        "round": round, "training_answers": len(rows), "sources": dict(sources), "kinds": dict(kinds),
        "fallback_share": fallback_share(run.answers(round)),
    }  # fmt: skip


def _results(run: ExportedRound) -> list[EvalResult]:
    """The exported round's figures for the Hub, each with its interval."""
    slug = re.sub(r"[^\w.-]+", "-", run.domain.name).strip("-") or "data"
    return [
        EvalResult(
            task_type="image-text-to-text", dataset_type=slug, dataset_name=run.domain.name,
            dataset_split=run.figures.split, metric_type=key, metric_name=title(key),
            metric_value=run.figures[key].value,
            metric_args={"confidence_interval_95": encode(run.figures[key].interval)},
        )
        for key in COLUMNS if key in run.figures
    ]  # fmt: skip


def _datasets(run: ExportedRound, hub_data: str | None) -> list[str] | None:
    """What it was tuned on, as far as the Hub has it."""
    data = run.config.data
    source = data.source if data.layout == "hub" and not Path(data.source).expanduser().exists() else None
    return [name for name in (source, hub_data) if name] or None


def _size(rows: int) -> str:
    """The Hub's word for how many rows there are."""
    bounds = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
    return next((name for most, name in bounds.items() if rows < most), "1M<n<10M")
