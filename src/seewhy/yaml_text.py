"""YAML of others, read within bounds: an alias is a few bytes that may stand for millions of nodes.

load("Crow: [black wings]")     # as yaml.safe_load; yaml.YAMLError for what is too large or too deep
"""

from typing import Any, TypeVar

import yaml

LARGEST = 100_000
"""Values that a text with aliases may stand for. One that is written out may be larger."""

L = TypeVar("L", bound=Any)


def begun(text: str, kind: type[L] = yaml.SafeLoader) -> tuple[L, yaml.Node | None]:
    """Return a loader and the root of a YAML text, None of an empty one. Raises yaml.YAMLError for a text that is no
    YAML, that is nested too deeply, or whose aliases stand for themselves or for too much."""
    loader = kind(text)
    try:
        root = loader.get_single_node()
        if root is not None:
            _size(root, {})
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    return loader, root


def load(text: str, kind: type[Any] = yaml.SafeLoader) -> Any:
    """Return what a YAML text holds. Raises yaml.YAMLError as `begun` does."""
    loader, root = begun(text, kind)
    try:
        return None if root is None else loader.construct_document(root)
    except (ValueError, RecursionError) as error:  # 2024-02-30 is read as a date
        raise yaml.YAMLError(str(error) or "it is nested too deeply") from error


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the nodes that a node stands for, aliases written out."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.YAMLError(f"the alias of line {node.start_mark.line + 1} stands for itself")
        return known[id(node)]
    known[id(node)] = 0
    inner = [one for value in node.value for one in (value if isinstance(value, tuple) else (value,))]
    size = 1 + sum(_size(one, known) for one in inner if isinstance(one, yaml.Node))
    if size > max(LARGEST, 2 * len(known)):  # without aliases it is no more than the nodes that were met
        raise yaml.YAMLError(f"its aliases stand for more than {LARGEST:,} values (line {node.start_mark.line + 1})")
    known[id(node)] = size
    return size
