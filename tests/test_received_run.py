"""A run folder that comes from somebody else is data: it is read, and nothing in it is obeyed."""

import json
import shlex
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fixtures_data import image_folder, tiny_encoder
from seewhy import api, explanation
from seewhy.cli import main
from seewhy.config import DataConfig, DescribeConfig, EngineConfig, EvaluateConfig, ModelConfig, RunConfig, SelectConfig
from seewhy.errors import SeeWhyError
from seewhy.run import loop
from seewhy.run.checksums import unsealed_json
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import RunFolder, read_manifest
from seewhy.run.model_files import weight_files
from seewhy.run.storage import weights_digest, write_atomically
from tiny import tiny_llava

EVIL = """
from pathlib import Path
from transformers import LlavaConfig
Path({sentinel!r}).touch()
class EvilConfig(LlavaConfig):
    pass
"""


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    return tmp_path / "code was run"


@pytest.fixture
def received(tmp_path: Path, sentinel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run without rounds whose manifest asks for all that could run code, and whose model brings some."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    root = image_folder(tmp_path / "data", train=1, test=1)
    run = tmp_path / "run"
    for folder in (root / "model", run / "stages/round-1/model/model"):
        tiny_llava(folder)
        (folder / "evil.py").write_text(EVIL.format(sentinel=str(sentinel)))
        settings = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**settings, "auto_map": {"AutoConfig": "evil.EvilConfig"}}))
    touch = f"{shlex.quote(sys.executable)} -c {shlex.quote(f'open({str(sentinel)!r}, chr(119))')} {{port}}"
    config = RunConfig(
        output=str(run),
        rounds=0,
        data=DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird"),
        model=ModelConfig(
            name_or_path=str(root / "model"), device="cpu", batch_size=8, trust_remote_code=True,
            engine=EngineConfig(kind="server", command=touch, start_timeout=5),
        ),
        describe=DescribeConfig(prompts_per_image=1, samples_per_prompt=1, max_new_tokens=6),
        select=SelectConfig(encoder=str(tiny_encoder(root / "encoder"))),
        evaluate=EvaluateConfig(max_new_tokens=6, bootstrap=10, consistency=False, fluency=False),
    )  # fmt: skip
    folder = RunFolder(run, seed=0, shard_size=4)
    with folder.lock():
        folder.check([], config=asdict(config))
    return run


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_explain_runs_no_code_of_a_received_run(received: Path, photo: str, sentinel: Path, capsys: Any):
    for base in (False, True):
        explanation.explain(str(received), [photo], samples=1, base=base)
    assert not sentinel.exists()
    assert "add --trust_remote_code true" in " ".join(capsys.readouterr().err.split())


def test_evaluate_starts_no_program_of_a_received_run(received: Path, sentinel: Path, capsys: Any):
    metrics = loop.evaluate(str(received), "test")
    assert not sentinel.exists()
    assert (metrics.base.n or 0) > 0
    said = " ".join(capsys.readouterr().err.split())
    assert "answer in this process now" in said
    assert "--engine.command COMMAND" in said


def test_who_opens_it_may_allow_it(received: Path, photo: str, sentinel: Path):
    assert (
        main(["explain", str(received), photo, "--samples", "1", "--trust_remote_code", "true"]) == 1
    )  # it is no model
    assert sentinel.exists()
    sentinel.unlink()
    command = recorded_command(received)
    options = ["--engine.command", command, "--engine.start_timeout", "5"]
    assert main(["evaluate", str(received), *options]) == 1  # it is no server
    assert sentinel.exists()


def recorded_command(run: Path) -> str:
    return read_manifest(run)["config"]["model"]["engine"]["command"]


