"""`seewhy judge`: the answers of a run before a language model as judge; what it says goes to RUN/judge.json.

Its answers are kept in RUN/judge/: the same question is paid for once, whatever becomes of the run.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seewhy.config import RunConfig
from seewhy.domain.concepts import ConceptBank
from seewhy.domain.vocabulary import Vocabulary
from seewhy.endpoint import Endpoint, Missing, Prices, Reply, Request
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide
from seewhy.progress import say
from seewhy.proof import judge
from seewhy.proof.consistency import consistency
from seewhy.proof.explanation import StatedConcepts, explains
from seewhy.proof.judge_prompts import PROMPT
from seewhy.recorded import recorded_config
from seewhy.records import Prediction, Selection
from seewhy.report.run_records import RunRecords
from seewhy.report.table import percent
from seewhy.storage import write_atomically

COLUMNS = ("Judged", "Missing", "Explains (EE)", "Consistent (CS)", "EE agrees", "kappa", "CS rank corr.")


class Judging:
    """A run whose answers are to be judged: what there is to ask, and what the judge-free figures say of it."""

    def __init__(self, run: str | Path, *, round: str = "last", limit: int | None = None) -> None:
        """`round`: a number (0 is the base), 'last' (with the base), or 'all'.

        Raises SeeWhyError where there is no run, or no model of it has answered the evaluation question yet.
        """
        records = RunRecords(run)
        self.path = records.path
        self.config: RunConfig = recorded_config(records.path, quiet=True)
        self.split = self.config.evaluate.split
        suffix = f"/predictions-{self.split}"
        finished = sorted(name.removesuffix(suffix) for name in records.finished if name.endswith(suffix))
        self.models = wanted(finished, round)
        if not self.models:
            there = f"there are those of {', '.join(finished)}" if finished else "there are none at all"
            raise SeeWhyError(
                f"{run} has no answers of round {round!r} on {self.split} yet ({there}). Start the run again, or "
                "choose another --round."
            )
        predictions = {m: records.read(f"{m}{suffix}", Prediction) for m in self.models}
        ids = [p.example_id for p in predictions[self.models[0]]]
        self.of = len(ids)
        chosen = set(judge.sample(ids, limit, self.config.seed))
        self.predictions = {m: [p for p in ps if p.example_id in chosen] for m, ps in predictions.items()}
        if not chosen:
            raise SeeWhyError(f"There is nothing to judge: {run} has no image of {self.split}, or --limit is 0.")
        bank = _bank(self.config, self.path)
        self.concepts = _lists(chosen, records.labels, bank)
        self._groups = records.groups
        stated = StatedConcepts(bank.all_concepts, (*bank, *(a for group in bank.aliases.values() for a in group)))
        self._stated = stated
        self._selected: Mapping[str, Sequence[str]] | None = None
        if f"select-{self.split}" in records.finished:
            by_image: dict[str, list[str]] = defaultdict(list)
            for selection in records.read(f"select-{self.split}", Selection):
                if selection.selected:
                    by_image[selection.example_id].append(selection.concept)
            self._selected = by_image

    @property
    def requests(self) -> dict[str, list[Request]]:
        """Model -> its questions."""
        noun = self.config.data.noun
        return {m: judge.requests(ps, self.concepts, noun) for m, ps in self.predictions.items()}

    def explains(self, prediction: Prediction) -> bool:
        """EE without a judge."""
        return explains(prediction.text, self._stated)

    def consistent(self, prediction: Prediction) -> float | None:
        """CS without a judge; None where nothing was selected for the image, or for none of the split, as in
        `evaluate.count`."""
        selected = (self._selected or {}).get(prediction.example_id)
        return consistency(prediction.text, selected, self._stated) if selected else None

    def ask(self, endpoint: Endpoint, prices: Prices | None) -> dict[str, Any]:
        """Put every question, and write what comes of it to RUN/judge.json, which is returned."""
        replies = {m: endpoint.ask(questions, f"judging {m}") for m, questions in self.requests.items()}
        cs = None if self._selected is None else self.consistent
        measured = partial(
            judge.figures, resamples=self.config.evaluate.bootstrap, seed=self.config.seed, prices=prices,
            groups=self._groups,
        )  # fmt: skip
        models = {m: measured(self.predictions[m], replies[m], self.explains, cs) for m in self.models}
        if not any(figures["n"] for figures in models.values()):
            reason = next(str(reply) for of in replies.values() for reply in of.values())
            raise SeeWhyError(f"No answer was judged ({reason}). {self.path / 'judge.json'} is left as it was.")
        paid = {r.key: r.usage for of in replies.values() for r in of.values() if isinstance(r, Reply)}
        total = sum(paid.values(), endpoint.wasted)
        found = {
            "judge": {
                "model": endpoint.service.model,
                "served_by": sorted({r.model for of in replies.values() for r in of.values() if isinstance(r, Reply)}),
                "base_url": endpoint.service.url,
                "prompt": PROMPT,
                "temperature": endpoint.service.temperature,
            },
            "split": self.split,
            "images": len(self.concepts),
            "of": self.of,
            "models": models,
            "agreement": self._overall(replies),
            "tokens": total.as_dict(),
            "cost": None if prices is None else prices.cost(total),
        }
        text = json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(self.path / "judge.json", text.encode())
        return found

    def _overall(self, replies: Mapping[str, Mapping[str, Reply | Missing]]) -> dict[str, Any]:
        """Agreement over the answers of all models together."""
        everything: list[Prediction] = []
        judged: dict[str, judge.Verdict] = {}
        of: dict[str, Prediction] = {}
        for model, predictions in self.predictions.items():
            for p in predictions:
                if isinstance(reply := replies[model][p.example_id], Reply):
                    name = f"{model}\0{p.example_id}"
                    judged[name], of[name] = judge.Verdict.of(reply), p
                    everything.append(Prediction(name, p.query, p.text))
        cs = None if self._selected is None else lambda p: self.consistent(of[p.example_id])
        return judge.agreement(everything, judged, lambda p: self.explains(of[p.example_id]), cs)


def wanted(finished: Sequence[str], round: str) -> list[str]:
    """The models of a round, controls included: 'all', a number, or 'last', which takes the base along."""
    numbers = {name: int(name.rpartition("round-")[2]) if "round-" in name else 0 for name in finished}
    numbers = {name: number for name, number in numbers.items() if "elsewhere/" not in name}
    if round == "all":
        chosen = set(numbers)
    elif round == "last":
        last = max(numbers.values(), default=0)
        chosen = {name for name, number in numbers.items() if number in (0, last)}
    elif round.isdecimal():
        chosen = {name for name, number in numbers.items() if number == int(round)}
    else:
        raise SeeWhyError(f"--round is {round!r}, but takes a number, 'last' or 'all'.")
    return sorted(chosen, key=lambda name: (numbers[name], name.count("/"), name))


def _bank(config: RunConfig, run: Path) -> ConceptBank:
    """The concepts that a run was made with, of its labels."""
    return Vocabulary.of_run(run, with_guide(config.data, run / "fieldguide")).bank


def _lists(ids: set[str], labels: Mapping[str, str], bank: ConceptBank) -> dict[str, tuple[str, ...]]:
    """Example id -> the expert's list of its label."""
    for name in sorted(ids):
        if labels.get(name) not in bank:
            raise SeeWhyError(
                f"There is an answer about {name!r}, of which the data has no image or the bank no concepts now. "
                "Judge a run with the data that it was made from."
            )
    return {name: bank[labels[name]] for name in ids}


