"""Read the settings of a run into a `RunConfig`: a preset, then a YAML file, then overrides.

    load_config("configs/birds.yaml", ["--tune.epochs", "1"])
    preset_config("paper")

A key that does not exist or is given twice, and a value of the wrong type or out of range, raise SeeWhyError with the
file, the line and the nearest name. Relative paths among the settings (`output`, `data.source`, ...) are relative to
the current directory, not to the YAML file.

A preset gives the settings that neither the file nor the command line gives. 'ours' is what `config.py` shows. 'paper'
is Shi et al. (ICLR 2025), and their code (SelfSynthX) where the text is silent; docs/paper_map.md lists what still
differs.
"""

import difflib
from argparse import ArgumentParser
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, reduce
from operator import or_
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import docstring_parser
import jsonargparse
import yaml

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.words import MASK
from seewhy.yaml_text import begun

DEFAULT_PRESET = "ours"

PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "rounds": 4,
        "start_from": "previous",
        "keep_going": True,
        "describe.prompts_per_image": 3,
        "describe.samples_per_prompt": 10,
        "describe.temperature": 1.0,
        "describe.top_p": 1.0,
        "describe.max_new_tokens": 256,
        "select.encoder": "intfloat/e5-large",
        "select.prefixes": False,
        "select.temperature": 0.1,
        "select.rule": "image",
        "select.threshold_std": 0.4,
        "select.minimum": 3,
        "synthesise.answers_per_image": 8,
        "synthesise.simple_share": 0.4,
        "synthesise.explain_share": 0.32,
        "synthesise.temperature": 0.3,
        "synthesise.top_p": 1.0,
        "synthesise.max_new_tokens": 128,
        "synthesise.tries": 1,
        "synthesise.require_listed": False,
        "synthesise.fallback": "label",
        "tune.method": "lora",
        "tune.epochs": 2,
        "tune.learning_rate": 1e-5,
        "tune.schedule": "linear",
        "tune.warmup": 0.05,
        "tune.weight_decay": 0.0,
        "tune.batch_size": 32,
        "tune.lora_rank": 128,
        "tune.lora_alpha": 256,
        "tune.lora_dropout": 0.05,
        "tune.projector": "full",
        "tune.vision_tower": "frozen",
        "tune.loss_per": "token",
        "tune.replay_ratio": 1.0,
        "tune.augment.at_most": 4,
        "tune.augment.flip": 0.5,
        "tune.augment.upside_down": 0.3,
        "tune.augment.rotate": 30.0,
        "tune.augment.rotate_share": 0.7,
        "tune.augment.affine": 0.5,
        "tune.augment.affine_turn": 20.0,
        "tune.augment.affine_shift": 0.1,
        "tune.augment.affine_zoom": 0.2,
        "tune.augment.colour": 0.4,
        "tune.augment.colour_share": 0.7,
        "tune.augment.blur": 0.4,
        "tune.augment.perspective": 0.5,
        "tune.augment.perspective_share": 0.6,
        "sample.queries_per_image": 8,
        "sample.samples_per_query": 3,
        "sample.temperature": 0.7,
        "sample.top_p": 0.6,
        "sample.max_new_tokens": 196,
        "sample.negatives": "per_class",
        "sample.label_first": False,
        "sample.prefer_listed": False,
        "sample.require_listed": False,
        "sample.fallback": "label",
        "evaluate.max_new_tokens": 256,
    }
)
"""Everything that the paper or its code decides, even where our default is the same."""

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType({"ours": MappingProxyType({}), "paper": PAPER})
"""Name -> dotted setting -> value, where it is not the default of `config.py`."""

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}


@dataclass(frozen=True)
class Setting:
    """One value that can be set, under its dotted name such as `tune.epochs`, or an option of a verb."""

    name: str
    type: Any
    default: Any
    """`dataclasses.MISSING` if it must be given."""
    help: str
    throughput: bool = False

    @property
    def checked_type(self) -> Any:
        """The type that jsonargparse checks, with its range."""
        return _checked(self.type)

    @property
    def takes(self) -> str:
        """The type in words."""
        return _words(self.type)

    def parse(self, value: Any, where: str, *, text: bool = False) -> Any:
        """Return a value as its type, from YAML or (`text`) from the command line. Raises SeeWhyError, see above."""
        parser, name, shown = _value_parser(self.checked_type), f"{'--' * text}{self.name}", value
        if text and self.takes.startswith("a list") and not value.startswith("["):  # "a, b", or none
            value = "[]" if value == "none" else f"[{value}]"
        try:
            given = parser.parse_args([f"--value={value}"]) if text else parser.parse_object({"value": value})
        except jsonargparse.ArgumentError as error:
            raise SeeWhyError(f"{where}: {name} is {shown}, but takes {self.takes}.") from error
        parsed = given["value"]
        plain = next((kind for kind in (bool, int, float) if isinstance(parsed, kind)), None)
        return plain(parsed) if plain else parsed


