"""Accuracy by images a class: does learning reasons help names where images are few?

For each number of images a class and each seed, the method and NL, the control that learns the bare name, are trained
on the same images and queries in as many steps. `data.per_class` draws the images by a hash of their names: 5 are part
of 10, and the same ones for every seed. So the intervals, over seeds and evaluation images (proof/comparison.py), are
those of these training images; others would give another curve.

With `tune.epochs` as it is, few images would mean few steps, and both arms would be stopped half-way. So the epochs
grow as the images get fewer, for both alike: as many steps as all images have, but at most `--stretch` times the
epochs.

Each cell of the grid is a run of its own in OUTPUT/IMAGES/seed-N, made by the ordinary loop; what is finished is kept,
and a killed bench goes on. Writes few.json, few.md and a chart to OUTPUT; with `--docs docs` also few.json and the
chart there, and the table as a section of docs/results.md, each beside those of other data sets (named after CONFIG).
Options that are none of these are settings of the runs.

examples:
  python -m bench.few configs/fieldguide.yaml --per-class 5 10 --split val --output runs/few
  python -m bench.few configs/fieldguide.yaml --per-class 5 all --output runs/few --rounds 1 --tune.name_weight 8
"""

import json
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.few_chart import chart
from bench.measure import limit_threads, machine, note
from seewhy.config import RunConfig
from seewhy.domain.domain import load_domain
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide
from seewhy.proof.comparison import contrast, mean_estimate
from seewhy.results import Counts
from seewhy.run import loop
from seewhy.run.stages import CONTROLS, OURS, ModelKey
from seewhy.run.storage import write_atomically
from seewhy.settings import load_config

NL = CONTROLS["nl"]
FILE = "few.json"
PICTURES = "images/"
TITLE = "Accuracy by images a class"
_FIGURES = ("accuracy", "stated_true")


@dataclass(frozen=True)
class Size:
    """One number of images a class."""

    name: str
    """As asked for: a number, or "all"."""
    images: int
    """Training images, of all classes together."""
    per_class: int | None
    """`data.per_class`; None for all images."""
    epochs: int

    @property
    def work(self) -> int:
        """Return image views a round: what a cell's time goes with."""
        return self.images * self.epochs