def print_judged(found: Mapping[str, Any], console: Console) -> None:
    """The figures, what is missing and why, what it took."""
    title = f"Judged by {found['judge']['model']}, {found['split']} split, {found['images']} images"
    title += f" drawn from {found['of']}" if found["images"] < found["of"] else ""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Model")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for model, of in found["models"].items():
        table.add_row(Text(model), *map(Text, _cells(of)))
    overall = found["agreement"]
    table.add_row(Text("all together"), "", "", "", "", *map(Text, _agreement(overall)))
    console.print(table)
    for model, of in found["models"].items():
        if of["missing"]:
            told = ", ".join(f"{reason} ({count})" for reason, count in of["missing"].items())
            say(f"{model}: {sum(of['missing'].values())} answers have no verdict: {told}.")
    if any(of["missing"] for of in found["models"].values()):
        say("They are in no figure. The same command asks for these alone.")
    tokens = found["tokens"]
    cost = "" if found["cost"] is None else f", {found['cost']:.2f} at the prices given"
    console.print(
        f"{tokens['prompt_tokens']:,} tokens in and {tokens['completion_tokens']:,} out{cost}.", highlight=False
    )
    if tokens["unmetered"]:
        console.print(f"{tokens['unmetered']} replies came without a count of tokens.", highlight=False)


def _cells(of: Mapping[str, Any]) -> tuple[str, ...]:
    missing = sum(of["missing"].values())
    return str(of["n"]), str(missing or ""), _share(of, "ee"), _share(of, "cs"), *_agreement(of["agreement"])


def _share(of: Mapping[str, Any], name: str) -> str:
    if name not in of:
        return ""
    bounds = of.get(f"{name}_interval")
    return percent(of[name]) + (f" ({percent(bounds[0])} to {percent(bounds[1])})" if bounds else "")


def _agreement(of: Mapping[str, Any]) -> tuple[str, ...]:
    ee, cs = of["ee"], of.get("cs", {"spearman": None})
    shown = ["" if value is None else f"{value:.2f}" for value in (ee["kappa"], cs["spearman"])]
    return "" if ee["raw"] is None else percent(ee["raw"]), *shown