def _checked(hint: Any) -> Any:
    if get_origin(hint) is Annotated:
        return get_args(hint)[1]
    return reduce(or_, map(_checked, get_args(hint))) if _is_union(hint) else hint


def _words(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return parts[2]
    if _is_union(hint):
        quoted = " (in quotes)" if str in parts else ""
        return " or ".join(_words(part) + quoted * (part is str) for part in parts)
    if origin is Literal:
        return "one of " + ", ".join(parts)
    if origin in (tuple, list, Sequence):
        choices = get_args(parts[0])
        return "a list of " + ", ".join(choices) if choices else "a list, such as [a, b]"
    return _WORDS[hint]


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


@cache
def _value_parser(kind: Any) -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=kind)
    return parser


@cache
def known_settings(config: type = RunConfig, prefix: str = "") -> Mapping[str, Setting]:
    """Return the settings of a dataclass by their dotted names, with the strings under its fields as help."""
    return {setting.name: setting for setting in _walk(config, prefix)}


def _walk(config: type, prefix: str) -> Iterator[Setting]:
    hints = get_type_hints(config, include_extras=True)
    texts = {text.arg_name: text.description or "" for text in docstring_parser.parse_from_object(config).params}
    for field in fields(config):
        hint, name = hints[field.name], prefix + field.name
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _walk(hint, f"{name}.")
        else:
            yield Setting(name, hint, field.default, texts.get(field.name, ""), "throughput" in field.metadata)


