"""The paper's claims on the field guide, on blood cells and on fruit: writes docs/results.json and docs/results.md.

Reads what `seewhy compare` left (or one run), and makes what is missing of it on the split that the runs are measured
on: `seewhy faithfulness` of the last models of method and L+GE, `seewhy general` of all rounds. A figure is the mean
over seeds; intervals are over seeds and images, differences paired by image, verdicts corrected over all claims. Of a
data set that is not named, the section and the figures of the last time stay.

examples:
  python -m bench.results --fieldguide runs/compare --fruit runs/compare_fruit --output docs
  python -m bench.results --cells runs/compare_cells --ceiling ceiling.json --cells-descriptions descriptions.json
"""

import json
import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from bench import few
from bench.claims import OURS, PAPER, Difference, apart, judge_all, mean_bounds
from bench.measure import limit_threads, machine, note
from bench.results_page import BY_ENCODER, TEST_USE, page, section, sections_of
from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.proof.ability import MARKED, general
from seewhy.proof.comparison import contrast, mean_estimate, with_seeds
from seewhy.proof.faithfulness import faithfulness
from seewhy.results import Ability, Comparison, Counts, Faithfulness, Metrics
from seewhy.results_json import read as read_results
from seewhy.run import loop
from seewhy.run.finished import FinishedRun
from seewhy.run.stages import BASE, CONTROLS, ModelKey
from seewhy.run.stages import OURS as METHOD
from seewhy.run.storage import write_atomically

NOTES = Path(__file__).with_name("results_notes.yaml")
FIGURES = ("accuracy", "ee", "cs", "fs", "stated_true", "stated_false", "stated_hidden", "stated_wrong")
"""Of every arm, under `<figure>_<arm>`."""
TESTS = (
    "counterfactual_changes", "counterfactual_changes_control", "counterfactual_follows",
    "counterfactual_follows_when_stated", "counterfactual_label_changes", "survives_hidden",
    "survives_covered_elsewhere", "cover_gone", "cover_gone_random", "cover_label_changes",
    "cover_label_changes_random", "swap_reason_changes", "swap_survives_without_evidence", "same_class_follows",
    "same_class_follows_control", "same_class_states_other", "swap_label_changes", "pointing",
    "pointing_chance", "pointing_centre",
)  # fmt: skip
"""Of the method under their own names, of other arms with the arm's behind."""
COVERED = {"reason_goes_when_covered": "cover_gone", "reason_goes_when_covered_elsewhere": "cover_gone_random"}
"""Further names of the method's own figures."""
ABILITIES = ("attribute_accuracy", "yes_no_accuracy", "hidden_admitted", "described_precision", "described_recall")
LOSABLE = ("attribute_accuracy", "yes_no_accuracy", "described_precision", "described_recall")
"""The abilities of which `ability_lost` is the worst."""
SELECTION = ("selection_precision", "selection_recall", "selection_precision_whole_list")
ARMS = {"nl": "nl", "lge": "lge", "unfiltered": "nofilter", "class_level": "class_level"}
"""Arm -> its name in docs/results.json."""

BY_NUMBER = re.compile(r"selection_(?:precision|recall)_\d+(?:_low|_high)?")
"""Of the field guide's first seed, by the number of descriptions of an image."""

TITLES = {"": "Field guide", "_cells": "White blood cells", "_fruit": "Grocery fruit"}
"""Ending of a data set's figures -> its name, in the order of the summary."""
BOUNDS = ("_low", "_high", "_n")

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Measured:
    """A data set's runs, one a seed: of each, model (as in results.json) -> figure -> counts by image."""

    folder: str
    config: RunConfig
    seeds: tuple[int, ...]
    counts: tuple[Mapping[str, Counts], ...]
    metrics: tuple[Metrics, ...]

    @property
    def resamples(self) -> int:
        return self.config.evaluate.bootstrap


