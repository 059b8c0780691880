"""The verbs of the concept bank: have one drafted, check the one there is."""

import json
from dataclasses import asdict
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from seewhy.cli.llm import HELP, announce, endpoint_of, llm_arguments, prices_of
from seewhy.cli.verb import Verb
from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.settings import read_config

CONCEPTS = """\
The concept bank: the short visual phrases that an expert looks for in each class.

examples:
  seewhy concepts draft configs/birds.yaml --model gpt-4o
  seewhy concepts check configs/birds.yaml
"""

DRAFT = f"""\
Have a language model draft a concept bank for the classes of CONFIG's data set, one question a class.

examples:
  seewhy concepts draft configs/birds.yaml --model gpt-4o --price_in 2.5 --price_out 10 --estimate
  seewhy concepts draft configs/birds.yaml --model gpt-4o --limit 3 --output try.yaml
  seewhy concepts draft configs/birds.yaml --model qwen3 --base_url http://localhost:11434/v1

{HELP}
What repeats, names a class, cannot be seen or tells nothing is dropped; OUTPUT's sibling NAME.sources.jsonl says where
each phrase comes from and why it was dropped. A bank that someone edited is never overwritten. Classes without a
concept are named, and the exit code is 1. Read the draft before you use it: `seewhy concepts check` helps.
"""

CHECK = """\
Look for what is wrong, doubtful or odd in CONFIG's concept bank: over-long, duplicate, shared by every class,
contradictory, with a class's name inside, not visual, too few. With --run also: what no description of that run says,
and what it never selected. Exit code 1 where a run would refuse the bank.

examples:
  seewhy concepts check configs/birds.yaml
  seewhy concepts check configs/birds.yaml --run runs/birds
  seewhy concepts check configs/birds.yaml --json
"""


def draft_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", type=str, help="YAML file of settings; its `data` is read")
    parser.add_argument("--per_class", type=int, default=15, help="Phrases to ask for in each class.")
    where = "File of the bank (default: what data.concepts names, or concepts.yaml)."
    parser.add_argument("--output", type=str | None, default=None, help=where)
    parser.add_argument("--limit", type=int | None, default=None, help="Classes, at most: the first ones by name.")
    llm_arguments(parser)


def draft(given: Namespace) -> int:
    from seewhy.domain import drafting
    from seewhy.proof.bank import data_labels
    from seewhy.report.terminal_checks import print_draft

    config = _config(given.config)
    for name in ("per_class", "limit"):
        if given[name] is not None and given[name] < 1:
            raise SeeWhyError(f"--{name} is {given[name]}, but must be at least 1.")
    bank = Path(given.output or config.data.concepts or "concepts.yaml")
    drafting.check_free(bank)
    every = data_labels(config)
    labels = every[: given.limit]
    endpoint = endpoint_of(given, bank.with_name(f"{bank.stem}.answers"))
    if not announce(endpoint, drafting.requests(labels, config.data.noun, given.per_class), given):
        return 0
    found = drafting.draft(labels, config.data.noun, given.per_class, endpoint.ask)
    if not found.bank:
        raise SeeWhyError(f"No class has a concept ({next(iter(found.missing.values()))}), so {bank} was not written.")
    drafting.write_draft(found, bank, given.model)
    print_draft(found, bank, len(every), endpoint, prices_of(given), Console())
    return int(bool(found.missing))


def check_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", type=str, help="YAML file of settings; its `data` is read")
    parser.add_argument(
        "--run", type=str | None, default=None, help="A run with these concepts: what did it make of them?"
    )
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def check(given: Namespace) -> int:
    from seewhy.proof.bank import check_config_bank
    from seewhy.report.terminal_checks import print_bank_check

    found = check_config_bank(_config(given.config), given.run)
    print(json.dumps(asdict(found), indent=2, ensure_ascii=False)) if given.json else print_bank_check(found, Console())
    return int(found.counts["problem"] > 0)


def _config(path: str) -> RunConfig:
    return read_config(path, Namespace())


VERBS = (
    Verb(
        "concepts", "the concept bank: draft one, check one", CONCEPTS, "seewhy concepts VERB ...",
        verbs=(
            Verb(
                "draft", "a language model writes a first bank", DRAFT,
                "seewhy concepts draft CONFIG --model MODEL [--OPTION VALUE ...]", draft_arguments, draft,
            ),
            Verb(
                "check", "what is wrong or doubtful in a bank", CHECK,
                "seewhy concepts check CONFIG [--run RUN] [--json]", check_arguments, check,
            ),
        ),
    ),
)  # fmt: skip