class Parser(ArgumentParser):
    """A parser of the command line that raises SeeWhyError for a mistake."""

    def error(self, message: str) -> NoReturn:
        raise SeeWhyError(f"command line: {message}. `{self.prog} --help` shows what there is.")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file of settings and overrides such as ["--tune.epochs", "1"], which win over the file.

    Raises SeeWhyError for whatever is wrong with either, naming the file, the line and the nearest setting.

    Example:
        >>> config = seewhy.load_config("birds.yaml", ["--tune.epochs", "3"])
        >>> config.tune.epochs
        3
    """
    check_options(overrides, known_settings())
    parser = Parser(prog="seewhy run", allow_abbrev=False)
    for name in known_settings():
        parser.add_argument(f"--{name}")
    given = vars(parser.parse_args(overrides))
    return read_config(path, {name: value for name, value in given.items() if value is not None})


def read_config(path: str | Path, overrides: Mapping[str, str]) -> RunConfig:
    """Read a YAML file of settings, and overrides by dotted name as they stand on the command line."""
    path = Path(path)
    given = dict(_read_yaml(_read_text(path), path))
    given |= {n: known_settings()[n].parse(v, "command line", text=True) for n, v in overrides.items()}
    for name in ("model.engine.command", "model.engine.base_url"):
        if MASK in (given.get(name) or ""):
            raise SeeWhyError(
                f"{path}: {name} is {given[name]}, where {MASK} stands for a secret that a run folder does not keep: "
                "write it again."
            )
    return _build(RunConfig, _preset(given.get("preset", DEFAULT_PRESET)) | given)


def preset_config(preset: str) -> RunConfig:
    """Return the settings of a preset, "ours" or "paper", for the built-in field guide.

    Use `dataclasses.replace` to change some of them.

    Example:
        >>> config = seewhy.preset_config("paper")
        >>> config.rounds, config.select.rule
        (4, 'image')
    """
    return _build(RunConfig, _preset(known_settings()["preset"].parse(preset, "preset_config")))


def restore_config(settings: Mapping[str, Any]) -> RunConfig:
    """Return the RunConfig of which `settings` is the `asdict`, such as a manifest's.

    Settings that an older manifest lacks are those of its preset.
    """
    if not isinstance(settings, Mapping):
        raise SeeWhyError(f"manifest.json: its settings are {settings!r:.40}, but should be names and values.")
    given = dict[str, Any]()
    for name, value in _flat(settings):
        if name not in known_settings():
            raise SeeWhyError(f"manifest.json: there is no setting {name}.{nearest(name, known_settings())}")
        given[name] = known_settings()[name].parse(value, "manifest.json")
    return _build(RunConfig, _preset(given.get("preset", DEFAULT_PRESET)) | given)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _preset(name: str) -> dict[str, Any]:
    return {n: setting.default for n, setting in known_settings().items()} | {**PRESETS[name], "preset": name}


def _build(config: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    parts = {
        name: _build(hint, values, f"{prefix}{name}.") if is_dataclass(hint) else values[prefix + name]
        for name, hint in get_type_hints(config).items()
    }
    return config(**parts)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SeeWhyError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except FileNotFoundError as error:
        beside = [str(other) for other in path.parent.glob("*.y*ml")]
        raise SeeWhyError(f"There is no configuration file {path}.{nearest(str(path), beside)}") from error
    except OSError as error:
        raise SeeWhyError(f"The configuration file {path} cannot be read: {error.strerror}.") from error


def _read_yaml(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each setting in a YAML text."""
    try:
        loader, root = begun(text)  # refuses control characters
    except yaml.YAMLError as error:
        raise SeeWhyError(f"{path} is not valid YAML: {error}") from error
    lines: dict[str, int] = {}

    def visit(node: yaml.Node, prefix: str) -> Iterator[tuple[str, Any]]:
        if not isinstance(node, yaml.MappingNode):
            where = f"{path}, line {node.start_mark.line + 1}"
            name = prefix.rstrip(".") or "the file"
            raise SeeWhyError(f"{where}: {name} holds settings, one a line as `name: value`. Add some or leave it out.")
        for key, value in node.value:
            name, line = prefix + str(key.value), key.start_mark.line + 1
            where = f"{path}, line {line}"
            if name in lines:
                raise SeeWhyError(f"{where}: {name} stands here and on line {lines[name]}. Keep one of them.")
            lines[name] = line
            if setting := known_settings().get(name):
                try:
                    given = loader.construct_object(value, deep=True)
                except (yaml.YAMLError, ValueError) as error:  # an unknown tag, a date that does not exist
                    raise SeeWhyError(f"{where}: {name} cannot be read: {error}") from error
                if given is None and setting.default is not None:
                    raise SeeWhyError(f"{where}: {name} has no value. It takes {setting.takes}.")
                yield name, setting.parse(given, where)
            elif name in _groups(known_settings()):
                yield from visit(value, f"{name}.")
            else:
                raise SeeWhyError(f"{where}: there is no setting {name}.{nearest(name, known_settings())}")

    if root is not None:
        yield from visit(root, "")


def _groups(known: Collection[str]) -> set[str]:
    """The dotted names that hold settings: "tune", "tune.augment", ..."""
    parts = [name.split(".") for name in known]
    return {".".join(of[:length]) for of in parts for length in range(1, len(of))}


def check_options(arguments: Sequence[str], known: Collection[str]) -> None:
    """Raise SeeWhyError for a `--name` on the command line that is not known."""
    for argument in arguments:
        name = argument.removeprefix("--").partition("=")[0]
        if argument.startswith("--") and name not in known:
            inside = [f"--{other}" for other in known if other.startswith(f"{name}.")]
            hint = f" It is a group: use {inside[0]} and the like." if inside else nearest(name, known, "--")
            raise SeeWhyError(f"command line: there is no option --{name}.{hint}")


def nearest(name: str, known: Collection[str], prefix: str = "") -> str:
    """Return " Did you mean ...?" with the known name that is most similar, as a whole or in its last part, or ""."""

    def similarity(other: str) -> tuple[float, float]:
        whole = difflib.SequenceMatcher(None, name, other).ratio()
        last = difflib.SequenceMatcher(None, name.rpartition(".")[2], other.rpartition(".")[2]).ratio()
        return max(whole, last), whole

    best = max({*known, *_groups(known)}, key=similarity, default=None)
    return f" Did you mean {prefix}{best}?" if best and similarity(best)[0] >= 0.6 else ""
