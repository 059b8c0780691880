"""Ray: actors make the bytes of one process, and the run goes on when one is killed."""

import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from killed import start
from ranked_runs import run_rank, shards, start_ranks, without_samples
from seewhy.config import RunConfig, WorkersConfig
from seewhy.errors import SeeWhyError
from seewhy.run import loop
from tiny_run import tiny_run

pytest.importorskip("ray", reason="ray is not installed: pip install 'seewhy[ray]'")

TWO = WorkersConfig(kind="ray", count=2, gpus=0, address="local")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray for all tests, of two CPUs."""
    import ray

    source = str(Path(__file__).parents[1] / "src")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [source, before]))
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 -- its name; at 15 its processes hardly ever begin
    ray.init(
        address="local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False,
        object_store_memory=80 * 2**20, logging_level=logging.ERROR,
    )  # fmt: skip
    yield
    ray.shutdown()
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return tiny_run(
        tmp_path_factory.mktemp("data"), tokens=8, shard_size=2, val=1,
        synthesise={"answers_per_image": 2}, tune={"checkpoint_steps": 1, "lora_dropout": 0.0, "learning_rate": 1e-3},
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(config: RunConfig) -> Path:
    """The run, made by one process."""
    assert start(config) == 0
    return Path(config.output)


def test_ray_without_the_package(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "seewhy.run.workers_ray", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SeeWhyError, match=r"pip install 'seewhy\[ray\]'"):
        loop.run(replace(config, output=str(tmp_path / "run"), workers=TWO))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost:1", "No Ray cluster answers at workers.address localhost:1"),
        ("ray://localhost:10001", "ray job submit"),
    ],
)
def test_ray_where_no_cluster_answers(config: RunConfig, tmp_path: Path, address: str, message: str) -> None:
    with pytest.raises(SeeWhyError, match=message):
        loop.run(replace(config, output=str(tmp_path / "run"), workers=replace(TWO, address=address)))


@pytest.mark.slow
def test_ray_ends_what_ranks_began_with_the_bytes_of_one_process_though_an_actor_is_killed_in_every_stage(
    cluster: None, config: RunConfig, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seewhy.run.workers_ray import RayActors

    shared = replace(config, output=str(tmp_path / "run"))
    shutil.copytree(alone, shared.output)
    without_samples(tmp_path / "run")
    assert -signal.SIGKILL in start_ranks(run_rank, shared, "round-1/answers")
    made, killed = shards(tmp_path / "run"), []
    assert 0 < len(made) < len(shards(alone))

    make, welcome, processes = RayActors.make, RayActors._welcome, []

    def noting(self: Any, answer: Any) -> None:
        import ray

        told: Any = ray.get(answer)
        processes.append(told["process"])
        welcome(self, answer)

    def killing(self: Any, stage: str, missing: Any, here: Any, told: Any) -> None:
        def after(number: int) -> None:
            if stage not in killed:
                killed.append(stage)
                os.kill(processes.pop(), signal.SIGKILL)
            told(number)

        make(self, stage, missing, here, after)

    monkeypatch.setattr(RayActors, "_welcome", noting)
    monkeypatch.setattr(RayActors, "make", killing)
    loop.run(replace(shared, workers=TWO))
    assert shards(tmp_path / "run") == shards(alone)
    assert {"round-1/answers", "round-1/predictions-test"} <= set(killed)
    assert (tmp_path / "run" / "metrics.json").read_bytes() == (alone / "metrics.json").read_bytes()


@pytest.mark.slow
def test_ray_tunes_as_one_process_though_a_worker_is_killed(
    cluster: None, config: RunConfig, alone: Path, tmp_path: Path
) -> None:
    shared = replace(config, output=str(tmp_path / "run"))
    shutil.copytree(alone, shared.output)
    shutil.rmtree(tmp_path / "run" / "stages" / "round-1" / "model")
    killed: list[int] = []
    threading.Thread(target=_kill_a_rank, args=(tmp_path / "run", killed), daemon=True).start()
    loop.run(replace(shared, workers=TWO))
    assert len(killed) == 1
    one, two = (
        load_file(run / "stages" / "round-1" / "model" / "adapter" / "adapter_model.safetensors")
        for run in (alone, tmp_path / "run")
    )
    for name, weight in one.items():
        assert (two[name] - weight).norm() <= 1e-4 * weight.norm(), name


@pytest.mark.slow
def test_ray_without_gpus(cluster: None, config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(SeeWhyError, match=r"the Ray cluster has no GPU \(2 CPUs, 0 GPUs\)"):
        loop.run(replace(config, output=str(tmp_path / "run"), workers=replace(TWO, gpus=1)))


def _kill_a_rank(run: Path, killed: list[int]) -> None:
    """Kill one of Ray Train's workers of this process as soon as there is a checkpoint."""
    import psutil

    while not list(run.glob("stages/round-1/model.partial/checkpoints/*/complete")):
        time.sleep(0.02)
    for process in psutil.Process().children(recursive=True):
        if "RayTrainWorker" in process.name() or "RayTrainWorker" in " ".join(process.cmdline()):
            process.kill()
            killed.append(process.pid)
            return
