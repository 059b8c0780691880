"""The verbs that say what a run will cost and whether this machine can pay it: plan, doctor."""

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from seewhy.cli.verb import Verb
from seewhy.settings import add_settings, load_config, read_config

PLAN = """\
What a run will cost, from its data and its model's configuration: no weights are read, nothing is downloaded but what
the processor needs. Tokens, operations, memory and hours of each stage, disk, requests to other models; and where it
does not fit, settings with which it does.

examples:
  seewhy plan configs/cub200.yaml --gpu H100
  seewhy plan configs/cub200.yaml --gpu RTX4090 --tune.method qlora --tune.micro_batch_size 8
  seewhy plan configs/cub200.yaml --gpu A100-80 --json > plan.json
  seewhy plan configs/cub200.yaml --price_in 2.5 --price_out 10

Without --gpu it is the one in this machine, or else there are no hours. Times rest on assumed shares of the card's data
sheet, which the last line of the output names. Exit code 2 where it does not fit as it is. A model on the Hub needs its
config.json, tokenizer, processor and chat template at hand; offline, put them into a folder and set model.name_or_path.
"""

DOCTOR = """\
Look at this machine: versions, devices and their memory, precision, disk, optional packages, the Hub; and ten seconds
of writing with the shipped model.

examples:
  seewhy doctor
  seewhy doctor configs/cub200.yaml
  seewhy doctor --json --quick

Exit code 1 where something is broken that every run needs. With CONFIG, the disk is that of its output folder.
"""


OPTIONS = ("gpu", "length", "fallback", "price_in", "price_out", "json")
"""Of `seewhy plan`, beside the settings of a run."""


def plan_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", type=str, help="YAML file of settings")
    parser.add_argument("--gpu", type=str | None, default=None, help="Card: H100, A100-80, L4, RTX4090, ...")
    parser.add_argument("--length", type=float, default=0.6, help="Mean length of a text, as a share of its longest.")
    fallback = "Share of training answers that are the plain label sentence."
    parser.add_argument("--fallback", type=float, default=0.1, help=fallback)
    parser.add_argument("--price_in", type=float | None, default=None, help="Price of a million tokens in.")
    parser.add_argument("--price_out", type=float | None, default=None, help="Price of a million tokens out.")
    parser.add_argument("--json", action="store_true", help="Print JSON: bytes, seconds, tokens.")
    add_settings(parser)


def plan(given: Namespace) -> int:
    from seewhy.cost.estimate import plan_run
    from seewhy.cost.hardware import find_gpu, here
    from seewhy.cost.tokens import Assumed
    from seewhy.endpoint import Prices
    from seewhy.errors import SeeWhyError
    from seewhy.report.terminal_checks import print_cost

    name, as_json = given.pop("gpu", None), given.pop("json", False)
    assumed = Assumed(length=given.pop("length", 0.6), fallback=given.pop("fallback", 0.1))
    if not (0 < assumed.length <= 1 and 0 <= assumed.fallback <= 1):
        raise SeeWhyError("--length is a share above 0 and up to 1, and --fallback one from 0 to 1.")
    prices = (given.pop("price_in", None), given.pop("price_out", None))
    if prices.count(None) == 1:
        raise SeeWhyError("A cost needs both --price_in and --price_out.")
    gpu = find_gpu(name) if name else here()
    cost = plan_run(read_config(given.pop("config"), given), gpu, assumed)
    if as_json:
        print(json.dumps(cost.as_json(), indent=2))
    else:
        print_cost(cost, Console(), None if None in prices else Prices(*prices))  # pyright: ignore[reportArgumentType]
    return 0 if cost.fits else 2


def doctor_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", type=str, nargs="?", help="YAML file of settings")
    parser.add_argument("--quick", action="store_true", help="Leave the generation test and the Hub out.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def doctor(given: Namespace) -> int:
    from seewhy.doctor import as_json, broken, diagnose

    output = Path(load_config(given.config).output if given.config else "runs")
    checks = diagnose(output, generate=not given.quick, hub=not given.quick)
    if given.json:
        print(json.dumps(as_json(checks), indent=2))
    else:
        from seewhy.report.terminal_checks import print_machine_check

        print_machine_check(checks, Console())
    return int(broken(checks))


VERBS: tuple[Verb, ...] = (
    Verb(
        name="plan",
        summary="tokens, memory, hours and disk of a run, before it is paid",
        description=PLAN,
        usage="seewhy plan CONFIG [--gpu NAME] [--json] [--SETTING VALUE ...]",
        arguments=plan_arguments,
        perform=plan,
        takes_settings=True,
    ),
    Verb(
        name="doctor",
        summary="what is wrong with this machine",
        description=DOCTOR,
        usage="seewhy doctor [CONFIG] [--quick] [--json]",
        arguments=doctor_arguments,
        perform=doctor,
    ),
)
