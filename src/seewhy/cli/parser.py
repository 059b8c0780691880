"""Build the parser of a verb from its functions' signatures, and turn the command line into their arguments.

A parameter of `Verb.function` without a default is a positional argument (if keyword-only, a required option); one with
a default is an option, with the parameter's type, range and help. `RunConfig` is a YAML file, and every setting is an
option; of another dataclass each field is an option. `Verb.show` prints the result; its keyword parameters are options.
"""

import inspect
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, is_dataclass
from functools import cached_property
from importlib import import_module
from types import NoneType
from typing import Any, get_args

import docstring_parser

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.settings import Parser, Setting, check_options, known_settings, read_config


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function, and the options of the command line that give its value."""

    name: str
    kind: Any
    """Its type without `| None`."""
    optional: bool
    """Whether its default is None."""
    positional: bool
    options: Mapping[str, Setting]
    group: str = ""
    """Title of its options in the help; empty for a parameter that is itself the option."""

    @property
    def metavar(self) -> str:
        """How the usage names a positional argument."""
        name = {"config": "CONFIG", "photos": "PHOTO", "place": "RUN|CONFIG"}.get(self.name, self.name.upper())
        return f"[{name}]" if self.optional else f"{name} [{name} ...]" if self.many else name

    @property
    def many(self) -> bool:
        return self.positional and self.kind == Sequence[str]

    def value(self, given: Mapping[str, Any]) -> Any:
        """Return its value from the options that are given."""
        own = {name.rpartition(".")[2]: given[name] for name in self.options if name in given}
        if not self.group:
            return given[self.name]
        return None if self.optional and not own else self.kind(**own)


@dataclass(frozen=True)
class Verb:
    """`seewhy NAME ...`: a function, how to show what it returns, and its help."""

    name: str
    function: Callable[..., Any]
    show: Callable[..., int | None]
    """Print the result and return the exit code. It takes the result, and arguments of `function` by their names."""
    examples: str
    notes: str = ""
    fixed: Mapping[str, str] = field(default_factory=dict)
    """`config`, if it is not given on the command line, and settings that differ from that file."""
    about: str = ""
    """What the verb does, if it is not what the function's docstring says."""

    @cached_property
    def description(self) -> str:
        doc = docstring_parser.parse(self.function.__doc__ or "")
        return self.about or f"{doc.short_description}\n\n{doc.long_description or ''}".strip()

    @property
    def summary(self) -> str:
        return self.description.partition("\n")[0].rstrip(".")

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The parameters of the function, then those that only `show` has."""
        own = list(_parameters(self.function))
        names = {of.name for of in own}
        return own + [of for of in list(_parameters(self.show))[1:] if of.name not in names]

    @cached_property
    def own(self) -> dict[str, Setting]:
        """Its options that are no settings of a run."""
        return {name: option for of in self.parameters if not of.positional for name, option in of.options.items()}

    @cached_property
    def settings(self) -> dict[str, Setting]:
        wanted = any(of.kind is RunConfig for of in self.parameters)
        return {name: of for name, of in known_settings().items() if wanted and name not in self.own}

    @cached_property
    def positionals(self) -> list[Parameter]:
        return [of for of in self.parameters if of.positional and of.name not in self.fixed]

    @cached_property
    def parser(self) -> ArgumentParser:
        """The parser of its arguments, as texts."""
        parts = (self.description, f"examples:\n{self.examples.rstrip()}", self.notes)
        parser = Parser(
            prog=f"seewhy {self.name}",
            usage=f"seewhy {self.name} {' '.join(self._usage())}".rstrip(),
            description="\n\n".join(filter(None, parts)),
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for of in self.positionals:
            nargs: Any = {"nargs": "+"} if of.many else {"nargs": "?"} if of.optional else {}
            text = of.options[of.name].help if of.options else "YAML file of settings."
            parser.add_argument(of.name, metavar=of.metavar.partition(" ")[0].strip("[]"), help=text, **nargs)
        for of in self.parameters:
            group = parser.add_argument_group(of.group) if of.group else parser
            for option in {} if of.positional else of.options:
                _add_option(group, self.own[option])
        groups: dict[str, Any] = {}
        for name, setting in self.settings.items():
            title = name.rpartition(".")[0]
            if title not in groups:
                groups[title] = parser.add_argument_group(f"{title} settings" if title else "settings of the run")
            _add_option(groups[title], setting)
        return parser

    def _usage(self) -> list[str]:
        words = [of.metavar for of in self.positionals]
        words += [f"--{name} {name.upper()}" for name, option in self.own.items() if option.default is MISSING]
        other = [option for option in self.own.values() if option.default is not MISSING]
        shown = [f"[{_flag(of)}]" if _is_flag(of) else f"[{_flag(of)} {of.name.upper()}]" for of in other]
        words += shown if len(shown) <= 4 else ["[--OPTION VALUE ...]"]
        return [*words, "[--SETTING VALUE ...]"] if self.settings else words

    def run(self, arguments: Sequence[str]) -> int:
        """Do what the arguments say, show the result and return the exit code."""
        values = self.arguments(arguments)
        called, shown = (inspect.signature(of).parameters for of in (self.function, self.show))
        result = self.function(**{name: value for name, value in values.items() if name in called})
        return self.show(result, **{name: value for name, value in values.items() if name in shown}) or 0

    def arguments(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Return the value of each parameter that is given.

        Raises SeeWhyError for what is wrong on the command line, and SystemExit after --help.
        """
        flags = {_flag(option) for option in self.own.values() if _is_flag(option)}
        arguments = list(_without_truth_values(arguments, flags))
        check_options(arguments, [*(_flag(option)[2:] for option in self.own.values()), *self.settings, "help"])
        given = {name: value for name, value in vars(self.parser.parse_args(arguments)).items() if value is not None}
        settings = {name: given.pop(name) for name in self.settings if name in given}
        for name, value in given.items():
            if name in self.own and isinstance(value, str):
                given[name] = self.own[name].parse(value, "command line", text=True)
        if self.settings:
            given |= self._config(given.pop("config", None), settings)
        return {of.name: of.value(given) for of in self.parameters if of.group or of.name in given}

    def _config(self, path: str | None, settings: Mapping[str, str]) -> dict[str, RunConfig]:
        path = self.fixed.get("config", path)
        if path is not None:
            fixed = {name: value for name, value in self.fixed.items() if name != "config"}
            return {"config": read_config(path, {**fixed, **settings})}
        if settings:
            raise SeeWhyError(f"command line: --{next(iter(settings))} changes a setting of CONFIG; give CONFIG too.")
        return {}


