"""A killed run goes on under other throughput settings: what is finished keeps its bytes, the rest says the same."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from killed import contents, start
from seewhy.config import RunConfig
from tiny_run import changed, tiny_run

LESS_MEMORY = {
    "model": {"batch_size": 3, "share_image": False},
    "tune": {"micro_batch_size": 1, "gradient_checkpointing": True, "checkpoint_steps": 1},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return tiny_run(
        tmp_path_factory.mktemp("data"),
        tokens=12,
        shard_size=5,
        synthesise={"answers_per_image": 2},
        tune={"checkpoint_steps": 2, "lora_dropout": 0.0},
    )


@pytest.fixture(scope="module")
def finished(config: RunConfig) -> Path:
    assert start(config) == 0
    return Path(config.output)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["describe", "round-1/answers", "round-1/model"])
def test_a_killed_run_goes_on_with_less_memory(config: RunConfig, finished: Path, tmp_path: Path, stage: str) -> None:
    killed = replace(config, output=str(tmp_path / "run"))
    assert start(killed, die_in=stage) == -signal.SIGKILL
    before = contents(tmp_path / "run" / "stages")
    done = {name: data for name, data in before.items() if ".partial" not in name}
    assert done
    assert start(changed(killed, LESS_MEMORY)) == 0

    after, expected = contents(tmp_path / "run" / "stages"), contents(finished / "stages")
    assert after.keys() == expected.keys()
    assert {name: after[name] for name in done} == done
    texts = [name for name in expected if name.endswith(".parquet") and "round-1/predictions" not in name]
    assert [name for name in texts if "likelihoods" not in name and after[name] != expected[name]] == []
    runs = (tmp_path / "run", finished)
    actual, adapter = (load_file(next(run.glob("stages/round-1/model/adapter/*.safetensors"))) for run in runs)
    assert actual.keys() == adapter.keys()
    for name, weight in adapter.items():  # a step summed in other parts rounds otherwise, and Adam magnifies it
        assert (actual[name] - weight).norm() <= 1e-3 * weight.norm(), name
