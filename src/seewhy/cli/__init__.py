"""The `seewhy` command: one verb a function of the package. `seewhy --help` and `seewhy VERB --help` say it all."""

import sys
from collections.abc import Sequence

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from rich.console import Console
from rich.text import Text

from seewhy.cli import concepts, data, export, judge, look, plan, proof, run
from seewhy.cli.verb import HelpFormatter, Verb, add_verbs, chosen
from seewhy.errors import SeeWhyError
from seewhy.run.folder import package_versions
from seewhy.settings import check_options, explain, known_settings

DESCRIPTION = """\
Teach a vision-language model to name what it sees and to show why.

examples:
  seewhy demo                                       the whole loop on the built-in field guide, on a CPU, no download
  seewhy run configs/fieldguide.yaml                on your data; started again, it goes on where it stopped
  seewhy run configs/fieldguide.yaml --tune.epochs 1
  seewhy evaluate runs/fieldguide --split val
  seewhy report runs/fieldguide
  seewhy explain runs/fieldguide photo.jpg          label, reasons, and where in the photo each reason is
  seewhy audit runs/fieldguide                      what became training data
  seewhy trace runs/fieldguide "train/Ivo Wren/003"
"""

VERBS: tuple[Verb, ...] = (
    *run.VERBS,
    *plan.VERBS,
    *data.VERBS,
    *look.VERBS,
    *proof.VERBS,
    *export.VERBS,
    *judge.VERBS,
    *concepts.VERBS,
)


def command_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="seewhy",
        version=package_versions().get("seewhy", "from a source tree"),
        description=DESCRIPTION,
        formatter_class=HelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
    )
    add_verbs(parser, VERBS)
    return parser


def parse(arguments: Sequence[str]) -> Namespace:
    """The verb and its arguments. Raises SeeWhyError for what it cannot understand."""
    takes_settings = any(verb.takes_settings and verb.name == arguments[0] for verb in VERBS)
    if takes_settings:
        check_options(arguments, {"help", "discard_stale", "seeds", *plan.OPTIONS, *known_settings()})
    try:
        return command_parser().parse_args(arguments, defaults=not takes_settings)
    except ArgumentError as error:
        raise explain(error, "command line", {}) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        given = parse(arguments or ["--help"])
        return chosen(VERBS, given.verb).run(given[given.verb])
    except SeeWhyError as error:
        Console(stderr=True).print(Text(f"Error: {error}", style="red"), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        say = "Stopped. Give the same command again, and it goes on where it stopped."
        Console(stderr=True).print(Text(say, style="yellow"), soft_wrap=True)
        return 130