def options(arguments: Sequence[str] | None) -> tuple[Namespace, list[str]]:
    made = ArgumentParser(
        "python -m bench.few", description=__doc__, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("config", help="a YAML file of settings")
    made.add_argument("--per-class", nargs="+", default=["5", "10", "20", "50", "all"], metavar="N", type=_count)
    made.add_argument("--seeds", nargs="+", default=[0, 1, 2], type=int, metavar="N")
    made.add_argument("--split", choices=("val", "test"), default="val", help="measure on it (default: val)")
    made.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the runs and the figures")
    made.add_argument("--stretch", type=float, default=4, help="at most this many times tune.epochs (default: 4)")
    made.add_argument("--docs", type=Path, metavar="DIR", help="write the figures, chart and section there too")
    made.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    return made.parse_known_args(arguments)


def _count(text: str) -> str:
    if text != "all" and not (text.isdecimal() and int(text)):
        raise SeeWhyError(f"--per-class takes whole numbers of at least 1, and 'all', not {text!r}.")
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    given, overrides = options(arguments)
    limit_threads(given.threads)
    base = settings(given, overrides)
    sizes = sizes_of(base, given.per_class, given.stretch)
    cells = [(size, cell(base, given.output, size, seed)) for size in sizes for seed in given.seeds]
    make(cells)
    counts = {size: [loop.count(config) for of, config in cells if of == size] for size in sizes}
    where = machine("cpu", given.threads) if base.model.device in ("auto", "cpu") else base.model.device
    found = {
        "config": given.config, "settings": overrides, "split": given.split, "per_class": given.per_class,
        "seeds": given.seeds, "machine": where, "rounds": base.rounds,
        "sizes": [measured(size, counts[size], base) for size in sizes],
    }  # fmt: skip
    name = Path(given.config).stem
    write(given.output, name, found)
    note(table(found))
    if given.docs:
        write(given.docs, name, found, section=True)


def settings(given: Namespace, overrides: Sequence[str]) -> RunConfig:
    """Return the settings that all cells share. The field guide is drawn once, into the output folder."""
    measured = {"evaluate.split": given.split, "evaluate.consistency": "false", "evaluate.fluency": "false"}
    own = {**measured, "keep_going": "true", "controls": "[nl]"}  # as many rounds for every cell
    taken = {"output", "seed", "data.per_class", *own}
    if clash := sorted({option.removeprefix("--").partition("=")[0] for option in overrides} & taken):
        raise SeeWhyError(f"{', '.join(clash)}: bench.few sets this itself; leave it out.")
    config = load_config(
        given.config, [*overrides, *(word for key, value in own.items() for word in (f"--{key}", value))]
    )
    return replace(config, data=with_guide(config.data, given.output / "fieldguide"))


def sizes_of(config: RunConfig, names: Sequence[str], stretch: float) -> list[Size]:
    """Return the sizes, each once, smallest first. A number that no class exceeds is the same as "all"."""
    of_class = Counter(example.label for example in load_domain(config.data).split("train"))
    largest = max(of_class.values())
    found = {}
    for name in names:
        number = largest if name == "all" or int(name) >= largest else int(name)
        if name != "all" and number == largest:
            note(f"{name} images a class are all: no class has more than {largest}.")
        images = sum(min(number, count) for count in of_class.values())
        epochs = epochs_of(config.tune.epochs, images, of_class.total(), stretch)
        found[number] = Size(
            "all" if number == largest else name, images, None if number == largest else number, epochs
        )
    return [found[number] for number in sorted(found)]


def epochs_of(epochs: int, images: int, of_all: int, stretch: float) -> int:
    """Return the epochs that give `images` about the steps of all images, at most `stretch` times as many epochs."""
    return round(epochs * min(stretch, of_all / images))


def cell(base: RunConfig, output: Path, size: Size, seed: int) -> RunConfig:
    """Return the settings of one run of the grid."""
    return replace(
        base,
        output=str(output / size.name / f"seed-{seed}"),
        seed=seed,
        data=replace(base.data, per_class=size.per_class),
        tune=replace(base.tune, epochs=size.epochs),
    )


def make(cells: Sequence[tuple[Size, RunConfig]]) -> None:
    """Run what is not finished yet, and say how long the rest will take."""
    left = sum(size.work for size, _ in cells)
    done, seconds = 0, 0.0
    for number, (size, config) in enumerate(cells, start=1):
        more = f", about {seconds / done * left / 60:.0f} minutes left" if done else ""
        note(
            f"cell {number} of {len(cells)}: {size.name} images a class, {size.epochs} epochs, seed {config.seed}{more}"
        )
        unfinished = not (Path(config.output) / "metrics.json").exists()
        start = time.monotonic()
        loop.run(config, stop_without_words=False)
        left -= size.work
        if unfinished:
            done, seconds = done + size.work, seconds + time.monotonic() - start


def measured(size: Size, counts: Sequence[Mapping[ModelKey, Counts]], config: RunConfig) -> dict[str, Any]:
    """Return the figures of one size after each round: means over seeds, with intervals over seeds and images."""
    resampling: Any = {"resamples": config.evaluate.bootstrap, "seed": 0}
    rounds = []
    for number in range(1, config.rounds + 1):
        ours, other = ([of_seed[arm.model(number)] for of_seed in counts] for arm in (OURS, NL))
        found: dict[str, Any] = {"round": number}
        for arm, of_seeds in (("ours", ours), ("nl", other)):
            for figure in _FIGURES:
                if estimated := mean_estimate(figure, of_seeds, **resampling):
                    found[f"{figure}_{arm}"] = _figure(*estimated)
        if apart := contrast("accuracy", ours, other, **resampling):
            found["accuracy_ours_minus_nl"] = _figure(apart.value, apart.interval()) | {"seeds": list(apart.seeds)}
        rounds.append(found)
    return {**asdict(size), "rounds": rounds}


def _figure(value: float, bounds: tuple[float, float] | None) -> dict[str, Any]:
    low, high = bounds or (None, None)
    return {"value": value, "low": low, "high": high}


def table(found: Mapping[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| Images a class | Training images | Epochs | Round | NL | SeeWhy | SeeWhy - NL, points | Reasons true |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size in found["sizes"]:
        for of_round in size["rounds"]:
            seeds = ", ".join(f"{100 * value:+.1f}" for value in of_round["accuracy_ours_minus_nl"]["seeds"])
            cells = [
                size["name"], size["images"], size["epochs"], of_round["round"],
                _percent(of_round.get("accuracy_nl")), _percent(of_round.get("accuracy_ours")),
                f"{_points(of_round['accuracy_ours_minus_nl'])}; single seeds {seeds}",
                _percent(of_round.get("stated_true_ours")),
            ]  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _percent(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    bounds = "" if figure["low"] is None else f" ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"
    return f"{100 * figure['value']:.1f} %{bounds}"


def _points(figure: Mapping[str, Any]) -> str:
    return f"{100 * figure['value']:+.1f} ({100 * figure['low']:+.1f} to {100 * figure['high']:+.1f})"


def section_of(every: Mapping[str, Mapping[str, Any]], pictures: str = "") -> str:
    """Return the figures of each data set as a section of docs/results.md; `pictures` is the folder of the charts."""
    lines = [
        f"## {TITLE}", "",
        "Made by `python -m bench.few`; not edited by hand. The method and NL have the same images, queries and steps;"
        " epochs grow as images get fewer, for both alike. Intervals are over seeds and evaluation images, for the one"
        " draw of training images.", "",
    ]  # fmt: skip
    for name, found in every.items():
        seeds, sizes = (" ".join(map(str, values)) for values in (found["seeds"], found["per_class"]))
        command = f"python -m bench.few {found['config']} --per-class {sizes} --seeds {seeds} --split {found['split']}"
        lines += [
            f"### {name}", "", f"`{' '.join([command, *found['settings']])}`, measured on {found['machine']}.", "",
            f"![{TITLE}: {name}]({pictures}{_picture(name)})", "", table(found), "",
        ]  # fmt: skip
    return "\n".join(lines)


def put_section(page: str, section: str) -> str:
    """Return a page in Markdown with the section of this title put in the place of the one before, or at its end."""
    heading = section.partition("\n")[0]
    before, found, after = f"\n{page}".partition(f"\n{heading}\n")
    rest = after.partition("\n## ")[2] if found else ""
    return f"{before.strip()}\n\n{section.strip()}\n" + (f"\n## {rest.strip()}\n" if rest else "")


def kept(page: str, folder: Path) -> str:
    """Return a page made anew with the section of the figures that its folder holds, where it holds any."""
    every = read(folder)
    return put_section(page, section_of(every, PICTURES)) if every else page


def read(folder: Path) -> dict[str, Any]:
    """Return the figures that a folder holds, by data set. Raises SeeWhyError where they are damaged."""
    path = folder / FILE
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise SeeWhyError(f"{path} is damaged ({error}): move it away and start bench.few again.") from error


def write(folder: Path, name: str, found: Mapping[str, Any], *, section: bool = False) -> None:
    """Write a data set's figures to few.json, beside those of others, and its chart; the tables go to few.md or, with
    `section`, into the folder's results.md."""
    pictures = folder / PICTURES if section else folder
    pictures.mkdir(parents=True, exist_ok=True)
    every = read(folder) | {name: found}
    write_atomically(folder / FILE, (json.dumps(every, indent=2) + "\n").encode())
    write_atomically(pictures / _picture(name), chart(found).encode())
    if not section:
        write_atomically(folder / "few.md", section_of(every).encode())
        return
    page = folder / "results.md"
    before = page.read_text(encoding="utf-8") if page.exists() else "# Results\n"
    write_atomically(page, put_section(before, section_of(every, PICTURES)).encode())


def _picture(name: str) -> str:
    return f"few-{name}.svg"


if __name__ == "__main__":
    main()
