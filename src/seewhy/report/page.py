"""One self-contained HTML page: what was asked, the result beside the alternatives, what to doubt, and the evidence.

Everything that comes from data or from a model is escaped by Jinja2 and stands in text or attributes, never in a
script. Images are embedded. The page's content policy allows its own style and script, by their hashes, and nothing
else, so that it can be sent and opened on its own.

    write_page("runs/fieldguide")                   # runs/fieldguide/report.html
    write_page("runs/compare")                      # of a comparison over seeds
    write_page("runs/fieldguide", heatmaps=True)    # computes first where the last model looks
"""

import base64
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from seewhy.errors import Damaged, SeeWhyError
from seewhy.proof.audit import Audit
from seewhy.proof.audit import audit as audit_of
from seewhy.proof.heatmaps import Heat, find_heats
from seewhy.report import chart
from seewhy.report.cards import cards, confused, last_model, models
from seewhy.report.doubts import Evidence, collapses, doubts
from seewhy.report.evidence import Later, find_later
from seewhy.report.figures import ARM_NAMES, CONFUSED, LOOKS, definitions, of_group
from seewhy.report.pictures import Pictures
from seewhy.report.sections import asked, audit_values, commands, differences, headlines, lead, origins, results, spread
from seewhy.report.table import lines, selection_cells
from seewhy.results import Card, Comparison, Confusion, Gallery, Gate, Metrics, Support
from seewhy.results_json import find, read
from seewhy.run.checksums import KEY, UNSEALED, is_whole, seal
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import read_manifest
from seewhy.run.progress import say
from seewhy.run.storage import write_atomically
from seewhy.run.verify import missing_results
from seewhy.words import shown


