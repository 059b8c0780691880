"""What a verb of the command line is: its words, its arguments, and the function that does it.

A verb imports what it needs when it runs, so that help and mistakes are answered without waiting for torch.
"""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import dataclass

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace


def trust_argument(parser: ArgumentParser) -> None:
    """For verbs that load the models of a run folder, which is not obeyed in this (run/finished.py)."""
    helped = "Run code that came with the run's model. Read it first: the run folder's own word does not count."
    parser.add_argument("--trust_remote_code", type=bool | None, default=None, help=helped)


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of the examples."""


@dataclass(frozen=True)
class Verb:
    """`seewhy NAME ...`, or with `verbs` of its own `seewhy NAME VERB ...`."""

    name: str
    summary: str
    """The line that stands beside it in the help of the verb above."""
    description: str
    """Its own help, with examples."""
    usage: str = ""
    arguments: Callable[[ArgumentParser], None] = lambda parser: None
    perform: Callable[[Namespace], int | None] = lambda given: None
    """Does it and shows the results. Returns the exit code; None is 0."""
    takes_settings: bool = False
    """Whether every setting of a run is an option of it (`settings.add_settings`)."""
    verbs: "tuple[Verb, ...]" = ()

    def parser(self) -> ArgumentParser:
        parser = ArgumentParser(
            description=self.description,
            usage=self.usage or None,
            formatter_class=HelpFormatter,
            exit_on_error=False,
            allow_abbrev=False,
        )
        self.arguments(parser)
        return parser

    def run(self, given: Namespace) -> int:
        if self.verbs:
            return chosen(self.verbs, given.verb).run(given[given.verb])
        return self.perform(given) or 0


def add_verbs(parser: ArgumentParser, verbs: tuple[Verb, ...]) -> None:
    if verbs:
        subcommands = parser.add_subcommands(dest="verb", metavar="VERB")
        for verb in verbs:
            inner = verb.parser()
            subcommands.add_subcommand(verb.name, inner, help=verb.summary)
            add_verbs(inner, verb.verbs)  # after it: jsonargparse wants the levels in order


def chosen(verbs: tuple[Verb, ...], name: str) -> Verb:
    return next(verb for verb in verbs if verb.name == name)
