"""`model.name_or_path: cells`: where that base is sought, what is said where it is not, and what depends on it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jinja2 import Environment, PackageLoader

from seewhy.config import RunConfig
from seewhy.cost.estimate import outline
from seewhy.errors import SeeWhyError
from seewhy.export.card import base_of, public_base
from seewhy.fieldguide.guide import BASE as FIELD_GUIDE
from seewhy.run import loop
from seewhy.run.finished import FinishedRun
from seewhy.run.sources import base_source, cells_folder, made_base_source
from seewhy.run.stages import BASE, OURS
from tiny import tiny_llava
from tiny_run import tiny_run

NOT_MADE = r"small base of white blood cells.*cells-base yet.*python -m tools\.cells_base --data FOLDER"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEEWHY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cells(root: Path, **changes: Any) -> RunConfig:
    """A run on 'cells' so small that its model says nothing."""
    return tiny_run(root, train=2, test=1, tokens=4, base="cells", **changes)


def test_it_is_sought_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEEWHY_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert base_source("cells") == cells_folder() == tmp_path / ".cache/seewhy/cells-base"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cells_folder() == tmp_path / "xdg/seewhy/cells-base"
    monkeypatch.setenv("SEEWHY_CACHE", str(tmp_path / "own"))
    assert cells_folder() == tmp_path / "own/cells-base"


def test_other_names_are_what_they_were(cache: Path) -> None:
    assert made_base_source("fieldguide") == FIELD_GUIDE
    assert made_base_source("owner/name") == Path("owner/name")
    assert made_base_source("~/cells") == Path.home() / "cells"


def test_a_run_and_a_plan_say_how_it_is_made(cache: Path, tmp_path: Path) -> None:
    config = cells(tmp_path)
    for start in (loop.run, lambda config: outline(config, torch.float32)):
        with pytest.raises(SeeWhyError, match=NOT_MADE):
            start(config)
    assert not (tmp_path / "run/stages").exists()


def test_a_run_on_it(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_llava(cache / "cells-base")
    config = cells(tmp_path)
    loop.run(config)
    run = FinishedRun.open(config.output)
    assert run.models[BASE] == cache / "cells-base"
    assert run.manifest["config"]["model"]["name_or_path"] == "cells"
    assert run.load(BASE).name == str(cache / "cells-base")
    assert outline(config, torch.float32).name == str(cache / "cells-base")

    settings = cache / "cells-base/config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "made": "again"}))
    with pytest.raises(SeeWhyError, match="made with other settings"):
        loop.run(config)

    monkeypatch.setenv("SEEWHY_CACHE", str(tmp_path / "elsewhere"))
    assert run.load(OURS.model(1)).name.endswith("round-1/model/model")  # a tuned model needs no base
    with pytest.raises(SeeWhyError, match=NOT_MADE):
        run.load(BASE)


def test_a_base_without_words_for_the_data_is_told_what_it_speaks_of(cache: Path, tmp_path: Path) -> None:
    tiny_llava(cache / "cells-base")
    config = cells(tmp_path, minimum_support=1.0)
    with pytest.raises(SeeWhyError, match="this base speaks of white blood cells, and of nothing else"):
        loop.run(config)


def test_cards_say_what_the_base_is() -> None:
    config = RunConfig()
    run: Any = SimpleNamespace(config=replace(config, model=replace(config.model, name_or_path="cells")))
    assert base_of(run) == "the small base model of white blood cells that SeeWhy's tools make"
    assert public_base(run) is None


def test_the_snippet_of_an_adapter_loads_it() -> None:
    source, *_ = PackageLoader("seewhy.export").get_source(Environment(), "adapter_card.md.jinja")
    start = source.index("{% if shipped_base %}")
    snippet = source[start : source.index("{% endif %}", start) + len("{% endif %}")]
    given: Any = {"shipped_base": False, "cells_base": True}
    scope: dict[str, Any] = {}
    exec(Environment(trim_blocks=True).from_string(snippet).render(given), scope)
    assert scope["base"] == cells_folder()
