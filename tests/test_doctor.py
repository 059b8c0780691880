"""`seewhy doctor`: what is sound, what is told, what is broken."""

import importlib
import json
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest

from seewhy import doctor
from seewhy.cli import main
from seewhy.doctor import Check, broken, diagnose


def test_a_sound_machine(tmp_path: Path):
    checks = {check.name: check for check in diagnose(tmp_path / "not/there/yet", generate=False, hub=False)}
    assert {"Python", "torch", "transformers", "CPU", "precision", "output", "HF_HOME"} <= checks.keys()
    assert not broken(list(checks.values()))
    assert str(tmp_path) in checks["output"].found
    assert "float32" in checks["precision"].found


@pytest.mark.slow
def test_the_generation_test():
    check = doctor._generation(seconds=0.1)
    assert check.state == "ok"
    assert int(check.found.split()[0].replace(",", "")) > 0


def test_a_broken_package_is_an_error(monkeypatch: pytest.MonkeyPatch):
    def broken_import(name: str) -> Any:
        raise RuntimeError("operator does not exist")

    monkeypatch.setattr(doctor, "import_module", broken_import)
    check = doctor._package("torch")
    assert check.state == "error"
    assert "operator does not exist" in check.found
    assert "pip install" in check.remedy


def test_a_torchvision_for_another_torch(monkeypatch: pytest.MonkeyPatch):
    def no_operators(name: str) -> Any:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return importlib.import_module(name)

    monkeypatch.setattr(doctor, "version", lambda name: "0.1")
    monkeypatch.setattr(doctor, "import_module", no_operators)
    (check,) = doctor._torchvision()
    assert check.state == "error"
    assert "keeps transformers from being imported" in check.remedy


@pytest.mark.parametrize(
    ("free", "writable", "state"), [(2**40, True, "ok"), (2**30, True, "note"), (2**40, False, "error")]
)
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str, *, writable: bool):
    usage = namedtuple("usage", "total used free")(0, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    monkeypatch.setattr(doctor.os, "access", lambda place, mode: writable)
    assert doctor._disk(tmp_path).state == state


def test_extras_name_their_remedy(monkeypatch: pytest.MonkeyPatch):
    lines = ["torch>=2", 'openai<4,>=2; extra == "llm"', 'ruff>=1; extra == "dev"', 'pip>=1; extra == "here"']
    monkeypatch.setattr(doctor, "metadata", lambda name: SimpleNamespace(get_all=lambda key: lines))
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0" if name == "pip" else None)
    assert doctor._extras() == [
        Check("extra llm", "note", "no openai", "pip install 'seewhy[llm]'"),
        Check("extra here", "ok", "pip 1.0"),
    ]


def test_an_unreachable_hub_is_no_error(monkeypatch: pytest.MonkeyPatch):
    def unreachable(request: Any, timeout: float) -> Any:
        assert timeout <= 5
        raise URLError("no route")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    check = doctor._hub()
    assert (check.state, "no route" in check.found) == ("note", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in doctor._hub().found


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("note", 0), ("error", 1)])
def test_the_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: Any, code: int):
    monkeypatch.setattr(doctor, "diagnose", lambda *_, **__: [Check("thing", state, "found", "do that")])
    assert main(["doctor", "--json", "--quick"]) == code
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "ok": code == 0,
        "checks": [{"name": "thing", "state": state, "found": "found", "remedy": "do that"}],
    }
    assert main(["doctor", "--quick"]) == code
    assert "do that" in capsys.readouterr().out
