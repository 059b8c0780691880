"""Places that the documents name exist: files, functions and the targets of links."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "seewhy"
PAPER_MAP = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def places(text: str) -> list[tuple[str, str]]:
    """Return (file, name) of every `file.py::name` in a text; `::name` alone is in the file named before it."""
    found, file = [], ""
    for named, name in re.findall(r"`([\w/.]*\.py)?(?:::([\w.]+))?`", text):
        file = named or file
        if named or name:
            found.append((file, name))
    return found


@cache
def defined(path: Path) -> frozenset[str]:
    """Return the names that a module defines, and those of its classes as `Class.name`."""
    return frozenset(_names(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def _names(body: list[ast.stmt], prefix: str) -> list[str]:
    names = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(prefix + node.name)
        if isinstance(node, ast.ClassDef):
            names += _names(node.body, f"{node.name}.")
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names += [prefix + target.id for target in targets if isinstance(target, ast.Name)]
    return names


def located(file: str) -> Path | None:
    return next((base / file for base in (PACKAGE, ROOT, ROOT / "src") if (base / file).is_file()), None)


def test_the_reader_of_places_reads_them() -> None:
    assert places("`a/b.py::f`, `::g` and `c.py` but not `--x`") == [("a/b.py", "f"), ("a/b.py", "g"), ("c.py", "")]
    assert {"places", "PACKAGE"} <= defined(Path(__file__))
    assert len(places(PAPER_MAP)) > 40


@pytest.mark.parametrize(("file", "name"), sorted(set(places(PAPER_MAP))))
def test_a_place_of_the_paper_map_exists(file: str, name: str) -> None:
    path = located(file)
    assert path, f"docs/paper_map.md names {file}, which there is not"
    assert not name or name in defined(path), f"docs/paper_map.md names {file}::{name}, which there is not"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_and_links_of_a_document_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target]
    assert [link for link in links if not (document.parent / link).exists()] == []
    files = {
        file for file in re.findall(r"`([\w/]+/[\w.]+\.(?:py|yaml|md))`", text) if not file.startswith(("my_", "your_"))
    }
    bases = (PACKAGE, ROOT, ROOT / "src")
    assert sorted(file for file in files if not any((base / file).exists() for base in bases)) == []
