"""The verbs of the `seewhy` command: for each its function, its examples, and how its result is shown."""

import json as jsonlib
import resource
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import seewhy.api as api
from seewhy.cli.parser import Verb
from seewhy.config import NonNegative, RunConfig
from seewhy.errors import SeeWhyError
from seewhy.results_json import as_values, to_json
from seewhy.run.progress import console, print_json, say

if TYPE_CHECKING:
    from seewhy.cost.estimate import RunCost
    from seewhy.doctor import Check
    from seewhy.domain.check import DataCheck
    from seewhy.proof.audit import Audit
    from seewhy.proof.bank import BankCheck
    from seewhy.results import Ability, Comparison, Explained, Faithfulness, Judgement, Metrics
    from seewhy.run.verify import RunCheck

DEMO_SETTINGS = Path(__file__).parents[1] / "fieldguide" / "demo.yaml"
STARTED = time.monotonic()

LANGUAGE_MODEL = """\
The language model may be behind any OpenAI-compatible endpoint: OpenAI's own, or --base_url http://localhost:8000/v1
for vLLM, SGLang, Ollama and the like. The key is read from the environment (OPENAI_API_KEY, or --key_variable); a
server on this machine needs none. Install the extra: pip install 'seewhy[llm]'. What it will take is estimated first
(--estimate stops there). Every answer is kept as soon as it arrives: stopped, or with answers missing, the same command
continues and pays for nothing twice."""


def show_run(metrics: "Metrics", config: RunConfig) -> None:
    from seewhy.report.doubts import of_run
    from seewhy.report.terminal import print_collapses, print_results
    from seewhy.run.ranks import rank

    if rank():  # rank 0 shows it
        return
    out = console()
    print_results(metrics, out)
    print_collapses(of_run(Path(config.output), metrics), out)
    page = api.report(config.output, heatmaps=False)
    minutes = (time.monotonic() - STARTED) / 60
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    out.print(f"Took {minutes:.1f} minutes and at most {peak:.1f} GiB of memory in this process.")
    show_page(page)


def show_compare(compared: "Comparison", config: RunConfig) -> None:
    from seewhy.report.terminal import print_comparison

    print_comparison(compared, console())
    show_page(api.report(config.output, heatmaps=False))


def show_page(page: Path) -> None:
    console().print(f"Wrote {page}", markup=False, soft_wrap=True)


def show_plan(
    cost: "RunCost", *, price_in: NonNegative | None = None, price_out: NonNegative | None = None, json: bool = False
) -> int:
    """Print a forecast; the exit code is 2 if the run does not fit.

    Args:
        price_in: Price of a million tokens in.
        price_out: Price of a million tokens out.
        json: Print JSON: bytes, seconds, tokens.
    """
    from seewhy.report.terminal_checks import print_cost

    prices = api.Budget(price_in, price_out).prices
    print_json(cost.as_json()) if json else print_cost(cost, console(), prices)
    return 0 if cost.fits else 2


def show_doctor(checks: "list[Check]", *, json: bool = False) -> int:
    """Print the checks; the exit code is 1 if something is broken that every run needs."""
    from seewhy.doctor import as_json, broken
    from seewhy.report.terminal_checks import print_machine_check

    print_json(as_json(checks)) if json else print_machine_check(checks, console())
    return int(broken(checks))


def show_data_check(checked: "DataCheck", *, json: bool = False) -> int:
    """Print the findings; the exit code is 1 if there is an error.

    Args:
        json: Print JSON, with every file, row and class.
    """
    from seewhy.report.terminal_checks import print_data_check

    print_json(checked.as_json()) if json else print_data_check(checked, console())
    return int(checked.errors > 0)


def show_verified(checked: "RunCheck | DataCheck", *, json: bool = False) -> int:
    """Print what is damaged or missing; the exit code is 1 if anything is.

    Args:
        json: Print JSON.
    """
    from seewhy.domain.check import DataCheck

    if isinstance(checked, DataCheck):
        return show_data_check(checked, json=json)
    from seewhy.report.terminal_checks import print_run_check

    print_json(asdict(checked)) if json else print_run_check(checked, console())
    return int(bool(checked.findings))


