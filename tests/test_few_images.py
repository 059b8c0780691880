"""`data.per_class`: a run on few train images a class, its forecast, and what makes it stale."""

from dataclasses import replace
from pathlib import Path

import pytest

from seewhy.config import DataConfig, RunConfig, decisive
from seewhy.cost.tokens import Workload
from seewhy.domain import load_domain
from seewhy.domain.check import check_data
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import make_guide, with_guide
from seewhy.records import Description
from seewhy.run import loop
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import read_records
from tiny_run import tiny_run


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Four train images and one val image a class."""
    return tiny_run(tmp_path_factory.mktemp("data"), train=4, test=1, val=1)


def few(config: RunConfig, number: int | None) -> RunConfig:
    return replace(config, data=replace(config.data, per_class=number))


def counts(data: DataConfig) -> list[int]:
    domain = load_domain(data)
    return [len(domain.split(split)) for split in ("train", "val", "test")]


def test_train_alone_is_smaller(config: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    assert counts(few(config, 3).data) == [9, 3, 3]
    assert "per_class" not in capsys.readouterr().err
    assert counts(few(config, 5).data) == [12, 3, 3]
    said = " ".join(capsys.readouterr().err.split())
    told = "data.per_class is 5, but 3 classes have fewer train images, all of which are used"
    assert f"{told} (Crow: 4, Fish Crow: 4, Red-crested Finch: 4)." in said


def test_data_check_counts_what_a_run_would_use(config: RunConfig) -> None:
    found = check_data(few(config, 5).data)
    assert any("data.per_class is 5" in finding.message for finding in found.findings)
    assert {count["train"] for count in check_data(few(config, 2).data).counts.values()} == {2}


def test_a_plan_forecasts_the_smaller_set(config: RunConfig) -> None:
    assert Workload.read(few(config, 2)).images == {"train": 6, "val": 3, "test": 3}


def test_the_field_guide_has_few_images_too(tmp_path: Path) -> None:
    make_guide(tmp_path / "guide", {"train": 3, "val": 1, "test": 1})
    assert counts(with_guide(DataConfig(per_class=2), tmp_path / "guide")) == [48, 24, 24]


def test_older_runs_stay_as_they_are() -> None:
    assert "per_class" not in decisive(DataConfig())


def test_another_number_makes_a_run_stale(config: RunConfig) -> None:
    two = few(config, 2)
    loop.run(two)
    described = {record.example_id for record in read_records(Path(config.output), "describe", Description)}
    assert len(described) == 6
    assert len(FinishedRun.open(config.output).domain.split("train")) == 6
    with pytest.raises(SeeWhyError, match=r"made with other settings \(data\.per_class: 2 -> 3; data\.images: "):
        loop.run(few(config, 3))
    loop.run(two)
