"""One self-contained HTML file: results, curves over the rounds, and images with what the models said of them.

Everything that comes from data or from a model is escaped by Jinja2; images are embedded, and nothing is loaded from
anywhere, so that the file can be sent and opened on its own.

    write_page("runs/fieldguide")   # runs/fieldguide/report.html
"""

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.proof.audit import FEWEST_IMAGES, PHRASE, STARVING, Audit
from seewhy.report import audit_table, chart
from seewhy.report.run_records import RunRecords
from seewhy.report.table import percent, rows, selection_cells
from seewhy.run_folder import read_manifest

_SIDE = 288
"""Longest side of an embedded image, in pixels."""
_MARKS = {"true": "✓", "hidden": "◐", "false": "✗", "unverified": "?"}


def write_page(run: str) -> Path:
    """Write RUN/report.html from RUN/metrics.json, gallery.json, config.yaml and the run's records, atomically.

    Where the data that the records speak of is gone, the page says so in place of the audit of the training data.
    Raises SeeWhyError where one of them is missing or damaged.
    """
    folder = Path(run)
    metrics, shown = (json.loads(_read(folder / name)) for name in ("metrics.json", "gallery.json"))
    config = _read(folder / "config.yaml", as_json=False)
    audit, fault = _audit(folder)
    page = build_page(metrics, shown, title=folder.resolve().name, config=config, audit=audit, audit_fault=fault)
    target, partial = folder / "report.html", folder / "report.html.partial"
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, target)
    return target


def build_page(
    metrics: Mapping[str, Any],
    gallery: Sequence[Mapping[str, Any]],
    *,
    title: str,
    config: str = "",
    audit: Audit | None = None,
    audit_fault: str = "",
) -> str:
    """The page as text. `metrics` and `gallery` are metrics.json's and gallery.json's values, `config` the run's YAML.

    `audit_fault` says why there is no audit; without either its section is left out. Of each image the answers
    of the first and the last model are shown. Raises SeeWhyError for an image that is gone.
    """
    environment = Environment(
        loader=PackageLoader("seewhy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns, body = rows(metrics)
    return environment.get_template("page.html").render(
        title=title,
        summary=_summary(metrics),
        base=metrics["base"],
        columns=columns,
        rows=body,
        selection=selection_cells(metrics),
        panels=chart.panels(metrics),
        chart=chart,
        cards=[_card(item) for item in gallery],
        marks=_MARKS,
        verified="stated_true" in {key for r in (metrics["base"], *metrics.get("rounds", ())) for key in r},
        config=config,
        audit=None if audit is None else _audit_values(audit),
        audit_fault=audit_fault,
    )


def _audit(folder: Path) -> tuple[Audit | None, str]:
    """The audit of a run, or why it cannot be made; neither where the folder has no records."""
    if not read_manifest(folder):
        return None, ""
    try:
        return RunRecords(folder).audit(), ""
    except SeeWhyError as error:
        return None, str(error)


def _audit_values(audit: Audit) -> dict[str, Any]:
    """What the page's section on the training data shows; long tables are cut, and `more_...` counts the rest."""
    starving, uses, most = audit_table.starving(audit), audit_table.list_use(audit), audit_table.SHOWN
    return {
        "columns": audit_table.COLUMNS,
        "rounds": [
            {
                "round": r.round,
                "cells": audit_table.cells(r.whole),
                "rejections": audit_table.rejections(r.whole),
                "repeats": audit_table.repeats(r.whole),
            }
            for r in audit.rounds
        ],
        "starving": [
            {"round": round, "label": taught.label, "share": percent(taught.fallback_share or 0)}
            | {"rejections": audit_table.rejections(taught, most=2)}
            for round, taught in starving[:most]
        ],
        "more_starving": len(starving[most:]),
        "uses": uses[:most],
        "more_uses": len(uses[most:]),
        "starving_from": f"{100 * STARVING:.0f} %",
        "fewest_images": FEWEST_IMAGES,
        "phrase": PHRASE,
    }


def _summary(metrics: Mapping[str, Any]) -> str:
    base, rounds = metrics["base"], metrics.get("rounds", ())
    text = f"On {base['n']} {base['split']} images, the untuned model names {percent(base['accuracy'])} rightly"
    if not rounds:
        return text + "."
    last = rounds[-1]
    text += f"; after round {last['round']} it names {percent(last['accuracy'])}"
    text += f" and gives a reason in {percent(last['ee'])} of its answers."
    if "stated_true" in last:
        text += f" Of the reasons, {percent(last['stated_true'])} are true of the very image and can be seen in it."
    return text


def _card(item: Mapping[str, Any]) -> dict[str, Any]:
    answers = item["answers"]
    return {
        **item,
        "answers": answers[:1] if len(answers) < 2 else [answers[0], answers[-1]],
        "image": _embedded(item["image"]),
    }


def _embedded(path: str) -> str:
    """The image, made small, as a data URI."""
    image = load_image(path)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _read(path: Path, *, as_json: bool = True) -> str:
    remedy = "Run `seewhy run` on this folder's configuration again; it goes on where it stopped and writes the file."
    try:
        text = path.read_text(encoding="utf-8")
        if as_json:
            json.loads(text)
    except OSError as error:
        raise SeeWhyError(
            f"{path} cannot be read ({error.strerror}): the run has not been measured yet. {remedy}"
        ) from error
    except ValueError as error:
        raise SeeWhyError(f"{path} is damaged ({error}). {remedy}") from error
    return text
