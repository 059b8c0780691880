"""A short part of the torture campaign (`make torture`), with fixed seeds, and what the campaign has found."""

import errno
import os
import random
import signal
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from run_folders import Row, rows
from seewhy.endpoint import fields_of
from seewhy.endpoint.completions import form_of
from seewhy.errors import SeeWhyError
from seewhy.records import Answer
from seewhy.run.checks import check_encoder
from seewhy.run.folder import RunFolder, Stage, read_manifest, read_shards
from seewhy.run.lock import holder_file, locked
from seewhy.run.storage import disk, encode_shard, shard_origin, write_atomically
from seewhy.settings import load_config, restore_config
from torture import random_settings
from torture.children import in_child
from torture.damage import Finished, fault_of, trials
from torture.disturb import disturb, kill_a_reviewer
from torture.fuzz import met
from torture.inputs import TARGETS
from torture.kills import Workload, kill_at_each_operation, kill_at_random, refuse_writes
from torture.random_settings import Place, drawn
from torture.workloads import photo, served_workload, tiny_workload

EXAMPLES = {"results": 15, "image": 300, "model": 25}
"""Inputs of a kind; 60 of the others."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torture")


@pytest.fixture(scope="module")
def work(root: Path) -> Workload:
    return tiny_workload(root / "tiny", root / "scratch")


@pytest.mark.parametrize("name", TARGETS)
def test_an_odd_input_gives_a_result_or_a_sentence(name: str, tmp_path: Path) -> None:
    @settings(
        max_examples=EXAMPLES.get(name, 60), database=None, deadline=None, derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )  # fmt: skip
    @given(TARGETS[name].inputs())
    def run(payload: bytes) -> None:
        assert met(TARGETS[name], payload, tmp_path / "input") is None

    run()


@pytest.mark.slow
def test_a_run_killed_at_its_file_operations_ends_with_the_same_bytes(work: Workload, root: Path) -> None:
    chain = kill_at_each_operation(work, root / "scratch", set(), lambda chain: chain.counts["kills"] == 8, skip=40)
    assert chain.counts["kills"] > 4
    assert (chain.faults, chain.different) == ([], [])


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(work: Workload, root: Path) -> None:
    chain = kill_at_random(work, root / "scratch", random.Random(0), lambda chain: chain.counts["kills"] == 4)
    assert (chain.faults, chain.different) == ([], [])


@pytest.mark.slow
@pytest.mark.server
def test_a_run_through_a_server_that_is_killed_ends_with_the_same_bytes_and_leaves_none_behind(root: Path) -> None:
    served = served_workload(root / "served", root / "scratch")
    chain = kill_at_each_operation(served, root / "scratch", set(), lambda chain: chain.counts["kills"] == 5, skip=15)
    assert chain.counts["kills"] > 2
    assert (chain.faults, chain.different) == ([], [])


@pytest.mark.slow
def test_a_run_whose_writes_are_refused_says_so_and_goes_on_later(work: Workload, root: Path) -> None:
    chain = refuse_writes(work, root / "scratch", random.Random(3), lambda chain: chain.counts["refused_writes"] == 5)
    assert chain.counts["refused_writes"] > 2
    assert (chain.faults, chain.different) == ([], [])


@pytest.mark.slow
def test_damage_of_a_finished_run_is_never_used_silently(work: Workload, root: Path) -> None:
    rng = random.Random(0)
    work.restore(root / "scratch")
    finished = Finished.of(work.run, work.config, photo(root / "tiny"), root / "scratch/damage")
    whole = {name: finished.outcome(name) for name in finished.verbs}
    assert {name: outcome.ended.code for name, outcome in whole.items()} == dict.fromkeys(finished.verbs, 0)
    found = {trial: fault_of(finished, whole, trial, rng) for trial in islice(trials(finished, rng), 20)}
    assert {trial: fault for trial, fault in found.items() if fault} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["second_writer", "moved", "wrong_clock"])
def test_a_disturbed_run_says_so_and_ends_with_the_same_bytes(work: Workload, root: Path, name: str) -> None:
    chain = disturb(work, root / "scratch", random.Random(7), name)
    assert (chain.faults, chain.different) == ([], [])


def test_no_verdict_is_lost_with_a_reviewer_who_is_killed(tmp_path: Path) -> None:
    chain = kill_a_reviewer(tmp_path / "review", random.Random(0), verdicts=2)
    assert chain.counts["kills"] >= 6
    assert (chain.faults, chain.different) == ([], [])


@pytest.mark.slow
def test_random_settings_fail_before_the_first_stage_or_not_at_all(root: Path) -> None:
    place, rng = Place.made(root / "settings", root / "scratch"), random.Random(4)
    given = [drawn(rng, place) for _ in range(8)]
    assert {str(settings): fault for settings in given if (fault := random_settings.fault_of(place, settings))} == {}


def test_the_oracle_sees_what_it_is_there_for(tmp_path: Path) -> None:
    """A campaign that finds nothing must be one that would."""
    from torture.guard import fault_of as guard

    outside = tmp_path / "outside"
    (tmp_path / "in").mkdir()
    assert guard(lambda: {}["a"], tmp_path / "in").kind == "traceback"  # type: ignore[union-attr]
    assert guard(lambda: outside.write_text("a"), tmp_path / "in").kind == "outside_write"  # type: ignore[union-attr]
    assert guard(lambda: [None for _ in iter(int, 1)], tmp_path / "in", seconds=0.2).kind == "hang"  # type: ignore[union-attr]
    assert guard(lambda: (tmp_path / "in/a").write_text("a"), tmp_path / "in") is None
    assert in_child(lambda: {}["a"], tmp_path / "child").fault == "traceback"
    assert in_child(lambda: os.kill(os.getpid(), signal.SIGKILL) or 0, tmp_path / "child").code == -signal.SIGKILL


# What the campaign has found.


def test_control_characters_in_settings_are_told(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(b"out\x01put: run")
    with pytest.raises(SeeWhyError, match=r"run\.yaml is not valid YAML: .*special characters are not allowed"):
        load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("manifest", "part"),
    [
        ('{"stages": {"describe": 1}}', r"stages\.describe "),
        ('{"stages": {"describe": {"settings": {}, "inputs": {}, "shards": 1, "complete": true}}}', "fingerprint"),
        ('{"versions": {"torch": 2}}', r"versions\.torch"),
        ('{"config": "settings"}', "config"),
        ('{"config": {"seed": 1e999}}', "Out of range float"),
    ],
)
def test_a_manifest_of_another_form_is_named(tmp_path: Path, manifest: str, part: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(SeeWhyError, match=rf"manifest\.json is damaged \(.*{part}"):
        read_manifest(tmp_path)


def test_settings_of_a_manifest_are_names_and_values() -> None:
    with pytest.raises(SeeWhyError, match="settings are 'text', but should be names and values"):
        restore_config("text")  # type: ignore[arg-type]


def test_what_is_wrong_with_an_answer_can_be_sent_and_printed() -> None:
    wrong = form_of(fields_of(word=str)).mismatch({"word": ["\ud800"]})
    assert wrong is not None
    assert wrong.encode() == "'word' is [\"\ufffd\"], not of type string".encode()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path, code: int) -> None:
    path = tmp_path / "metrics.json"
    with pytest.raises(SeeWhyError, match=r"metrics\.json cannot be written: .*start the run again"), disk(path):
        raise OSError(code, os.strerror(code), str(path.with_name("metrics.json.partial")))
    below = tmp_path / "run/stages/round-1/answers/shard"
    with pytest.raises(SeeWhyError, match=r"shard cannot be written"), disk(below):  # a folder above it
        raise OSError(code, os.strerror(code), str(tmp_path / "run/stages/round-1"))
    with pytest.raises(OSError, match="elsewhere"), disk(path):  # what was read is no matter of the disk
        raise OSError(code, os.strerror(code), "/elsewhere/image.png")
    write_atomically(path, b"{}")


def test_a_lock_whose_file_cannot_be_removed_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    with locked(tmp_path):
        monkeypatch.setattr(Path, "unlink", refused)
    monkeypatch.undo()
    assert holder_file(tmp_path).exists()
    with locked(tmp_path):
        pass
    assert not holder_file(tmp_path).exists()


@pytest.mark.parametrize("said", [b"\xff\xfe\x00", b"1 on ", b"x" * 10_000, b""])
def test_an_odd_file_of_the_lock_is_no_hindrance(tmp_path: Path, said: bytes) -> None:
    holder_file(tmp_path).write_bytes(said)
    with locked(tmp_path):
        pass


def test_a_folder_that_is_moved_in_the_midst_of_a_write_is_told(tmp_path: Path) -> None:
    def make(partial: Path) -> None:
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        (partial / "weights").write_text("tuned")

    folder = RunFolder(tmp_path / "run", seed=0, shard_size=4)
    stage = Stage("round-1/model", {})

    def run() -> None:
        with folder.lock():
            folder.check([stage])
            folder.folder(stage, make)

    with pytest.raises(SeeWhyError, match="is no longer the file that this process locked"):
        run()


def test_a_lost_shard_of_a_finished_stage_is_told(tmp_path: Path) -> None:
    folder, stage = RunFolder(tmp_path, seed=0, shard_size=1), Stage("describe", {})
    with folder.lock():
        folder.check([stage])
        folder.records(stage, Row, ["a", "b"], rows)
    assert len(read_shards(tmp_path, "describe", Row)) == 2
    (tmp_path / "stages/describe/shard-00001.parquet").unlink()
    with pytest.raises(SeeWhyError, match=r"shard-00001\.parquet cannot be read"):
        read_shards(tmp_path, "describe", Row)


def test_a_rank_that_no_layer_has_and_an_encoder_that_is_not_there(tmp_path: Path) -> None:
    for name in ("rank", "alpha"):
        with pytest.raises(
            SeeWhyError, match=rf"tune\.lora_{name} is 2147483647, but takes a whole number, at least 1"
        ):
            load_config(_empty(tmp_path), [f"--tune.lora_{name}=2147483647"])
    with pytest.raises(SeeWhyError, match="There is no sentence-transformers model"):
        check_encoder(tmp_path / "nowhere")


def _empty(folder: Path) -> Path:
    (folder / "run.yaml").write_text("")
    return folder / "run.yaml"


def test_the_origin_of_a_damaged_shard_is_unknown(tmp_path: Path) -> None:
    """A column's name that is no UTF-8 is a ValueError."""
    payload = encode_shard([], Answer, {"fingerprint": "a"})
    for place in range(len(payload)):
        (tmp_path / "shard").write_bytes(payload[:place] + b"\xbb" + payload[place + 1 :])
        assert shard_origin(tmp_path / "shard").keys() >= set()