def read(folder: str, images: int, drawings: int) -> Measured:
    """The runs of a comparison, or one run, with what is missing measured first."""
    compared = Path(folder) / Comparison.FILE
    if compared.exists():
        runs = [str(Path(folder) / f"seed-{seed}") for seed in read_results(compared, Comparison).seeds]
    else:
        runs = [folder]
    configs, counts, metrics = [], [], []
    for run in runs:
        config = config_of(run)
        tested = faithfulness(run, images=images)
        asked = general(run, images=drawings) if has_questions(run, config) else None
        configs.append(config)
        counts.append(merged(config, loop.count(config), tested, asked))
        metrics.append(read_results(Path(run) / Metrics.FILE, Metrics))
    return Measured(folder, configs[0], tuple(c.seed for c in configs), tuple(counts), tuple(metrics))


def has_questions(run: str, config: RunConfig) -> bool:
    """Return whether the base was taught the questions about drawings, or the data say which attributes images have."""
    return config.model.name_or_path == "fieldguide" or bool(FinishedRun.open(run).domain.attributes)


def config_of(run: str) -> RunConfig:
    """Return the settings of a finished run. Raises SeeWhyError for a folder that is none."""
    if not (Path(run) / Metrics.FILE).exists():
        raise SeeWhyError(f"{run} holds neither a comparison nor a finished run: make it with `seewhy compare CONFIG`.")
    return FinishedRun.open(run).config


def names_of(config: RunConfig) -> dict[str, ModelKey]:
    """Return the key of each model in results.json: base, ours_round_1, ..., ours, and the last of each control."""
    last = config.rounds
    ours = {f"ours_round_{round}": METHOD.model(round) for round in range(1, last + 1)}
    controls = {ARMS[key]: arm.model(last) for key, arm in CONTROLS.items() if key in config.controls}
    return {"base": BASE, **ours, "ours": METHOD.model(last), **controls}


def merged(
    config: RunConfig, measured: Mapping[ModelKey, Counts], tested: Faithfulness, asked: Ability | None
) -> dict[str, Counts]:
    """Return all counts of each model of one run, by image or by drawing; figures of marked images without ending."""
    tests = {model.model: model.counts for model in tested.models.values()}
    drawings = asked.drawings if asked else None
    answers = {
        name: {figure.removesuffix(MARKED): of for figure, of in model.counts.items()}
        for name, model in (drawings.models if drawings else {}).items()
    }
    return {
        key: {**measured.get(model, {}), **tests.get(str(model), {}), **answers.get(str(model), {})}
        for key, model in names_of(config).items()
    }


def estimate(of: Measured, model: str, figure: str) -> tuple[float, ...] | None:
    """(mean over seeds, low, high) of one figure, the bounds left out where there is no interval; None where it was not
    measured."""
    counts = [seed.get(model, {}) for seed in of.counts]
    if (found := mean_estimate(figure, counts, resamples=of.resamples, seed=0)) is None:
        return None
    value, bounds = found
    return value, *(bounds or ())


def differences(of: Measured) -> dict[Key, Difference]:
    """Each part of each claim that was measured."""
    found = {}
    for part in {part for claim in (*PAPER, *OURS) for part in claim.parts}:
        figure, better, worse = part.key
        pairs = [(seed[better], seed[worse]) for seed in of.counts if better in seed and worse in seed]
        if len(pairs) < len(of.counts) or not all(figure in counts for pair in pairs for counts in pair):
            continue
        ours, other = zip(*pairs, strict=True)
        if apart_by := contrast(figure, ours, other, resamples=of.resamples, seed=0):
            found[part.key] = Difference.of(apart_by)
    return found


