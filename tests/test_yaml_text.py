"""YAML with aliases: a few bytes that stand for more than a machine holds are refused, in time and by name."""

import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from seewhy.domain.concepts import load_concepts
from seewhy.domain.questions import Questions
from seewhy.errors import SeeWhyError
from seewhy.settings import load_config
from seewhy.yaml_text import LARGEST, load

LEVELS = "abcdefghijklmno"
BOMB = "\n".join(
    ["a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    + [f"{name}: &{name} [{', '.join(['*' + last] * 9)}]" for last, name in pairwise(LEVELS)]
)
LOOP = "Crow: &a [black wings, *a]"
DEEP = "Crow: " + "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("text", "said"),
    [(BOMB, f"stand for more than {LARGEST:,} values"), (LOOP, "stands for itself"), (DEEP, "nested too deeply")],
)
@pytest.mark.parametrize(
    "read", [load_concepts, lambda path: Questions.for_noun("bird", path), lambda path: load_config(path)]
)
def test_what_aliases_stand_for_is_bounded(tmp_path: Path, text: str, said: str, read) -> None:
    path, start = tmp_path / "file.yaml", time.process_time()
    path.write_text(text)
    with pytest.raises(SeeWhyError, match=rf"file\.yaml.*{said}"):
        read(path)
    assert time.process_time() - start < 5


def test_honest_aliases_and_large_texts_are_read(tmp_path: Path) -> None:
    assert load("a: &a [1, 2]\nb: [*a, *a]") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
    assert load("") is None
    assert len(load("[" + "1, " * (LARGEST + 10) + "]", yaml.CSafeLoader)) == LARGEST + 10
    (tmp_path / "bank.yaml").write_text("Crow: &list [black wings, black bill]\nRaven: *list")
    assert load_concepts(tmp_path / "bank.yaml").concepts["Raven"] == ("black wings", "black bill")