def show_bank_check(checked: "BankCheck", *, json: bool = False) -> int:
    """Print the findings; the exit code is 1 if a run would refuse the bank."""
    from seewhy.report.terminal_checks import print_bank_check

    print_json(asdict(checked)) if json else print_bank_check(checked, console())
    return int(checked.counts["problem"] > 0)


def show_draft(drafted: api.DraftedBank | None, budget: api.Budget) -> int:
    from seewhy.report.terminal_checks import print_draft

    if drafted is None:
        return 0
    print_draft(drafted.draft, drafted.path, drafted.classes, budget.prices, console())
    return int(bool(drafted.draft.missing))


def show_evaluation(metrics: "Metrics") -> None:
    from seewhy.report.terminal import print_results

    print_results(metrics, console())


def show_explained(explained: "list[Explained]", *, json: bool = False) -> None:
    """Print the labels and reasons."""
    from seewhy.explanation import as_json
    from seewhy.report.terminal import print_explained

    print_json(as_json(explained)) if json else print_explained(explained, console())


def show_nothing(_result: None) -> None:
    """What there is to see is on the page."""


def show_audit(audit: "Audit", *, json: bool = False) -> None:
    """Print the audit."""
    from seewhy.report.terminal import print_audit

    print_json(to_json(audit)) if json else print_audit(audit, console())


def show_trace(traced: dict[str, Any], *, json: bool = False) -> None:
    """Print the trace."""
    from seewhy.report.terminal import print_trace

    print_json(traced) if json else print_trace(traced, console())


def show_faithfulness(found: "Faithfulness", run: str, *, json: bool = False) -> None:
    """Print the figures."""
    from seewhy.report.terminal import print_tests

    print_json(_without(as_values(found), "counts", "tests")) if json else print_tests(found, console())
    renew_page(run)


def show_general(found: "Ability", run: str, *, json: bool = False) -> None:
    """Print the figures."""
    from seewhy.report.terminal import print_abilities

    print_json(_without(as_values(found), "counts")) if json else print_abilities(found, console())
    renew_page(run)


def show_judged(judged: "Judgement | None", run: str, *, json: bool = False) -> int:
    """Print the judgement; the exit code is 1 if an answer has no verdict."""
    from seewhy.report.terminal import print_judged

    if judged is None:
        return 0
    print_json(to_json(judged)) if json else print_judged(judged, console())
    renew_page(run)
    return int(any(model.missing for model in judged.models.values()))


def show_export(made: dict[str, Any], run: str, output: str) -> None:
    out = console()
    out.print(f"Round {made['round']} of {run}:", markup=False)
    for file in ("model", "adapter", "data"):
        if any(name.startswith(f"{file}/") for name in made["files"]):
            out.print(f"  {output}/{file}", markup=False, soft_wrap=True)
    if check := made.get("adapter"):
        out.print(f"The adapter on the base gives the merged model's logits up to {check['difference']:.1g}.")
    for place in made["pushed"]:
        out.print(f"Uploaded to {place}", markup=False, soft_wrap=True)


def _without(found: dict[str, Any], *keys: str) -> dict[str, Any]:
    models = {n: {key: v for key, v in of.items() if key not in keys} for n, of in found.get("models", {}).items()}
    return {**found, "models": models}


def renew_page(run: str) -> None:
    """Write the page of a run again, and that of the comparison of which it is a seed, and say where they are.

    A run that is not finished has no page yet, which is said too: on standard error, so that printed JSON stays JSON.
    """
    for folder in (run, *_comparison(Path(run))):
        try:
            say(f"Wrote {api.report(folder, heatmaps=False)}")
        except SeeWhyError as error:
            say(f"{folder} has no page of it yet. {error}")


def _comparison(run: Path) -> list[str]:
    """The folder of the comparison that has this run as one of its seeds."""
    try:
        text = (run.resolve().parent / "comparison.json").read_text(encoding="utf-8")
        seeds = jsonlib.loads(text)["seeds"]
        return [str(run.parent)] if run.resolve().name in [f"seed-{seed}" for seed in seeds] else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


GROUPS = {
    "data": "Check a data set before it is used.",
    "concepts": "Draft or check a concept bank: the short visual phrases that an expert looks for in each class.",
}
"""First words of verbs with two words."""

