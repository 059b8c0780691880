"""The run folder keeps records and folders, and keeps other processes out."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from run_folders import ITEMS, STAGE, Item, Row, never, opened, row, rows, tree
from seewhy.errors import Damaged, SeeWhyError
from seewhy.records import Candidate, Description
from seewhy.run import progress as progress_module
from seewhy.run import storage
from seewhy.run.folder import RunFolder, Stage, read_manifest, read_records


def test_records_come_back_in_order_and_are_not_made_again(tmp_path: Path) -> None:
    expected = [row(item) for item in ITEMS]
    assert opened(tmp_path).records(STAGE, Row, ITEMS, rows) == expected
    assert opened(tmp_path).records(STAGE, Row, ITEMS, never) == expected
    assert read_records(tmp_path, "select", Row) == expected
    assert sorted(path.name for path in (tmp_path / "stages/select").iterdir()) == [
        "shard-00000.parquet",
        "shard-00001.parquet",
        "shard-00002.parquet",
    ]


def test_work_gets_fixed_shards_and_seeds_of_their_own(tmp_path: Path) -> None:
    seen: list[tuple[tuple[str, ...], int]] = []

    def work(items: Any, seed: int) -> list[Row]:
        seen.append((tuple(items), seed))
        return [row(item) for item in items]

    names = [f"n{number}" for number in range(7)]
    other = Stage("other", {})
    folder = opened(tmp_path, STAGE, other)
    folder.records(STAGE, Row, names, work)
    first = list(seen)
    assert [len(items) for items, _ in first] == [3, 3, 1]
    assert all(0 <= seed < 2**32 for _, seed in first)
    folder.records(other, Row, names, work)
    opened(tmp_path / "reseeded", seed=1).records(STAGE, Row, names, work)
    assert len({seed for _, seed in seen}) == 9
    (tmp_path / "stages/select/shard-00001.parquet").unlink()
    opened(tmp_path, STAGE, other).records(STAGE, Row, names, work)
    assert seen[9:] == first[1:2]


def test_work_that_fails_keeps_the_shards_before_it(tmp_path: Path) -> None:
    def work(items: Any, seed: int) -> Iterator[Row]:
        if items[0].id == "image 3":
            raise RuntimeError("bug")
        return rows(items, seed)

    with pytest.raises(RuntimeError, match="bug"):
        opened(tmp_path).records(STAGE, Row, ITEMS, work)
    assert list(tree(tmp_path / "stages")) == ["select/shard-00000.parquet"]
    assert not read_manifest(tmp_path)["stages"]["select"]["complete"]
    with pytest.raises(SeeWhyError, match="no finished stage 'select'"):
        read_records(tmp_path, "select", Row)


def test_nan_round_trips(tmp_path: Path) -> None:
    lost = Candidate("a", 2, "explain", "why?", 0, "a crow", score=math.nan, kept=False, reason="names another label")
    for _ in range(2):
        (found,) = opened(tmp_path).records(STAGE, Candidate, ["a"], lambda items, seed: [lost])
        assert math.isnan(found.score)
        assert found.reason == lost.reason
    metadata = pq.read_metadata(tmp_path / "stages/select/shard-00000.parquet")
    assert metadata.num_rows == 1


@pytest.mark.parametrize("items", [[], ["a", "b", "c", "d"]])
def test_no_items_and_no_records_are_fine(tmp_path: Path, items: list[str]) -> None:
    for _ in range(2):
        assert opened(tmp_path).records(STAGE, Row, items, lambda items, seed: []) == []
        assert read_manifest(tmp_path)["stages"]["select"]["complete"]
        assert read_records(tmp_path, "select", Row) == []


def test_bytes_do_not_depend_on_time_or_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path / "one").records(STAGE, Row, ITEMS, rows)
    monkeypatch.setattr("time.time", lambda: 0.0)
    opened(tmp_path / "two").records(STAGE, Row, ITEMS, rows)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_shards_of_other_items_are_refused(tmp_path: Path) -> None:
    opened(tmp_path).records(STAGE, Row, ITEMS, rows)
    with pytest.raises(SeeWhyError, match=r"shard-00001\.parquet was made from other items.*Move .*select"):
        opened(tmp_path).records(STAGE, Row, [*ITEMS[:4], Item("new"), *ITEMS[5:]], rows)
    with pytest.raises(SeeWhyError, match=r"shard-00000\.parquet was made from other items"):
        opened(tmp_path).records(STAGE, Row, ITEMS[::-1], rows)
    with pytest.raises(SeeWhyError, match=r"shard-00002\.parquet was made from other items"):
        opened(tmp_path).records(STAGE, Row, [*ITEMS, Item("new")], rows)
    with pytest.raises(SeeWhyError, match=r"shard-00001\.parquet is one shard more"):
        opened(tmp_path).records(STAGE, Row, ITEMS[:3], rows)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    opened(tmp_path).records(STAGE, Row, ITEMS, rows)
    shard = tmp_path / "stages/select/shard-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(SeeWhyError, match=r"shard-00001\.parquet is damaged.*Delete this one file"):
        opened(tmp_path).records(STAGE, Row, ITEMS, rows)
    shard.unlink()
    assert len(opened(tmp_path).records(STAGE, Row, ITEMS, rows)) == 7
    with pytest.raises(SeeWhyError, match="does not hold the columns of Description"):
        read_records(tmp_path, "select", Description)


def test_a_folder_is_made_once_and_goes_on_in_its_partial_folder(tmp_path: Path) -> None:
    model = Stage("round-1/model", {})
    calls: list[list[str]] = []

    def make(partial: Path) -> None:
        calls.append(sorted(path.name for path in partial.iterdir()))
        (partial / f"step-{len(calls)}").write_text("weights")
        if len(calls) == 1:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        opened(tmp_path, model).folder(model, make)
    assert not (tmp_path / "stages/round-1/model").exists()
    for _ in range(2):
        final = opened(tmp_path, model).folder(model, make)
        assert sorted(path.name for path in final.iterdir()) == ["SHA256SUMS", "step-1", "step-2"]
    assert calls == [[], ["step-1"]]
    assert final == tmp_path / "stages/round-1/model"
    assert not final.with_name("model.partial").exists()


def test_a_stage_that_check_has_not_seen_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not announced"):
        opened(tmp_path).records(Stage("select", {"select": {"temperature": 0.2}}), Row, ITEMS, rows)
    with pytest.raises(ValueError, match="not announced"):
        RunFolder(tmp_path, seed=0, shard_size=3).folder(STAGE, lambda path: None)


# --- lock -------------------------------------------------------------------------------------------------------------

HOLDER = """
import sys
from seewhy.run.folder import RunFolder
with RunFolder(sys.argv[1], seed=0, shard_size=1).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_on_one_run_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(storage.__file__).parents[2])}
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SeeWhyError, match=rf"{re.escape(str(tmp_path))} is in use by process {holder.pid}\b"):
            opened(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    opened(tmp_path)
    assert not (tmp_path / "lock.pid").exists()


def test_a_file_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(SeeWhyError, match=r"run cannot hold a run: .* Choose another"):
        opened(tmp_path / "run")


def test_shard_size_is_at_least_one(tmp_path: Path) -> None:
    with pytest.raises(SeeWhyError, match="shard_size is 0"):
        RunFolder(tmp_path, seed=0, shard_size=0)


# --- progress ---------------------------------------------------------------------------------------------------------


def test_one_line_a_stage_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(tmp_path).records(STAGE, Row, ITEMS, rows)
    (tmp_path / "stages/select/shard-00001.parquet").unlink()
    opened(tmp_path).records(STAGE, Row, ITEMS, rows)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["select: 7 items, 0 already done", "select: 7 items, 4 already done"]
    assert captured.out == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    clock = iter(range(0, 100_000, 2))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    with progress_module.progress("describe", total=640, done=64) as advance:
        advance(64)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search(r"describe .*128/640 0:\d\d:\d\d", drawn)


@pytest.mark.parametrize("told", ["{", "[]", "[" * 100_000])
def test_a_shard_that_does_not_say_what_it_was_made_for_is_named(tmp_path: Path, told: str) -> None:
    opened(tmp_path).records(STAGE, Row, ITEMS, rows)
    shard = tmp_path / "stages/select/shard-00001.parquet"
    table = pq.read_table(shard)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, "made_for": told}), shard)
    with pytest.raises(Damaged, match=r"shard-00001\.parquet is damaged"):
        opened(tmp_path).records(STAGE, Row, ITEMS, never)
