"""Named sets of defaults: `preset: ours` or `preset: paper` in a YAML file, or `--preset paper`.

A preset says what a setting is that neither the file nor the command line gives; it never overrides one that is given.
'ours' is what `config.py` shows. 'paper' is Shi et al. (ICLR 2025) as far as the text goes, and their research code
(SelfSynthX) where the text is silent; docs/method.md restates both, docs/paper_map.md lists what still differs.

    paper = settings.preset_config("paper")     # a RunConfig

Reads a run's settings: a YAML file, then overrides, into the frozen `RunConfig`.

    load_config("configs/birds.yaml", ["--tune.epochs", "1"])

A key that does not exist, a value of the wrong type or out of its range, a key given twice: each fails at once, with
the file and the line. Relative paths among the settings (`output`, `data.source`, `data.concepts`, `data.questions`,
`data.truth`, `tune.replay`) are relative to the current directory, not to the YAML file.
"""

import difflib
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import docstring_parser
import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError

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
        "evaluate.max_new_tokens": 256,
    }
)
"""Everything that the paper or its code decides, even where our default is the same."""

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType({"ours": MappingProxyType({}), "paper": PAPER})
"""Name -> dotted setting -> value, where it is not the default of `config.py`."""


C = TypeVar("C")

MAY_BE_ZERO = {
    "seed",
    "rounds",
    "model.batch_size",
    "select.minimum",
    "tune.augment.at_most",
    "model.engine.port",
    "model.engine.retries",
}
"""Whole numbers that need not be at least 1."""
MAY_BE_NEGATIVE = {"select.threshold_std", "select.unlisted_std"}
NOT_ZERO = {
    "select.temperature",
    "tune.learning_rate",
    "describe.top_p",
    "synthesise.top_p",
    "sample.top_p",
    "model.engine.timeout",
    "model.engine.start_timeout",
}
SHARES = {
    "minimum_support",
    "data.val_share",
    "describe.top_p",
    "synthesise.top_p",
    "sample.top_p",
    "synthesise.simple_share",
    "synthesise.explain_share",
    "tune.warmup",
    "tune.lora_dropout",
    "tune.augment.flip",
    "tune.augment.upside_down",
    "tune.augment.rotate_share",
    "tune.augment.affine",
    "tune.augment.affine_shift",
    "tune.augment.affine_zoom",
    "tune.augment.colour",
    "tune.augment.colour_share",
    "tune.augment.blur",
    "tune.augment.perspective",
    "tune.augment.perspective_share",
}
"""Numbers from 0 to 1."""


@dataclass(frozen=True)
class Setting:
    """One leaf of RunConfig under its dotted name, `tune.epochs`."""

    name: str
    type: Any
    default: Any
    help: str

    @property
    def takes(self) -> str:
        """The type in words."""
        if get_origin(self.type) is Literal:
            return "one of " + ", ".join(get_args(self.type))
        if get_origin(self.type) is tuple:
            choices = get_args(get_args(self.type)[0])
            return "a list of " + ", ".join(choices) if choices else "a list, such as [a, b]"
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        return words.get(self.type, "a text (in quotes) or null")


@cache
def known_settings() -> Mapping[str, Setting]:
    return {setting.name: setting for setting in walk(RunConfig)}


def walk(config: type, prefix: str = "") -> Iterator[Setting]:
    hints = get_type_hints(config)
    texts = {text.arg_name: text.description or "" for text in docstring_parser.parse_from_object(config).params}
    for field in fields(config):
        hint = hints[field.name]
        if isinstance(hint, type) and is_dataclass(hint):
            yield from walk(hint, f"{prefix}{field.name}.")
        else:
            default = None if field.default is MISSING else field.default
            yield Setting(prefix + field.name, hint, default, texts.get(field.name, ""))


def add_settings(parser: ArgumentParser, preset: str = DEFAULT_PRESET) -> None:
    """Give a parser every setting as `--group.name`, with the string under the field as its help.

    Defaults are those of the preset, and of `config.py` where it says nothing.
    """
    groups: dict[str, Any] = {}
    defaults = {**PRESETS[preset], "preset": preset}
    for setting in known_settings().values():
        group = setting.name.rpartition(".")[0]
        if group not in groups:
            groups[group] = parser.add_argument_group(f"{group} settings" if group else "settings of the run")
        default = defaults.get(setting.name, setting.default)
        groups[group].add_argument(f"--{setting.name}", type=setting.type, default=default, help=setting.help)


def settings_parser(preset: str = DEFAULT_PRESET) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    add_settings(parser, preset)
    return parser


def preset_config(preset: str) -> RunConfig:
    """The RunConfig of a preset ("ours" or "paper") on the built-in field guide; `dataclasses.replace` what differs."""
    return build(RunConfig, settings_parser(_known_preset(preset)).get_defaults())


