"""A full disk is named, and loses nothing."""

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from run_folders import ITEMS, STAGE, Row, opened, rows, tree
from seewhy.errors import SeeWhyError
from seewhy.records import Description
from seewhy.run import storage


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path / "whole").records(STAGE, Row, ITEMS, rows)
    folder = opened(tmp_path / "full")
    flush, calls = os.fsync, []

    def fills_up(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 2:  # the first shard and its folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(storage.os, "fsync", fills_up)
        with pytest.raises(SeeWhyError, match=r"shard-00001\.parquet cannot be written: No space left.*Make room"):
            folder.records(STAGE, Row, ITEMS, rows)
    assert list(tree(tmp_path / "full/stages")) == ["select/shard-00000.parquet"]
    opened(tmp_path / "full").records(STAGE, Row, ITEMS, rows)
    assert tree(tmp_path / "full") == tree(tmp_path / "whole")


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_flush_folders_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    flush, folders = os.fsync, []

    def like_cifs(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            folders.append(descriptor)
            raise OSError(code, os.strerror(code))
        flush(descriptor)

    def make(partial: Path) -> None:
        (partial / "inside").mkdir()
        (partial / "inside/weights").write_bytes(b"1")

    opened(tmp_path / "whole").records(STAGE, Row, ITEMS, rows)
    monkeypatch.setattr(storage.os, "fsync", like_cifs)
    opened(tmp_path / "cifs").records(STAGE, Row, ITEMS, rows)
    assert tree(tmp_path / "cifs") == tree(tmp_path / "whole")
    assert (opened(tmp_path / "model").folder(STAGE, make) / "inside/weights").read_bytes() == b"1"
    assert folders


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_file_that_cannot_be_flushed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(storage.os, "fsync", broken)
    with pytest.raises(OSError, match=os.strerror(code)):
        storage.write_atomically(tmp_path / "a", b"1")
    (tmp_path / "b").write_bytes(b"1")
    with pytest.raises(OSError, match=os.strerror(code)):
        storage.sync(tmp_path / "b")


def test_another_error_than_a_full_disk_passes_through(tmp_path: Path) -> None:
    def make(partial: Path) -> None:
        (partial / "missing").read_bytes()

    with pytest.raises(FileNotFoundError):
        opened(tmp_path).folder(STAGE, make)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full(tiny_disk: Path, tmp_path: Path) -> None:
    noise = [os.urandom(2**19).hex() for _ in ITEMS]  # 3.5 MB of noise in three shards, and ballast, on 4 MB

    def work(items: Any, seed: int) -> list[Description]:
        return [Description(item.id, "", 0, noise[ITEMS.index(item)]) for item in items]

    opened(tmp_path / "whole").records(STAGE, Description, ITEMS, work)
    (tiny_disk / "ballast").write_bytes(b"0" * 2**20)
    with pytest.raises(SeeWhyError, match=r"shard-0000\d\.parquet cannot be written: No space left"):
        opened(tiny_disk / "run").records(STAGE, Description, ITEMS, work)
    assert "shard-00000.parquet" in os.listdir(tiny_disk / "run/stages/select")
    assert not list(tiny_disk.rglob("*.partial"))
    (tiny_disk / "ballast").unlink()
    opened(tiny_disk / "run").records(STAGE, Description, ITEMS, work)
    assert tree(tiny_disk / "run") == tree(tmp_path / "whole")


def test_a_library_that_hides_the_full_disk_is_seen_through(tiny_disk: Path) -> None:
    def make(partial: Path) -> None:
        try:
            (partial / "weights").write_bytes(bytes(8 * 2**20))
        except OSError as error:
            raise RuntimeError("file write failed") from error  # what torch.save says

    with pytest.raises(SeeWhyError, match=r"select cannot be written: file write failed\. Make room"):
        opened(tiny_disk / "run").folder(STAGE, make)
    assert not (tiny_disk / "run/stages/select").exists()


def test_other_weights_under_the_same_name_have_another_digest(tmp_path: Path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"a" * 100)
    (tmp_path / "config.json").write_text("{}")
    before = storage.weights_digest(tmp_path)
    assert storage.weights_digest(tmp_path) == before
    weights.write_bytes(b"a" * 99 + b"b")
    assert storage.weights_digest(tmp_path) != before
    assert storage.weights_digest(tmp_path / "no-such-folder") == ""


def test_what_changes_no_output_is_no_part_of_a_digest(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"a" * 100)
    (tmp_path / "config.json").write_text("{}")
    sampling = tmp_path / "generation_config.json"
    sampling.write_text('{"temperature": 0.2, "eos_token_id": 2}')
    before = storage.weights_digest(tmp_path)
    sampling.write_text('{"do_sample": true, "temperature": 0.2, "eos_token_id": 2}')  # what the error asks for
    for name in ("README.md", "LICENSE.txt", ".gitattributes", "trainer_state.json", "eval_results.json"):
        (tmp_path / name).write_text("{}")
    for name in ("onnx/config.json", ".cache/huggingface/download/config.json", "original/params.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{}")
    assert storage.weights_digest(tmp_path) == before
    sampling.write_text('{"eos_token_id": [2, 7]}')
    assert storage.weights_digest(tmp_path) != before


@pytest.mark.parametrize(
    "name",
    [
        "config.json", "model-00001-of-00002.safetensors", "tokenizer.json", "tokenizer_config.json", "merges.txt",
        "vocab.txt", "tokenizer.model", "preprocessor_config.json", "processor_config.json", "chat_template.jinja",
        "additional_chat_templates/short.jinja", "1_Pooling/config.json", "modeling_own.py",
    ],
)  # fmt: skip
def test_what_changes_an_output_is_part_of_a_digest(tmp_path: Path, name: str):
    (tmp_path / "modules.json").write_text('[{"path": ""}, {"path": "1_Pooling"}]')
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("before")
    before = storage.weights_digest(tmp_path)
    (tmp_path / name).write_text("after!")
    assert storage.weights_digest(tmp_path) != before
