"""Ranks: a run that several processes share has the bytes of one, and goes on after any of them is killed."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from killed import start
from ranked_runs import losses_of, run_rank, shards, start_ranks, tune_rank, without_samples
from seewhy.config import RunConfig
from seewhy.vlm.data import shares_of
from tiny import tiny_llava
from tiny_run import tiny_run


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run of two rounds in shards of two examples."""
    return tiny_run(
        tmp_path_factory.mktemp("data"), tokens=8, shard_size=2, rounds=2, keep_going=True, val=1,
        synthesise={"answers_per_image": 2}, tune={"checkpoint_steps": 1},
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(config: RunConfig) -> Path:
    """The run, made by one process."""
    assert start(config) == 0
    return Path(config.output)


@pytest.mark.slow
def test_ranks_make_the_bytes_of_one_process_though_killed_in_every_stage(
    config: RunConfig, alone: Path, tmp_path: Path
) -> None:
    shared = replace(config, output=str(tmp_path / "run"))
    shutil.copytree(alone, shared.output)
    without_samples(tmp_path / "run")
    for stage in ("describe", "round-1/answers", "round-2/candidates", "round-2/predictions-test"):
        assert -signal.SIGKILL in start_ranks(run_rank, shared, stage), stage
        before = shards(tmp_path / "run")
        assert before.items() <= shards(alone).items()
    assert start_ranks(run_rank, shared) == [0, 0]
    assert shards(tmp_path / "run") == shards(alone)
    for name in ("metrics.json", "gallery.json", "confusion.json", "manifest.json"):
        expected = (alone / name).read_text().replace(str(alone), "RUN")
        assert (tmp_path / "run" / name).read_text().replace(str(tmp_path / "run"), "RUN") == expected


@pytest.mark.slow
@pytest.mark.parametrize("loss_per", ["token", "answer"])
def test_ranks_tune_as_one_process(tmp_path: Path, loss_per: str) -> None:
    base, change = tiny_llava(tmp_path / "base"), {"loss_per": loss_per, "lora_dropout": 0.0, "learning_rate": 1e-3}
    assert start_ranks(tune_rank, base, tmp_path / "one", change, count=1) == [0]
    assert start_ranks(tune_rank, base, tmp_path / "two", {**change, "micro_batch_size": 1}) == [0, 0]
    expected, actual = losses_of(tmp_path / "one", 1), losses_of(tmp_path / "two", 2)
    assert len(expected) > 8
    assert actual == pytest.approx(expected, rel=1e-5)
    one, two = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert (two[name] - weight).norm() <= 1e-4 * weight.norm(), name


@pytest.mark.slow
def test_ranks_killed_in_tuning_go_on_with_the_same_bytes(tmp_path: Path) -> None:
    base = tiny_llava(tmp_path / "base")
    assert start_ranks(tune_rank, base, tmp_path / "whole", {}) == [0, 0]
    assert -signal.SIGKILL in start_ranks(tune_rank, base, tmp_path / "killed", {}, 3, 5)
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()] == ["checkpoint-4"]
    assert start_ranks(tune_rank, base, tmp_path / "killed", {}) == [0, 0]
    for file in ("adapter/adapter_model.safetensors", "model/model.safetensors"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_ranks_share_the_turns_of_a_step() -> None:
    step = [list(range(8)), [8, 9, 10], [11], [12, 13, 14, 15]]
    assert shares_of(step, 1) == [list(enumerate(step))]
    for ranks in (2, 3, 5, 16, 20):
        shares = shares_of(step, ranks)
        assert len(shares) == ranks
        sizes = [sum(len(group) for _, group in share) for share in shares]
        assert max(sizes) <= 2 * -(-16 // ranks) - (ranks > 1)
        assert sorted(turn for share in shares for _, group in share for turn in group) == list(range(16))
        assert all(set(group) <= set(step[place]) for share in shares for place, group in share)
    assert [sum(len(group) for _, group in share) for share in shares_of(step, 2)] == [8, 8]


@pytest.mark.slow
def test_ranks_of_one_flag_end_with_the_name_of_the_one_that_died(config: RunConfig, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({**asdict(config), "output": str(tmp_path / "run"), "controls": []}))
    killer = tmp_path / "sitecustomize.py"
    killer.write_text(
        "import os, signal\n"
        "if os.environ.get('RANK') == '1':\n"
        "    from seewhy.run.ranks import Ranks\n"
        "    Ranks.carry_out = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    source = Path(__file__).parents[1] / "src"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{source}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "seewhy", "run", str(file), "--workers.count", "2"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert "Rank 1 (process" in ended.stderr
    assert "was ended by signal 9" in ended.stderr
    assert "What is finished is kept" in ended.stderr
    assert not any("Traceback" in line for line in ended.stderr.splitlines())