def _known_preset(given: Any) -> str:
    """The preset of that name, or ours where there is none: the parser says that the value is wrong."""
    return given if isinstance(given, str) and given in PRESETS else DEFAULT_PRESET


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file and overrides such as ["--tune.epochs", "1"]. Raises SeeWhyError, see above."""
    check_options(overrides, known_settings())
    try:
        given = settings_parser().parse_args(overrides, defaults=False)
    except ArgumentError as error:
        raise explain(error, "command line", {}) from error
    return read_config(path, given)


def read_config(path: str | Path, given: Namespace) -> RunConfig:
    """Read a YAML file; `given` are the parsed overrides."""
    path = Path(path)
    text = read_text(path)
    lines = check_yaml(text, path)
    preset = given["preset"] if "preset" in given else (yaml.safe_load(text) or {}).get("preset")
    parser = settings_parser(_known_preset(preset))
    try:
        settings = parser.parse_string(text) if lines else parser.get_defaults()
    except ArgumentError as error:
        raise explain(error, str(path), lines) from error
    settings.update(given)
    for name, setting in known_settings().items():
        where = "command line" if name in given else f"{path}, line {lines.get(name)}"
        check_range(setting, settings[name], where)
    return build(RunConfig, settings)


def restore_config(settings: Mapping[str, Any]) -> RunConfig:
    """The RunConfig whose `asdict` this is, such as a manifest's; what an older manifest lacks is as in its preset."""
    try:
        parser = settings_parser(_known_preset(settings.get("preset")))
        return build(RunConfig, parser.parse_object(dict(settings)))
    except ArgumentError as error:
        raise explain(error, "manifest.json", {}) from error


def build(config: type[C], settings: Namespace) -> C:
    values = {
        name: build(hint, settings[name]) if isinstance(hint, type) and is_dataclass(hint) else settings[name]
        for name, hint in get_type_hints(config).items()
    }
    return config(**values)


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SeeWhyError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except FileNotFoundError as error:
        beside = [str(other) for other in path.parent.glob("*.y*ml")]
        raise SeeWhyError(f"There is no configuration file {path}.{nearest(str(path), beside)}") from error
    except OSError as error:
        raise SeeWhyError(f"The configuration file {path} cannot be read: {error.strerror}.") from error


def check_yaml(text: str, path: Path) -> dict[str, int]:
    """The line of each setting in a YAML text, every one of which exists and has a value."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise SeeWhyError(f"{path} is not valid YAML: {error}") from error
    lines: dict[str, int] = {}

    def visit(node: yaml.Node, prefix: str) -> None:
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
                if value.tag == "tag:yaml.org,2002:null" and setting.default is not None:
                    raise SeeWhyError(f"{where}: {name} has no value. It takes {setting.takes}.")
            elif any(known.startswith(f"{name}.") for known in known_settings()):
                visit(value, f"{name}.")
            else:
                raise SeeWhyError(f"{where}: there is no setting {name}.{nearest(name, known_settings())}")

    if root is not None:
        visit(root, "")
    return lines


def check_options(arguments: Sequence[str], known: Collection[str]) -> None:
    """Every `--name` on the command line must be known."""
    for argument in arguments:
        name = argument.removeprefix("--").partition("=")[0]
        if argument.startswith("--") and name not in known:
            inside = [f"--{other}" for other in known if other.startswith(f"{name}.")]
            hint = f" It is a group: use {inside[0]} and the like." if inside else nearest(name, known, "--")
            raise SeeWhyError(f"command line: there is no setting --{name}.{hint}")


def nearest(name: str, known: Collection[str], prefix: str = "") -> str:
    """The end of a message: the known name that is nearest, as a whole or in its last part."""
    last = {other.rpartition(".")[2]: other for other in known}
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    close = close or [last[part] for part in difflib.get_close_matches(name.rpartition(".")[2], last, n=1)]
    return f" Did you mean {prefix}{close[0]}?" if close else ""


def check_range(setting: Setting, value: Any, where: str) -> None:
    name = setting.name
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low = -math.inf if name in MAY_BE_NEGATIVE else int(isinstance(value, int) and name not in MAY_BE_ZERO)
    high = 1 if name in SHARES else math.inf
    if not low <= value <= high or math.isinf(value) or (value == 0 and name in NOT_ZERO):
        limits = f"{'above' if name in NOT_ZERO else 'at least'} {low}{' and at most 1' * (high == 1)}"
        raise SeeWhyError(
            f"{where}: {name} is {value}, but must be {limits if low > -math.inf else 'a finite number'}."
        )


def explain(error: ArgumentError, source: str, lines: Mapping[str, int]) -> SeeWhyError:
    """The parser's complaint, with the place and in words."""
    key = re.search(r'Parser key "([^"]+)"', str(error))
    value = re.search(r"(?:Got|Given) value: (.*)", str(error))
    if key is None or value is None or key[1] not in known_settings():
        return SeeWhyError(f"{source}: {error}. `seewhy --help` and `seewhy VERB --help` show what there is.")
    where = f"{source}, line {lines[key[1]]}" if key[1] in lines else source
    return SeeWhyError(f"{where}: {key[1]} is {value[1]}, but takes {known_settings()[key[1]].takes}.")
