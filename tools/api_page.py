"""Write docs/api.md from the signatures and docstrings of the public names: `python -m tools.api_page`."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import docstring_parser

import seewhy
import seewhy.api
from seewhy import config

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
FUNCTIONS = sorted(
    (name for name in seewhy.__all__ if inspect.isfunction(getattr(seewhy, name))),
    key=lambda name: [*vars(seewhy.api)].index(name) if name in vars(seewhy.api) else -1,
)
CLASSES = [name for name in seewhy.__all__ if inspect.isclass(getattr(seewhy, name))]
RANGES = ("Count", "CountOrZero", "Positive", "NonNegative", "Share", "PositiveShare")

HEAD = """\
# Python API

Written by `python -m tools.api_page` from the docstrings; a test runs every example on a small run.

Every verb of the `seewhy` command is a function of the package with the same options:

    import seewhy

    config = seewhy.load_config("birds.yaml", ["--rounds", "2"])
    metrics = seewhy.run(config)
    seewhy.report(config.output)

**What is stable.** The names on this page, the options of the command, the settings in YAML, and the files of a run
folder that docs/your_data.md names: they change only with a new minor version, and CHANGELOG.md says how. Everything
else is internal, may change at any time, and is imported at your own risk. A run folder of an older version is opened,
or refused with the version in the message.

What goes wrong for a reason that you can mend raises `seewhy.SeeWhyError`, whose message names the file, the value and
the remedy.
"""


def page() -> str:
    parts = [HEAD, "Types of numbers in the signatures:\n\n" + "\n".join(_ranges()), "## Functions\n"]
    parts += [_function(name) for name in FUNCTIONS]
    parts += ["## Classes\n", *(_class(name) for name in CLASSES)]
    return "\n".join(parts)


def _ranges() -> Iterator[str]:
    for name in RANGES:
        yield f"- `{name}`: {get_args(getattr(config, name))[2]}"
    yield ""


def _function(name: str) -> str:
    function = getattr(seewhy, name)
    node = _node(function)
    returns = ast.unparse(node.returns).strip("'\"") if node.returns else "None"
    signature = f"seewhy.{name}({ast.unparse(node.args)}) -> {returns}".replace("'Service'", "Service")
    return f"### {name}\n\n{_code(_wrapped(signature))}\n{_text(function)}"


def _class(name: str) -> str:
    kind = getattr(seewhy, name)
    made = kind.__dict__.get("__init__")
    arguments = ""
    if made is not None and made.__module__ == kind.__module__ and "__dataclass_fields__" not in kind.__dict__:
        arguments = f"({ast.unparse(_node(made).args).removeprefix('self, ')})"
    text = f"### {name}\n\n{_code(_wrapped(f'seewhy.{name}{arguments}'))}\n{_text(kind)}"
    members = [_member(key, value) for key, value in vars(kind).items() if not key.startswith("_")]
    if is_dataclass(kind):
        texts = docstring_parser.parse_from_object(kind).params
        members = [
            f"- `{of.arg_name}`: {' '.join(of.description.split())}\n" for of in texts if of.description
        ] + members
    return text + "\n" * any(members) + "".join(members)


def _member(name: str, value: Any) -> str:
    computed = isinstance(value, property | cached_property)
    function = getattr(value, "fget", None) or getattr(value, "func", None) or getattr(value, "__func__", value)
    doc = inspect.getdoc(function) if inspect.isfunction(function) else None
    if not doc:
        return ""
    call = "" if computed else "()"
    return _item(name + call, doc.partition("\n\n")[0])


def _item(name: str, text: str | None) -> str:
    return f"- `{name}`: {' '.join((text or '').split())}\n"


def _node(function: Any) -> ast.FunctionDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def _text(of: Any) -> str:
    doc = docstring_parser.parse(inspect.getdoc(of) or "")
    parts = [doc.short_description or "", doc.long_description or ""]
    described = [param for param in doc.params if param.args[0] == "param"]
    parts.append(
        "\n".join(f"- `{param.arg_name}`: {' '.join((param.description or '').split())}" for param in described)
    )
    if doc.returns and doc.returns.description:
        parts.append(f"Returns: {' '.join(doc.returns.description.split())}")
    parts += [f"Raises `{raised.type_name}` {' '.join((raised.description or '').split())}" for raised in doc.raises]
    parts += [_code((example.description or "").strip()) for example in doc.examples]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def _code(text: str) -> str:
    return textwrap.indent(text, "    ") + "\n"


def _wrapped(signature: str) -> str:
    """A signature of more than one line has one parameter on each."""
    if len(signature) <= 100:
        return signature
    head, _, rest = signature.partition("(")
    node = ast.parse(f"def f({rest}: ...").body[0]
    assert isinstance(node, ast.FunctionDef)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    lines = [f"    {line}," for line in _parameters(node.args)]
    return "\n".join([f"{head}(", *lines, f"){returns}"])


def _parameters(arguments: ast.arguments) -> list[str]:
    text, depth, start, parts = ast.unparse(arguments), 0, 0, list[str]()
    for place, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