VERBS = (
    Verb(
        "demo", api.run, show_run, """\
  seewhy demo
  seewhy demo --output runs/demo
  seewhy demo --rounds 1 --tune.epochs 1
""",
        about="Run the whole loop on the built-in field guide, on a CPU and without a download.\n\n"
        "It ends with a table and a page. Settings that are not given are those of configs/fieldguide.yaml.",
        fixed={"config": str(DEMO_SETTINGS), "output": "runs/demo"},
    ),
    Verb(
        "run", api.run, show_run, """\
  seewhy run configs/fieldguide.yaml
  seewhy run configs/fieldguide.yaml --tune.epochs 1 --output runs/one_epoch
  seewhy run configs/fieldguide.yaml --rounds 2 --controls '[nl]'
  seewhy run configs/fieldguide.yaml --tune.epochs 3 --discard_stale
  seewhy run configs/cub200.yaml --workers.count 8       on 8 GPUs of this machine
""",
        """\
The settings below may stand in CONFIG (`tune:`, then `epochs: 1` indented) or on the command line, which wins.
Relative paths are relative to the current directory, not to CONFIG.""",
    ),
    Verb(
        "compare", api.compare, show_compare, """\
  seewhy compare configs/fieldguide.yaml --output runs/compare
  seewhy compare configs/fieldguide.yaml --seeds '[0, 1]' --rounds 2 --output runs/compare
  seewhy compare configs/fieldguide.yaml --controls '[nl, lge]' --output runs/compare
""",
        """\
The figures are written to OUTPUT/comparison.json and OUTPUT/report.html. Controls can be added later.""",
    ),
    Verb(
        "plan", api.plan, show_plan, """\
  seewhy plan configs/cub200.yaml --gpu H100
  seewhy plan configs/cub200.yaml --gpu H100 --gpus 8
  seewhy plan configs/cub200.yaml --gpu RTX4090 --tune.method qlora --tune.micro_batch_size 8
  seewhy plan configs/cub200.yaml --gpu A100-80 --json > plan.json
  seewhy plan configs/cub200.yaml --price_in 2.5 --price_out 10
""",
        """\
The exit code is 2 if the run does not fit as it is. A model on the Hub needs its config.json, tokenizer, processor and
chat template at hand; offline, put them into a folder and set model.name_or_path.""",
    ),
    Verb(
        "doctor", api.diagnose, show_doctor, """\
  seewhy doctor
  seewhy doctor configs/cub200.yaml
  seewhy doctor --json --quick
""",
        "The exit code is 1 if something is broken that every run needs.",
    ),
    Verb(
        "check", api.verify, show_verified, """\
  seewhy check runs/fieldguide                is anything damaged or missing, and what makes it anew?
  seewhy check runs/fieldguide --json
  seewhy check configs/cub200.yaml            before a run: settings, model, bank and data
""",
        "The exit code is 1 if something is damaged or missing, or a run would stop at it.",
    ),
    Verb(
        "data check", api.check, show_data_check, """\
  seewhy data check configs/cub200.yaml
  seewhy data check configs/cub200.yaml --json > check.json
""",
        "The exit code is 1 if there is an error: a run would stop at it, or its figures would be wrong.",
    ),
    Verb(
        "concepts draft", api.draft_concepts, show_draft, """\
  seewhy concepts draft configs/birds.yaml --model gpt-4o --price_in 2.5 --price_out 10 --estimate
  seewhy concepts draft configs/birds.yaml --model gpt-4o --limit 3 --output try.yaml
  seewhy concepts draft configs/birds.yaml --model qwen3 --base_url http://localhost:11434/v1
""",
        f"Classes without a concept are named, and the exit code is 1.\n\n{LANGUAGE_MODEL}",
    ),
    Verb(
        "concepts check", api.check_concepts, show_bank_check, """\
  seewhy concepts check configs/birds.yaml
  seewhy concepts check configs/birds.yaml --run runs/birds
  seewhy concepts check configs/birds.yaml --json
""",
        "The exit code is 1 if a run would refuse the bank.",
    ),
    Verb(
        "evaluate", api.evaluate, show_evaluation, """\
  seewhy evaluate runs/fieldguide
  seewhy evaluate runs/fieldguide --split val
  seewhy evaluate runs/cub200 --data configs/dogs.yaml       models tuned on one data set, measured on another
  seewhy evaluate runs/fieldguide --consistency true         with CS, if the run itself was measured without it
""",
    ),
    Verb(
        "report", api.report, show_page, """\
  seewhy report runs/fieldguide
  seewhy report runs/fieldguide --no_heatmaps      loads no model: shows where it looks as far as that is known
  seewhy report runs/compare                       the folder of a comparison over seeds
""",
        "Where the model looks is computed image by image; stopped, it continues where it was.",
    ),
    Verb(
        "explain", api.explain, show_explained, """\
  seewhy explain runs/fieldguide photo.jpg
  seewhy explain runs/fieldguide *.jpg --output explained --json
  seewhy explain runs/fieldguide photo.jpg --round 1
  seewhy explain runs/fieldguide photo.jpg --base
""",
    ),
    Verb(
        "chat", api.chat, show_nothing, """\
  seewhy chat runs/fieldguide
  seewhy chat runs/fieldguide --port 7860 --round 1
  seewhy chat runs/fieldguide --host 0.0.0.0       open to the network; the address still has a secret
""",
    ),
    Verb(
        "serve", api.serve, show_nothing, """\
  seewhy serve runs/fieldguide
  seewhy serve runs/fieldguide --token secret --round 1
  curl --data-binary @photo.jpg http://127.0.0.1:8000/secret/explain
""",
    ),
    Verb(
        "review", api.review, show_nothing, """\
  seewhy review runs/fieldguide --reviewer Ada
  seewhy review runs/fieldguide --verdicts verdicts.jsonl --port 7861
""",
    ),
    Verb(
        "audit", api.audit, show_audit, """\
  seewhy audit runs/fieldguide
  seewhy audit runs/fieldguide --json
""",
    ),
    Verb(
        "trace", api.trace, show_trace, """\
  seewhy trace runs/fieldguide "train/Ivo Wren/003"            one image, all rounds
  seewhy trace runs/fieldguide "train/Ivo Wren/003/1/2"        one answer: round 1, number 2
  seewhy trace runs/fieldguide "train/Ivo Wren/003/covered/0"  a copy with a covered part (tune.covered)
  seewhy trace runs/fieldguide "train/Ivo Wren/003" --json
""",
    ),
    Verb(
        "faithfulness", api.faithfulness, show_faithfulness, """\
  seewhy faithfulness runs/fieldguide --split val
  seewhy faithfulness runs/fieldguide --images 48 --round 1 --json
  seewhy faithfulness runs/compare/seed-0 --arms '[rounds, lge, base]'
""",
        "RUN/report.html is written again and shows the result.",
    ),
    Verb(
        "general", api.general, show_general, """\
  seewhy general runs/fieldguide --split val
  seewhy general runs/fieldguide --images 48 --json
  seewhy general runs/birds --tasks mmmu_val,mmstar,mmbench_en_dev,mme,seedbench_2_plus
  seewhy general runs/birds --tasks mmmu_val --lmms_eval 'lmms/bin/python -m lmms_eval'
""",
        "RUN/report.html is written again and shows the result.",
    ),
    Verb(
        "judge", api.judge, show_judged, """\
  seewhy judge runs/cub200 --model gpt-4o --price_in 2.5 --price_out 10 --estimate
  seewhy judge runs/cub200 --model gpt-4o --limit 500          500 images, the same ones for every model
  seewhy judge runs/cub200 --model Qwen/Qwen3-32B --base_url http://localhost:8000/v1 --round all --concurrency 32
""",
        f"RUN/report.html is written again and shows the result. The exit code is 1 if an answer has no verdict.\n\n"
        f"{LANGUAGE_MODEL}",
    ),
    Verb(
        "export", api.export, show_export, """\
  seewhy export runs/fieldguide --output exported
  seewhy export runs/fieldguide --output exported --round best --model merged,adapter
  seewhy export runs/fieldguide --output exported --model none --data parquet,trl,llava,sharegpt --images
  seewhy export runs/fieldguide --output exported --push_to_hub USER/NAME --private
""",
    ),
)  # fmt: skip
