"""The page as a document that stands alone: its templates, its own style and script, and the policy that allows these
and nothing else.

One self-contained HTML file: what was asked, the result beside the alternatives, what to doubt, and the evidence.

Everything that comes from data or from a model is escaped by Jinja2 and stands in text or attributes, never in a
script. Images are embedded. The page's policy allows its own style and script, by their hashes, and nothing else, so
that it can be sent and opened on its own.

    write_page("runs/fieldguide")                   # runs/fieldguide/report.html
    write_page("runs/compare")                      # the same of a comparison over seeds
    write_page("runs/fieldguide", heatmaps=True)    # finds where the last model looks first
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from seewhy.errors import SeeWhyError
from seewhy.proof import gate, support
from seewhy.proof.audit import Audit
from seewhy.proof.audit import audit as audit_of
from seewhy.proof.support import Support
from seewhy.report import chart
from seewhy.report.cards import cards, confused, last_model, models
from seewhy.report.doubts import Evidence, alarms, doubts
from seewhy.report.figures import ARM_NAMES, CONFUSED, LOOKS, definitions, of_group
from seewhy.report.heatmaps import Heat, find_heats
from seewhy.report.later import Later, find_later
from seewhy.report.pictures import Pictures
from seewhy.report.sections import asked, audit_values, commands, differences, headlines, lead, origins, results, spread
from seewhy.report.table import as_metrics, lines, selection_cells
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import read_manifest
from seewhy.run.storage import write_atomically


@cache
def environment() -> Environment:
    """The page's templates; whatever is put into them is escaped."""
    return Environment(
        loader=PackageLoader("seewhy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> Markup:
    """A file of the package's own beside the templates, as it stands."""
    return Markup((files("seewhy.report") / "templates" / name).read_text(encoding="utf-8"))


def policy(style: str, script: str) -> str:
    """The content security policy that allows these two texts, embedded images, and nothing else."""

    def allowed(text: str) -> str:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        return f"'sha256-{digest}'" if text else "'none'"

    sources = f"img-src data:; style-src {allowed(style)}; script-src {allowed(script)}"
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"


MARKS = {"true": "✓", "hidden": "◐", "false": "✗", "unverified": "?"}
DOUBTS = 6
"""Doubts in the summary; the rest are folded away beneath them."""


@dataclass(frozen=True)
class Extras:
    """What a page may also show, as far as it is known."""

    confusion: Mapping[str, Any] | None = None
    """confusion.json's value."""
    heats: Mapping[str, Heat] = field(default_factory=dict)
    """Image path -> where the last model looks in it; `no_heats` says why there are none."""
    no_heats: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    """gate.json's value."""
    support: Support | None = None
    """What support.json says of the bank's phrases."""
    train: int = 0
    """Training images, and `classes` of all images; 0 where that is not known."""
    classes: int = 0
    compared: Mapping[str, Any] | None = None
    """comparison.json's value, where the page is that of a comparison."""
    output: str = ""
    """The folder, as commands name it."""
    later: Later = field(default_factory=Later)
    """What was measured of it later."""


def write_page(run: str, *, heatmaps: bool = False, trust_remote_code: bool | None = None) -> Path:
    """Write RUN/report.html, of a run or of a comparison, atomically.

    Made of metrics.json, gallery.json and config.yaml, and, where they are there, of confusion.json, faithfulness.json,
    general.json, judge.json, the run's records and RUN/heatmaps, which are completed first with `heatmaps`. A
    comparison's images are those of its first seed.
    Where the data that the records speak of is gone, the page says so in place of the audit of the training data.
    Raises SeeWhyError where one of the first three is missing or damaged.
    """
    folder = Path(run)
    compared = json.loads(_read(path)) if (path := folder / "comparison.json").exists() else None
    source = folder / f"seed-{compared['seeds'][0]}" if compared else folder
    metrics, shown = (json.loads(_read(source / name)) for name in ("metrics.json", "gallery.json"))
    config = _read(source / "config.yaml", as_json=False)
    mistakes = json.loads(_read(path)) if (path := source / "confusion.json").exists() else None
    heats, no_heats = find_heats(
        source, shown, last_model(shown), compute=heatmaps, trust_remote_code=trust_remote_code
    )
    extras = Extras(
        mistakes, heats, no_heats, read_manifest(source), gate.read(source), compared=compared, output=run,
        support=support.read(source), later=find_later(folder, compared["seeds"] if compared else None),
    )  # fmt: skip
    audit, fault, extras = _with_records(source, extras)
    if compared:
        metrics = as_metrics(compared)
    title = folder.resolve().name
    page = build_page(metrics, shown, title=title, config=config, audit=audit, audit_fault=fault, extras=extras)
    write_atomically(folder / "report.html", page.encode())
    return folder / "report.html"


def build_page(
    metrics: Mapping[str, Any],
    gallery: Sequence[Mapping[str, Any]],
    *,
    title: str,
    config: str = "",
    audit: Audit | None = None,
    audit_fault: str = "",
    extras: Extras | None = None,
) -> str:
    """The page as text. `metrics` and `gallery` are metrics.json's and gallery.json's values, `config` the run's YAML.

    `audit_fault` says why there is no audit; without either its section is left out, as is every other of which nothing
    is known. An image that is gone is named on its card.
    """
    extras = extras or Extras()
    pictures, arms, compared = Pictures(), lines(metrics), extras.compared or {}
    found = cards(gallery, extras.heats, pictures)
    mistakes = confused(extras.confusion, pictures) if extras.confusion else None
    seeds, later = compared.get("seeds"), extras.later
    evidence = Evidence(
        arms[0],
        tuple(arms[1:]),
        planned=(extras.manifest.get("config") or {}).get("rounds"),
        seeds=len(seeds or (0,)),
        audit=audit,
        confusion=extras.confusion,
        gate=None if compared else extras.gate,
        ours_minus=compared.get("ours_minus"),
        tested=(later.tested.values or {}).get("own", {}),
        support=extras.support,
        losses=(later.forgotten.values or {}).get("losses", ()),
    )
    told, panels = doubts(evidence), chart.panels(arms)
    keys = {key for arm in arms for values in (arm.base, *arm.rounds) for key in values} | set(evidence.tested or ())
    training = {figure.key for figure in of_group("training")}
    looked = any(reason.layer for card in found for said in card.answers for reason in said.reasons)
    told_commands = commands(extras.manifest, config, seeds, extras.output or title)
    style, script = asset("style.css"), asset("page.js") if found else Markup()
    return environment().get_template("page.html").render(
        title=title,
        style=style,
        script=script,
        policy=policy(style, script),
        lead=lead(arms[0]),
        asked=asked(
            gallery[0]["question"] if gallery else "",
            rounds=len(arms[0].rounds), train=extras.train, classes=extras.classes, seeds=len(seeds or (0,)),
        ),
        base=metrics.get("base", {}),
        seeds=seeds,
        spread=spread(seeds),
        headlines=headlines(arms),
        alarms=alarms(evidence),
        doubts=told[:DOUBTS],
        more_doubts=told[DOUBTS:],
        arms=arms,
        arm_names=ARM_NAMES,
        table=results({**metrics, **{arm.key: arm.rounds[-1:] for arm in arms[1:]}}),
        counted=any(key.endswith("_n") for key in keys),
        every_round=results(metrics) if any(len(arm.rounds) > 1 for arm in arms[1:]) else None,
        differences=differences(compared),
        selection=selection_cells(metrics),
        panels=panels,
        later=later,
        chart=chart,
        cards=found,
        models=models(found),
        labels=sorted({card.label for card in found}),
        verdicts=[v for v in MARKS if any(v in said.verdicts.split() for card in found for said in card.answers)],
        looked=looked,
        remake=told_commands[-1][0] if found and extras.manifest and not looked and not extras.no_heats else "",
        no_heats=extras.no_heats,
        marks=MARKS,
        verified="stated_true" in keys,
        confused=mistakes,
        audit=None if audit is None else audit_values(audit),
        audit_fault=audit_fault,
        definitions=[
            *definitions(keys | training if audit and audit.rounds else keys - training),
            *([CONFUSED] if mistakes else []),
            *([LOOKS] if looked else []),
        ],
        commands=told_commands,
        origins=origins(extras.manifest, config, seeds),
        config=config,
    )  # fmt: skip


def _with_records(folder: Path, extras: Extras) -> tuple[Audit | None, str, Extras]:
    """The audit of a run, or why it cannot be made, and how much it learned from; nothing where it has no records."""
    if not extras.manifest:
        return None, "", extras
    try:
        run = FinishedRun.open(folder)
        train = sum(row.split == "train" for row in run.examples.values())
        extras = replace(extras, train=train, classes=len(set(run.labels.values())))
        return audit_of(run), "", extras
    except SeeWhyError as error:
        return None, str(error), extras


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