def _parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    texts = {of.arg_name: of.description or "" for of in docstring_parser.parse(function.__doc__ or "").params}
    for of in inspect.signature(function).parameters.values():
        hint = of.annotation
        if isinstance(hint, str):  # a type of the endpoint, which is large and imported for its own verbs alone
            hint = getattr(import_module("seewhy.endpoint"), hint, object)
        kind = next((kind for kind in get_args(hint) if kind is not NoneType), hint) if of.default is None else hint
        optional, positional = of.default is None, of.default is of.empty and of.kind is not of.KEYWORD_ONLY
        default = MISSING if of.default is of.empty else of.default
        options = {
            of.name: Setting(of.name, hint, default, texts.get(of.name, "Print JSON." if of.name == "json" else ""))
        }
        group = ""
        if kind is RunConfig:
            options, positional = {}, True
        elif is_dataclass(kind) and isinstance(kind, type):
            options, positional = known_settings(kind, f"{of.name}." if optional else ""), False
            group = (kind.__doc__ or of.name).partition("\n")[0].rstrip(".")
        yield Parameter(of.name, kind, optional, positional, options, group)


def _add_option(group: Any, option: Setting) -> None:
    text, default = option.help, option.default
    if _is_flag(option):
        action = "store_false" if default else "store_true"
        group.add_argument(_flag(option), dest=option.name, action=action, default=None, help=text.replace("%", "%%"))
    else:
        takes = option.takes.replace(" (in quotes)", "")
        if option.name not in known_settings():
            takes = takes.removesuffix(" or null")
        shown = [] if default in (None, MISSING) or "(default:" in text else [f"default: {_shown(default)}"]
        text = f"{text} ({'; '.join([takes, *shown])})"
        required, metavar = default is MISSING, option.name.rpartition(".")[2].upper()
        group.add_argument(
            f"--{option.name}", required=required, default=None, metavar=metavar, help=text.replace("%", "%%")
        )


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return f"[{', '.join(map(str, default))}]" if isinstance(default, tuple) else str(default)


def _is_flag(option: Setting) -> bool:
    """Whether it is given without a value. Settings of a run take true or false, since the file may have either."""
    return option.type is bool and option.name not in known_settings() and "." not in option.name


def _flag(option: Setting) -> str:
    return f"--no_{option.name}" if _is_flag(option) and option.default else f"--{option.name}"


def _without_truth_values(arguments: Sequence[str], flags: set[str]) -> Iterator[str]:
    """Also accept a flag with a value: "--discard_stale true", "--discard_stale=false"."""
    waiting = list(reversed(arguments))
    while waiting:
        argument = waiting.pop()
        name, _, value = argument.partition("=")
        if name not in flags:
            yield argument
            continue
        if not value and waiting and waiting[-1] in ("true", "false"):
            value = waiting.pop()
        if value not in ("", "true", "false"):
            raise SeeWhyError(f"command line: {name} is {value}, but takes true or false.")
        if value != "false":
            yield name