def flat(of: Measured) -> dict[str, float]:
    """The figures of one data set under their names in results.json, without the data set's own ending."""
    figures: dict[str, float] = {}

    def put(name: str, value: Sequence[float] | None) -> None:
        if value is not None:
            figures.update(zip((name, f"{name}_low", f"{name}_high"), value, strict=False))

    def count(name: str, model: str, figure: str) -> None:
        if name in figures:
            figures[f"{name}_n"] = round(sum(sum(seed[model][figure][1]) for seed in of.counts))

    models = names_of(of.config)
    for model, figure in product(models, FIGURES):
        put(f"{figure}_{model}", estimate(of, model, figure))
        count(f"{figure}_{model}", model, figure)
    for model, figure in product(models, TESTS):
        name = figure if model == "ours" else f"{figure}_{model}"
        put(name, estimate(of, model, figure))
        count(name, model, figure)
    for model, figure, kind in product(models, ABILITIES, ("", "_produce")):
        put(f"{figure}{kind}_{model}", estimate(of, model, f"{figure}{kind}"))
        count(f"{figure}{kind}_{model}", model, f"{figure}{kind}")
    for name, figure in COVERED.items():
        put(name, estimate(of, "ours", figure))
        count(name, "ours", figure)
    if (lost := ability_lost(figures)) is not None:
        figures["ability_lost"] = lost
    for (figure, better, worse), apart_by in differences(of).items():
        name = f"{figure}_{better}_minus_{worse}"
        put(name, (apart_by.value, apart_by.low, apart_by.high))
        figures |= {f"{name}_seed_{seed}": value for seed, value in zip(of.seeds, apart_by.seeds, strict=True)}
    for name in SELECTION:
        found = [metrics.selection[name] for metrics in of.metrics if name in metrics.selection]
        if len(found) == len(of.metrics):
            seeds = [figure.value for figure in found]
            mean = sum(seeds) / len(seeds)
            bounds = mean_bounds([figure.interval for figure in found if figure.interval])
            whole = with_seeds(mean, bounds, seeds) if bounds else ()
            put(name, (mean, *(min(max(bound, 0.0), 1.0) for bound in whole)))
    return figures


def ability_lost(figures: Mapping[str, float]) -> float | None:
    """Return by how many points the method's last model is below the base in the ability that suffered most.

    None where none was measured. A model that describes nothing has no precision, and loses all recall.
    """
    names = [f"{name}{kind}" for name in LOSABLE for kind in ("", "_produce")]
    lost = [
        figures[f"{name}_base"] - figures[f"{name}_ours"]
        for name in names
        if f"{name}_base" in figures and f"{name}_ours" in figures
    ]
    return 100 * max(lost) if lost else None


def of_file(path: Path | None, script: str, option: str) -> dict[str, float]:
    """Return the figures that a script wrote with --json; none without a file. Raises SeeWhyError for a broken one."""
    if path is None:
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = f"make it with `python -m {script} RUN --json FILE`"
        raise SeeWhyError(f"{path} cannot be read ({error}): {remedy}, or leave {option} out.") from error


def of_descriptions(path: Path | None) -> dict[str, float]:
    """selection_precision_<number> and selection_recall_<number>, with bounds, of `bench.descriptions --json`."""
    found = of_file(path, "bench.descriptions", "--descriptions")
    return {key: value for key, value in found.items() if BY_NUMBER.fullmatch(key)}


def of_cells(descriptions: Path | None, ceiling: Path | None, figures: Mapping[str, float]) -> dict[str, float]:
    """Return the cells' further figures: selection by encoder and number of descriptions, and the supervised heads'.

    `figures` are the run's; `stated_false_above_ceiling` is how much more of what the method states is false.
    """
    heads = of_file(ceiling, "bench.ceiling", "--ceiling")
    found = {key: value for key, value in heads.items() if "_ceiling" in key}
    if "stated_false_ours" in figures and "stated_false_ceiling" in heads:
        found["stated_false_above_ceiling"] = figures["stated_false_ours"] - heads["stated_false_ceiling"]
    described = of_file(descriptions, "bench.descriptions", "--cells-descriptions")
    kept = {k: v for k, v in described.items() if BY_NUMBER.fullmatch(k) or BY_ENCODER.fullmatch(without_bound(k))}
    return found | kept


def more_descriptions(found: Mapping[str, float]) -> dict[Key, Difference]:
    """'More descriptions select better': the precision with most less that with fewest."""
    name = "selection_precision"
    numbers = sorted(int(end) for key in found if (end := key.removeprefix(f"{name}_")).isdecimal())
    if len(numbers) < 2:
        return {}
    few, many = (
        (found[f"{name}_{n}"], found[f"{name}_{n}_low"], found[f"{name}_{n}_high"])
        for n in numbers[:: len(numbers) - 1]
    )
    return {(name, "most", "fewest"): apart(many, few)}


