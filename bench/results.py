"""The paper's claims on the field guide and on fruit: writes docs/results.json and docs/results.md.

Reads what `seewhy compare` left (or one run), and makes what is missing of it on the split that the runs are measured
on: `seewhy faithfulness` of the last models of method and L+GE, `seewhy general` of all rounds. A figure is the mean
over seeds; intervals are over seeds and images, differences paired by image, verdicts corrected over all claims.

example:
  python -m bench.results --fieldguide runs/compare --fruit runs/compare_fruit --output docs
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
from bench.results_page import TEST_USE, page
from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.proof.ability import general
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
    "cover_label_changes_random", "swap_reason_changes", "swap_survives_without_evidence", "swap_label_changes",
    "pointing", "pointing_chance", "pointing_centre",
)  # fmt: skip
"""Of the method under their own names, of other arms with the arm's behind."""
ABILITIES = ("attribute_accuracy", "yes_no_accuracy", "hidden_admitted", "described_precision", "described_recall")
SELECTION = ("selection_precision", "selection_recall", "selection_precision_whole_list")
ARMS = {"nl": "nl", "lge": "lge", "unfiltered": "nofilter", "class_level": "class_level"}
"""Arm -> its name in docs/results.json."""

BY_NUMBER = re.compile(r"selection_(?:precision|recall)_\d+(?:_low|_high)?")
"""Of the field guide's first seed, by the number of descriptions of an image."""

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
        asked = general(run, images=drawings) if config.model.name_or_path == "fieldguide" else None
        configs.append(config)
        counts.append(merged(config, loop.count(config), tested, asked))
        metrics.append(read_results(Path(run) / Metrics.FILE, Metrics))
    return Measured(folder, configs[0], tuple(c.seed for c in configs), tuple(counts), tuple(metrics))


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
    """Return all counts of each model of one run, by image or by drawing."""
    tests = {model.model: model.counts for model in tested.models.values()}
    drawings = asked.drawings if asked else None
    answers = {name: model.counts for name, model in (drawings.models if drawings else {}).items()}
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


def of_descriptions(path: Path | None) -> dict[str, float]:
    """selection_precision_<number> and selection_recall_<number>, with bounds, of `bench.descriptions --json`."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "make it with `python -m bench.descriptions RUN --json FILE`"
        raise SeeWhyError(f"{path} cannot be read ({error}): {remedy}, or leave --descriptions out.") from error
    return {key: value for key, value in found.items() if BY_NUMBER.fullmatch(key)}


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
    """Claim (with `_fruit` behind it: on fruit) -> what was tried where it does not hold; and what was seen of the test
    split before.

    Raises SeeWhyError for a claim that there is not.
    """
    notes = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    known = {f"{claim.key}{ending}" for claim in (*PAPER, *OURS) for ending in ("", "_fruit")} | {TEST_USE}
    if not isinstance(notes, dict) or (unknown := sorted(notes.keys() - known)):
        raise SeeWhyError(f"{path}: {unknown or 'this'} is no claim; they are {', '.join(sorted(known))}.")
    return {key: " ".join(str(text).split()) for key, text in notes.items() if text}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser("python -m bench.results", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--fieldguide", required=True, metavar="FOLDER", help="output of `seewhy compare`, or a run")
    parser.add_argument("--fruit", metavar="FOLDER", help="the same for grocery fruit")
    parser.add_argument("--descriptions", type=Path, metavar="FILE", help="figures of `python -m bench.descriptions`")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder of results.json and results.md")
    parser.add_argument("--images", type=int, default=120, help="images a seed whose evidence is changed")
    parser.add_argument("--drawings", type=int, default=96, help="drawings of each kind for the general ability")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    given = parser.parse_args(arguments)
    limit_threads(given.threads)
    notes = read_notes()
    data = {"Field guide": (given.fieldguide, ""), "Grocery fruit": (given.fruit, "_fruit")}
    figures: dict[str, Any] = {}
    sections = []
    for title, (folder, ending) in data.items():
        if folder is None:
            continue
        measured = read(folder, given.images, given.drawings)
        described = {} if ending else of_descriptions(given.descriptions)
        known = differences(measured) | more_descriptions(described)
        values = flat(measured) | described
        verdicts = judge_all((*PAPER, *OURS), known)
        figures |= {ended(name, ending): value for name, value in values.items()}
        figures |= {f"verdict_{key}{ending}": found.verdict for key, found in verdicts.items()}
        figures |= {f"p_{key}{ending}": found.p for key, found in verdicts.items()}
        figures |= {f"p_corrected_{key}{ending}": found.corrected for key, found in verdicts.items()}
        sections.append((title, ending, measured, values, known, verdicts))
    text = few.kept(page(sections, notes, machine("cpu", given.threads), given.images), given.output)
    write_atomically(given.output / "results.json", (json.dumps(figures, indent=2) + "\n").encode())
    write_atomically(given.output / "results.md", text.encode())
    note(f"Wrote {given.output / 'results.json'} and {given.output / 'results.md'}")


def ended(name: str, ending: str) -> str:
    """A figure's name with a data set's ending before `_low`, `_high` and `_n`."""
    for bound in ("_low", "_high", "_n"):
        if name.endswith(bound):
            return f"{name.removesuffix(bound)}{ending}{bound}"
    return f"{name}{ending}"


if __name__ == "__main__":
    main()