@cache
def environment() -> Environment:
    """Return the page's templates; whatever is put into them is escaped."""
    made = Environment(
        loader=PackageLoader("seewhy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["code"] = code
    return made


def code(text: str) -> Markup:
    """Return a text, escaped, with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def asset(name: str) -> Markup:
    """Return the text of one of the package's own files beside the templates."""
    return Markup((files("seewhy.report") / "templates" / name).read_text(encoding="utf-8"))


def policy(style: str, script: str) -> str:
    """Return the content security policy that allows these two texts, embedded images, and nothing else."""

    def allowed(text: str) -> str:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        return f"'sha256-{digest}'" if text else "'none'"

    sources = f"img-src data:; style-src {allowed(style)}; script-src {allowed(script)}"
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"


MARKS = {"true": "✓", "hidden": "◐", "false": "✗", "unverified": "?"}
DOUBTS = 6
"""Doubts that the summary shows at once; the rest open on a click."""


@dataclass(frozen=True)
class Extras:
    """What a page may also show, as far as it is known."""

    confusion: Confusion | None = None
    heats: Mapping[str, Heat] = field(default_factory=dict)
    """Image path -> where the last model looks in it; `no_heats` says why there are none."""
    no_heats: str = ""
    sought: bool = False
    """Whether the heat maps were to be computed."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    gate: Gate | None = None
    support: Support | None = None
    train: int = 0
    """Training images, and `classes` of all images; 0 where that is not known."""
    classes: int = 0
    compared: Comparison | None = None
    """Where the page is that of a comparison."""
    output: str = ""
    """The folder, as commands name it."""
    images: Collection[str] | None = None
    """The image files that may be shown, beside those in `home`, the run folder; None, any."""
    home: Path | None = None
    later: Later = field(default_factory=Later)
    """What other commands measured."""


def write_page(run: str, *, heatmaps: bool = False, trust_remote_code: bool | None = None) -> Path:
    """Write RUN/report.html, of a run or of a comparison, atomically, and return its path.

    It is made from metrics.json, gallery.json and config.yaml and, where they exist, from confusion.json,
    faithfulness.json, general.json, judge.json, the run's records and RUN/heatmaps, which are completed first with
    `heatmaps`. A comparison's images are those of its first seed. Where the data behind the records is gone, the page
    says so instead of showing the training data. Raises SeeWhyError where one of the first three is missing, or any of
    them is damaged.
    """
    folder = Path(run)
    compared = find(folder / Comparison.FILE, Comparison)
    source = folder / f"seed-{compared.seeds[0]}" if compared else folder
    metrics, shown = read(source / Metrics.FILE, Metrics), read(source / Gallery.FILE, Gallery).cards
    config = _config(source / "config.yaml")
    manifest = read_manifest(source)
    shown_on_page = {Confusion.FILE, Gate.FILE, Support.FILE, "manifest.json"}
    for name in shown_on_page.intersection(missing_results(source, manifest)):
        say(f"Note: there is no {source / name}, so the page lacks what it says: start the run again, which writes it.")
    heats, no_heats = find_heats(
        source, shown, last_model(shown), compute=heatmaps, trust_remote_code=trust_remote_code
    )
    extras = Extras(
        find(source / Confusion.FILE, Confusion), heats, no_heats, heatmaps, manifest,
        find(source / Gate.FILE, Gate), find(source / Support.FILE, Support), compared=compared,
        output=run, images=(), home=source, later=find_later(folder, compared.seeds if compared else None),
    )  # fmt: skip
    audit, fault, extras = _with_records(source, extras)
    page = build_page(
        compared.metrics if compared else metrics, shown, title=folder.resolve().name, config=config, audit=audit,
        audit_fault=fault, extras=extras,
    )  # fmt: skip
    first, _, rest = page.partition("\n")
    write_atomically(folder / "report.html", seal(f"{first}\n<!-- {KEY} {UNSEALED} -->\n{rest}".encode()))
    return folder / "report.html"


def build_page(
    metrics: Metrics,
    gallery: Sequence[Card],
    *,
    title: str,
    config: str = "",
    audit: Audit | None = None,
    audit_fault: str = "",
    extras: Extras | None = None,
) -> str:
    """Return the page as text. `config` is the run's YAML, `audit_fault` says why there is no audit.

    A section of which nothing is known is left out. An image that is gone is named on its card.
    """
    extras = extras or Extras()
    pictures, arms, compared = Pictures(images=extras.images, home=extras.home), lines(metrics), extras.compared
    found = cards(gallery, extras.heats, pictures)
    mistakes = confused(extras.confusion, pictures) if extras.confusion else None
    seeds, later = compared.seeds if compared else None, extras.later
    evidence = Evidence(
        arms[0],
        tuple(arms[1:]),
        planned=(extras.manifest.get("config") or {}).get("rounds"),
        seeds=len(seeds or (0,)),
        audit=audit,
        confusion=extras.confusion,
        gate=None if compared else extras.gate,
        ours_minus=compared.ours_minus if compared else None,
        tested=(later.tested.values or {}).get("own", {}),
        support=extras.support,
        losses=(later.forgotten.values or {}).get("losses", ()),
    )
    every_doubt, panels = doubts(evidence), chart.panels(arms)
    figures = [figures for arm in arms for figures in (arm.base, *arm.rounds)]
    keys = {key for of in figures for key in of} | set(evidence.tested or ())
    training = {figure.key for figure in of_group("training")}
    looked = any(reason.layer for card in found for said in card.answers for reason in said.reasons)
    again = commands(extras.manifest, config, seeds, extras.output or title)
    style, script = asset("style.css"), asset("page.js") if found else Markup()
    return environment().get_template("page.html").render(
        title=title,
        style=style,
        script=script,
        policy=policy(style, script),
        lead=lead(arms[0]),
        asked=asked(
            gallery[0].question if gallery else "",
            rounds=len(arms[0].rounds), train=extras.train, classes=extras.classes, seeds=len(seeds or (0,)),
        ),
        base=metrics.base,
        seeds=seeds,
        spread=spread(seeds),
        headlines=headlines(arms),
        alarms=collapses(evidence),
        doubts=every_doubt[:DOUBTS],
        more_doubts=every_doubt[DOUBTS:],
        arms=arms,
        arm_names=ARM_NAMES,
        table=results(Metrics(metrics.base, {**metrics.arms, **{arm.key: arm.rounds[-1:] for arm in arms[1:]}})),
        counted=any(figure.n is not None for of in figures for figure in of.values()),
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
        remake=again[-1][0] if found and extras.manifest and not (looked or extras.sought or extras.no_heats) else "",
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
        commands=again,
        origins=origins(extras.manifest, config, seeds),
        config=config,
    )  # fmt: skip


def _with_records(folder: Path, extras: Extras) -> tuple[Audit | None, str, Extras]:
    """Return a run's audit, or why it cannot be made, and the extras with its numbers of images and classes."""
    if not extras.manifest:
        return None, "", extras
    try:
        run = FinishedRun.open(folder)
        train = sum(row.split == "train" for row in run.examples.values())
        images = {str(run.image_folder / row.image) for row in run.examples.values()}
        extras = replace(extras, train=train, classes=len(set(run.labels.values())), images=images)
        return audit_of(run), "", extras
    except Damaged:
        raise
    except SeeWhyError as error:
        return None, str(error), extras


def _config(path: Path) -> str:
    try:
        payload = path.read_bytes()
        if is_whole(payload) is False:
            raise ValueError("it was changed or damaged after it was written")
        text = shown(payload.decode())  # of an older version, which masked no secrets
        return text.partition("\n")[2] if text.startswith(f"# {KEY} ") else text
    except (OSError, ValueError) as error:
        raise SeeWhyError(f"{path} cannot be read ({error}). Start the run again, which writes it.") from error
