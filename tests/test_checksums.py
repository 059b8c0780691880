"""What is damaged is noticed and named before it is used, and files of versions without checksums are still read."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from run_folders import ITEMS, STAGE, Row, opened, row, rows
from seewhy.errors import SeeWhyError
from seewhy.results import Figures, Metrics
from seewhy.results_json import DamagedResults, read, write
from seewhy.run.checksums import KEY, SUMS, UNSEALED, broken, is_whole, seal, sealed_json, unsealed_json, write_sums
from seewhy.run.folder import RunFolder, Stage, read_manifest, read_records
from seewhy.run.storage import decode_shard, digest_of_ends, encode_shard, schema_of, weights_digest
from seewhy.vlm.tuning import Checkpoints

MODEL = Stage("round-1/model", {})
FORMS = {
    "json": sealed_json({"rounds": [1, 2], "seal of": "sha256"}, indent=2),
    "yaml": seal(f"# {KEY} {UNSEALED}\nrounds: 1\n".encode()),
    "page": seal(f"<!doctype html>\n<!-- {KEY} {UNSEALED} -->\n<html>Harp seal</html>".encode()),
    "shard": encode_shard([row(item) for item in ITEMS], Row, {"fingerprint": "a", "items": "b"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_changed_byte_of_a_sealed_file_is_noticed(form: str) -> None:
    payload, rng = FORMS[form], random.Random(0)
    assert is_whole(payload)
    for place in range(len(payload)):
        other = rng.choice([byte for byte in range(256) if byte != payload[place]])
        assert is_whole(payload[:place] + bytes([other]) + payload[place + 1 :]) is False, (place, other)


@pytest.mark.parametrize("form", FORMS)
def test_what_was_cut_is_not_whole(form: str) -> None:
    payload = FORMS[form]
    assert is_whole(b"") is False
    assert not any(is_whole(payload[:end]) for end in range(len(payload)))


def test_a_file_of_an_older_version_has_no_seal_to_verify() -> None:
    assert is_whole(b'{"rounds": []}') is None
    assert unsealed_json(b'{"rounds": []}') == {"rounds": []}
    assert unsealed_json(sealed_json({"rounds": []})) == {"rounds": []}


def flip(path: Path, place: int = -1) -> None:
    payload = bytearray(path.read_bytes())
    payload[place] ^= 1
    path.write_bytes(payload)


def test_a_shard_with_one_changed_byte_is_named(tmp_path: Path) -> None:
    """Without a checksum one in six of such shards was read, and its texts or numbers were others."""
    opened(tmp_path).records(STAGE, Row, ITEMS, rows)
    shard, rng = tmp_path / "stages/select/shard-00001.parquet", random.Random(1)
    whole = shard.read_bytes()
    for _ in range(200):
        flip(shard, rng.randrange(len(whole)))
        with pytest.raises(SeeWhyError, match=r"shard-00001\.parquet .*Delete this one file and start the run again"):
            read_records(tmp_path, "select", Row)
        shard.write_bytes(whole)
    shard.unlink()
    opened(tmp_path).records(STAGE, Row, ITEMS, rows)
    assert shard.read_bytes() == whole


def test_shards_of_a_version_without_checksums_are_read(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{"id": "a", "tags": [], "score": 1.0, "kept": True, "number": 1}], schema_of(Row))
    pq.write_table(table.replace_schema_metadata({"fingerprint": "a"}), tmp_path / "old.parquet")
    found, origin = decode_shard(tmp_path / "old.parquet", Row)
    assert (found, origin) == ([Row("a", (), 1.0, kept=True, number=1)], {"fingerprint": "a"})


def tuned(path: Path) -> RunFolder:
    def make(partial: Path) -> None:
        (partial / "model").mkdir()
        (partial / "model/model.safetensors").write_bytes(b"weights" * 1000)
        (partial / "adapter.json").write_text('{"r": 4}')

    folder = opened(path, MODEL)
    folder.folder(MODEL, make)
    return folder


@pytest.mark.parametrize("name", ["model/model.safetensors", "adapter.json", SUMS])
@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "deleted"])
def test_a_damaged_model_is_named_at_the_next_start(tmp_path: Path, name: str, how: str) -> None:
    """Missing weights of a finished stage once ended in exit code 0."""
    tuned(tmp_path)
    path = tmp_path / "stages/round-1/model" / name
    if how == "flipped":
        flip(path, len(path.read_bytes()) // 2)
    elif how == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 5 if how == "cut" else 0])
    remedy = r"Delete the folder .*round-1/model and start the run again: it is made anew"
    with pytest.raises(SeeWhyError, match=rf"{name} .*(damaged|missing).*{remedy}"):
        opened(tmp_path, MODEL).folder(MODEL, lambda _: pytest.fail("made again"))


def test_a_model_of_a_version_without_checksums_is_used(tmp_path: Path) -> None:
    tuned(tmp_path)
    (tmp_path / "stages/round-1/model" / SUMS).unlink()
    manifest = read_manifest(tmp_path)
    del manifest["stages"]["round-1/model"]["sums"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    opened(tmp_path, MODEL).folder(MODEL, lambda _: pytest.fail("made again"))


def test_the_digest_of_a_large_file_is_kept_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEWHY_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "model/weights"
    weights.parent.mkdir()
    weights.write_bytes(b"a" * 2**21)
    time.sleep(2.1)  # a younger file could change once more without another time
    write_sums(weights.parent)
    assert len(list((tmp_path / "cache/digests").iterdir())) == 1
    with monkeypatch.context() as patched:
        patched.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
        assert list(broken(weights.parent)) == []
    flip(weights, 2**20)
    assert [name for name, _ in broken(weights.parent)] == ["weights"]


def test_a_byte_in_the_middle_of_large_weights_is_another_model(tmp_path: Path) -> None:
    """Above 32 MB only both ends were read."""
    weights = tmp_path / "model.safetensors"
    with weights.open("wb") as file:
        file.truncate(2**25 + 2**20)
    before, ends = weights_digest(tmp_path), digest_of_ends(tmp_path)
    with weights.open("r+b") as file:
        file.seek(2**24 + 5)
        file.write(b"x")
    assert weights_digest(tmp_path) != before
    assert digest_of_ends(tmp_path) == ends
    with weights.open("wb") as file:
        file.truncate(2**20)
    assert weights_digest(tmp_path) == digest_of_ends(tmp_path)  # as older versions recorded it


def test_damaged_results_are_named_and_the_manifest_too(tmp_path: Path) -> None:
    write(tmp_path / Metrics.FILE, Metrics(Figures()))
    assert read(tmp_path / Metrics.FILE, Metrics) == Metrics(Figures())
    flip(tmp_path / Metrics.FILE, 30)
    with pytest.raises(DamagedResults, match=r"metrics\.json could not be read .*remove it and start the run again"):
        read(tmp_path / Metrics.FILE, Metrics)
    opened(tmp_path)
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text.replace('"shard_size": 3', '"shard_size": 4'))
    with pytest.raises(SeeWhyError, match=r"manifest\.json is damaged .*Delete it and start the run again"):
        read_manifest(tmp_path)


def checkpoint(checkpoints: Checkpoints, step: int) -> Path:
    place = checkpoints.folder / f"checkpoint-{step}"
    place.mkdir(parents=True)
    torch.save({"moments": torch.zeros(100)}, place / "optimizer.pt")
    checkpoints.complete(step)
    return place


def test_a_damaged_checkpoint_is_set_aside(tmp_path: Path, capsys: Any) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", {"seed": 0})
    place = checkpoint(checkpoints, 2)
    assert checkpoints.newest() == str(place)
    flip(place / "optimizer.pt", 300)
    assert checkpoints.newest() is None
    assert "optimizer.pt is damaged" in " ".join(capsys.readouterr().err.split())
    assert (checkpoints.folder / "damaged-checkpoint-2/optimizer.pt").exists()
    assert checkpoint(checkpoints, 4).exists()
    checkpoints.remove()
    assert not checkpoints.folder.exists()


def test_of_two_checkpoints_the_older_whole_one_counts(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", {"seed": 0})
    older = checkpoint(checkpoints, 2)
    newer = checkpoints.folder / "checkpoint-4"
    newer.mkdir()
    for name in ("optimizer.pt", SUMS, "complete"):  # a process that was killed before it removed the older one
        (newer / name).write_bytes((older / name).read_bytes())
    (newer / "optimizer.pt").write_bytes(b"")
    assert checkpoints.newest() == str(older)