def test_no_image_goes_to_a_server_that_a_run_folder_names(received: Path, monkeypatch: pytest.MonkeyPatch):
    manifest = read_manifest(received)
    manifest["config"]["model"]["engine"]["base_url"] = "http://stranger.example/v1"
    (received / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr("seewhy.vlm.server.sampler.ChatClient", lambda *_, **__: pytest.fail("a server was asked"))
    loop.evaluate(str(received), "test")
    engine = EngineConfig(kind="server", base_url="http://localhost:1/v1")
    assert FinishedRun.open(received, engine=engine).config.model.engine == engine


@pytest.mark.parametrize("name", ["events.jsonl", "metrics.json", "heatmaps", "stages/round-1/model/model/config.json"])
def test_a_link_out_of_a_received_run_is_refused(received: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine"
    mine.write_text("years")
    (received / name).unlink(missing_ok=True)
    (received / name).symlink_to(mine)
    for open_it in (FinishedRun.open, lambda path: RunFolder(path, seed=0, shard_size=4).lock().__enter__()):
        with pytest.raises(SeeWhyError, match=r"leads out of .*run, to .*mine, and is not touched"):
            open_it(received)
    assert mine.read_text() == "years"


def test_no_file_is_written_through_a_link_that_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("years")
    (tmp_path / "report.html.partial").symlink_to(tmp_path / "mine")
    write_atomically(tmp_path / "report.html", b"page")
    assert (tmp_path / "report.html").read_bytes() == b"page"
    assert (tmp_path / "mine").read_text() == "years"


@pytest.mark.parametrize("path", ["../private/model.safetensors", "/private/model.safetensors"])
def test_a_model_names_no_file_outside_of_its_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private/model.safetensors").write_bytes(b"weights")
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": path}}))
    with pytest.raises(SeeWhyError, match="leads out of the model folder"):
        weight_files(model)
    (model / "modules.json").write_text(json.dumps([{"path": str(Path(path).parent)}]))
    with pytest.raises(SeeWhyError, match="leads out of the model folder"):
        weights_digest(model)


def test_the_page_shows_no_image_outside_of_run_and_data(received: Path, tmp_path: Path) -> None:
    """A gallery that came with a folder names a picture of the reader's."""
    Image.new("RGB", (40, 40), "red").save(tmp_path / "private.png")
    loop.evaluate(str(received), "test")
    shutil.copy(received / "metrics-test.json", received / "metrics.json")
    (received / "config.yaml").write_text("rounds: 0")
    gallery = unsealed_json((received / "gallery-test.json").read_bytes())
    kept, planted = gallery["cards"][0]["image"], str(tmp_path / "private.png")
    gallery["cards"][1]["image"] = planted
    (received / "gallery.json").write_text(json.dumps(gallery))
    page = api.report(str(received), heatmaps=False).read_text()
    assert page.count("data:image/jpeg") == len(gallery["cards"]) - 1
    assert "private.png cannot be shown" in page
    assert Path(kept).name + " cannot be shown" not in page


def test_all_else_is_as_recorded(tmp_path: Path):
    config = RunConfig(output="elsewhere", rounds=3, model=ModelConfig(batch_size=3, dtype="bfloat16"))
    folder = RunFolder(tmp_path, seed=0, shard_size=4)
    with folder.lock():
        folder.check([], config=asdict(config))
    assert FinishedRun.open(tmp_path).config == replace(config, output=str(tmp_path))
    with pytest.raises(SeeWhyError, match="is no run folder"):
        FinishedRun.open(tmp_path / "nothing")


def test_a_run_whose_settings_cannot_be_read_names_the_version_that_made_it(received: Path):
    manifest = read_manifest(received)
    manifest["config"]["tune"]["beam_search"] = 4
    (received / "manifest.json").write_text(json.dumps({**manifest, "versions": {"seewhy": "7.5"}}))
    with pytest.raises(SeeWhyError, match=r"was made by SeeWhy 7\.5, .*beam_search"):
        FinishedRun.open(received)


def test_one_module_alone_restores_the_settings_of_a_manifest():
    """Every other would have to think of this again."""
    source = Path(loop.__file__).parents[1]
    files = [*source.rglob("*.py"), *(source.parents[1] / "bench").glob("*.py")]
    using = {p.name for p in files if "restore_config" in p.read_text(encoding="utf-8")}
    of_the_driving_process = {"ranked.py", "workers_ray.py"}  # its own settings, sent to its workers: no manifest's
    assert using - of_the_driving_process == {"settings.py", "finished.py"}
