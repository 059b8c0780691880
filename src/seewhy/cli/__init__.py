"""The `seewhy` command. `seewhy --help` lists the verbs, `seewhy VERB --help` explains one."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from rich.text import Text

import seewhy
from seewhy.cli.parser import Verb
from seewhy.cli.verbs import GROUPS, VERBS
from seewhy.errors import SeeWhyError
from seewhy.run.progress import console
from seewhy.settings import Parser, nearest

DESCRIPTION = """\
Teach a vision-language model to name what it sees and to say why.

examples:
  seewhy demo                                       the whole loop on the built-in field guide, on a CPU, no download
  seewhy run configs/fieldguide.yaml                on your data; started again, it continues where it stopped
  seewhy run configs/fieldguide.yaml --tune.epochs 1
  seewhy evaluate runs/fieldguide --split val
  seewhy report runs/fieldguide
  seewhy explain runs/fieldguide photo.jpg          label, reasons, and where in the photo each reason is
  seewhy audit runs/fieldguide                      what became training data
  seewhy trace runs/fieldguide "train/Ivo Wren/003"
"""


def overview(group: str = "") -> ArgumentParser:
    """Return the parser of `seewhy --help`, or of `seewhy GROUP --help`."""
    verbs = {of.name.removeprefix(group).split()[0]: of for of in VERBS if of.name.startswith(group)}
    examples = "examples:\n" + "".join(of.examples.splitlines(keepends=True)[0] for of in verbs.values())
    parser = Parser(
        prog=f"seewhy {group}".strip(),
        usage=f"seewhy {group}VERB ...",
        description=f"{GROUPS[group.strip()]}\n\n{examples}" if group else DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"seewhy {seewhy.__version__}")
    title = f"verbs, explained by `seewhy {group}VERB --help`"
    subparsers = parser.add_subparsers(title=title, metavar="VERB", parser_class=ArgumentParser)
    for word, verb in verbs.items():
        subparsers.add_parser(word, help=GROUPS.get(group + word, verb.summary).rstrip("."))
    return parser


def find(arguments: Sequence[str]) -> tuple[Verb, Sequence[str]]:
    """Return the verb and its arguments. Raises SeeWhyError for an unknown one, SystemExit for --help and --version."""
    verbs = {of.name: of for of in VERBS}
    for words in (2, 1):
        if verb := verbs.get(" ".join(arguments[:words])):
            return verb, arguments[words:]
    group = f"{arguments[0]} " if arguments and arguments[0] in GROUPS else ""
    rest = arguments[1:] if group else arguments
    if not rest or rest[0].startswith("-"):
        overview(group).parse_args(list(rest[:1]) or ["--help"])
    name = group + rest[0]
    raise SeeWhyError(f"There is no verb {name!r}.{nearest(name, verbs)} `seewhy {group}--help` lists them.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    try:
        verb, rest = find(list(sys.argv[1:] if arguments is None else arguments))
        return verb.run(rest)
    except SeeWhyError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        text = "Stopped. Give the same command again, and it goes on where it stopped."
        console(stderr=True).print(Text(text, style="yellow"), soft_wrap=True)
        return 130


def fail(text: str) -> int:
    """Print an error and return the exit code."""
    console(stderr=True).print(Text(f"Error: {text}", style="red"), soft_wrap=True)
    return 1
