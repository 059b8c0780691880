"""The verb that has a language model judge a run's answers."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from seewhy.cli.llm import HELP, announce, endpoint_of, llm_arguments, prices_of
from seewhy.cli.page import renew_page
from seewhy.cli.verb import Verb

JUDGE = f"""\
Have a language model judge what a run's models answered on the evaluated split: whether an answer explains itself (EE)
and how well its reasons agree with the expert's concepts (CS). Told beside it: how far the judge agrees with the
figures that need none.

examples:
  seewhy judge runs/cub200 --model gpt-4o --price_in 2.5 --price_out 10 --estimate
  seewhy judge runs/cub200 --model gpt-4o --limit 500          500 images, the same ones for every model
  seewhy judge runs/cub200 --model Qwen/Qwen3-32B --base_url http://localhost:8000/v1 --round all --concurrency 32

{HELP}
Answers are kept in RUN/judge/, the figures in RUN/judge.json; RUN/report.html is written anew and shows them. An
answer without a verdict is in no figure; it is counted, with the reason, and the exit code is 1.
"""


def judge_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=str, help="the run folder")
    rounds = "Round of the models, controls included: a number (0 is the base), 'last' (and the base), or 'all'."
    parser.add_argument("--round", type=str, default="last", help=rounds)
    parser.add_argument("--limit", type=int | None, default=None, help="Images, at most: a fixed sample of the split.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    llm_arguments(parser)


def judge(given: Namespace) -> int:
    from seewhy.proof.judge import Judging
    from seewhy.report.terminal import print_judged
    from seewhy.results import to_json
    from seewhy.results_json import encode

    judging = Judging(given.run, round=given.round, limit=given.limit)
    endpoint = endpoint_of(given, Path(given.run) / "judge")
    questions = [request for of in judging.requests.values() for request in of]
    if not announce(endpoint, questions, given):
        return 0
    found = judging.ask(endpoint, prices_of(given))
    print(to_json(found), end="") if given.json else print_judged(encode(found), Console())
    renew_page(given.run)
    return int(any(of.missing for of in found.models.values()))


VERBS = (
    Verb(
        "judge", "a language model judges the answers", JUDGE,
        "seewhy judge RUN --model MODEL [--OPTION VALUE ...]", judge_arguments, judge,
    ),
)  # fmt: skip