def read_notes(path: Path = NOTES) -> dict[str, str]:
    """Claim (with `_fruit` or `_cells` behind it: on these) -> what was tried where it does not hold; and what was seen
    of the test split before.

    Raises SeeWhyError for a claim that there is not.
    """
    notes = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    known = {f"{claim.key}{ending}" for claim in (*PAPER, *OURS) for ending in TITLES} | {TEST_USE}
    if not isinstance(notes, dict) or (unknown := sorted(notes.keys() - known)):
        raise SeeWhyError(f"{path}: {unknown or 'this'} is no claim; they are {', '.join(sorted(known))}.")
    return {key: " ".join(str(text).split()) for key, text in notes.items() if text}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser("python -m bench.results", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--fieldguide", metavar="FOLDER", help="output of `seewhy compare`, or a run")
    parser.add_argument("--cells", metavar="FOLDER", help="the same for blood cells")
    parser.add_argument("--fruit", metavar="FOLDER", help="the same for grocery fruit")
    parser.add_argument("--descriptions", type=Path, metavar="FILE", help="figures of `python -m bench.descriptions`")
    parser.add_argument("--cells-descriptions", type=Path, metavar="FILE", help="the same, of a run on cells")
    parser.add_argument("--ceiling", type=Path, metavar="FILE", help="figures of `python -m bench.ceiling`, of cells")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder of results.json and results.md")
    parser.add_argument("--images", type=int, default=120, help="images a seed whose evidence is changed")
    parser.add_argument("--drawings", type=int, default=96, help="drawings of each kind for the general ability")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    given = parser.parse_args(arguments)
    folders = {"": given.fieldguide, "_cells": given.cells, "_fruit": given.fruit}
    if not any(folders.values()):
        parser.error("name what was measured: --fieldguide, --cells or --fruit")
    limit_threads(given.threads)
    notes, where = read_notes(), machine("cpu", given.threads)
    figures, sections = before(given.output, [ending for ending, folder in folders.items() if folder is None])
    for ending, folder in folders.items():
        if folder is None:
            continue
        measured = read(folder, given.images, given.drawings)
        values = flat(measured)
        described = of_descriptions(given.descriptions) if not ending else {}
        if ending == "_cells":
            described = of_cells(given.cells_descriptions, given.ceiling, values)
        known = differences(measured) | more_descriptions(described)
        values |= described
        verdicts = judge_all((*PAPER, *OURS), known)
        figures |= {ended(name, ending): value for name, value in values.items()}
        figures |= {f"verdict_{key}{ending}": found.verdict for key, found in verdicts.items()}
        figures |= {f"p_{key}{ending}": found.p for key, found in verdicts.items()}
        figures |= {f"p_corrected_{key}{ending}": found.corrected for key, found in verdicts.items()}
        sections[ending] = section(ending, measured, values, known, verdicts, notes, given.images, where)
    titles = {ending: title for ending, title in TITLES.items() if ending in sections}
    text = few.kept(page(titles, sections, figures, notes), given.output)
    write_atomically(given.output / "results.json", (json.dumps(figures, indent=2) + "\n").encode())
    write_atomically(given.output / "results.md", text.encode())
    note(f"Wrote {given.output / 'results.json'} and {given.output / 'results.md'}")


def before(folder: Path, endings: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return figures and sections of the last time, of the data sets with these endings that were measured then."""
    page, values = folder / "results.md", folder / "results.json"
    if not page.exists() or not values.exists():
        return {}, {}
    there = sections_of(page.read_text(encoding="utf-8"))
    sections = {ending: there[TITLES[ending]] for ending in endings if TITLES[ending] in there}
    figures = of_file(values, "bench.results", "--output")
    return {key: value for key, value in figures.items() if ending_of(key) in sections}, sections


def ending_of(name: str) -> str:
    """Return the ending of the data set that a figure in results.json is of."""
    return next((ending for ending in TITLES if ending and without_bound(name).endswith(ending)), "")


def without_bound(name: str) -> str:
    """Return a figure's name without `_low`, `_high` and `_n`."""
    return next((name.removesuffix(bound) for bound in BOUNDS if name.endswith(bound)), name)


def ended(name: str, ending: str) -> str:
    """A figure's name with a data set's ending before `_low`, `_high` and `_n`."""
    figure = without_bound(name)
    return f"{figure}{ending}{name.removeprefix(figure)}"


if __name__ == "__main__":
    main()
