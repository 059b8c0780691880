"""A run killed (kill -9) anywhere and started again ends with the bytes of one that was never killed."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from run_folders import tree
from seewhy.run import storage

SOURCE = Path(storage.__file__).parents[2]

PIPELINE = textwrap.dedent('''
    """Describe, tune (a checkpoint a step) and predict, by stand-ins whose outputs follow from inputs and seeds."""
    import hashlib, json, os, random, signal, sys
    from pathlib import Path
    from seewhy.records import Description
    from seewhy.run.folder import RunFolder, Stage

    def run(path, before=lambda event: None):
        folder = RunFolder(path, seed=3, shard_size=4)
        describe = Stage("describe", {"describe": {"temperature": 1.0}})
        tune = Stage("round-1/model", {"tune": {"epochs": 2}}, (describe,))
        predict = Stage("round-1/predictions", {}, (tune,))

        def write(items, seed):
            before("work")
            rng = random.Random(seed)
            return [Description(i, "what?", s, f"{i} {rng.random()}") for i in items for s in range(2)]

        def make(partial):
            for step in range(3):
                before("make")
                checkpoint = partial / f"step-{step}"
                if not checkpoint.exists():
                    previous = (partial / f"step-{step - 1}").read_bytes() if step else repr(described).encode()
                    unfinished = partial / "writing"
                    unfinished.write_bytes(hashlib.sha256(previous).digest())
                    unfinished.rename(checkpoint)

        with folder.lock():
            folder.check([describe, tune, predict], config={"seed": 3})
            described = folder.records(describe, Description, [f"image {n}" for n in range(10)], write)
            weights = (folder.folder(tune, make) / "step-2").read_bytes()
            work = lambda items, seed: [Description(i, "name?", 0, f"{weights.hex()} {seed}") for i in items]
            folder.records(predict, Description, [f"test {n}" for n in range(5)], work)
            folder.write_json("metrics.json", {"rounds": []})
''')

KILLS = textwrap.dedent("""
    def in_child(work):
        child = os.fork()
        if child == 0:
            try:
                work()
                os._exit(0)
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def kill_and_resume(path, event, at):
        # Kill a run just before its event of that name happens for the at-th time, then run again. False: it had ended.
        left = at
        def count(seen):
            nonlocal left
            left -= seen == event
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        def audit(kind, details):
            opens = kind == "open" and details[2] & (os.O_WRONLY | os.O_RDWR)
            if (opens or kind in {"os.rename", "os.mkdir", "os.remove"}) and str(path) in str(details[0]):
                count("file operation")
                count("rename to " + os.path.relpath(details[1], path) if kind == "os.rename" else kind)
        def profile(frame, kind, function):
            if kind == "c_call" and frame.f_code.co_name == "write_atomically" and function.__name__ == "flush":
                count("file operation")  # the file is open and still empty
        def interrupted():
            sys.addaudithook(audit)
            sys.setprofile(profile)
            run(path, count)
        killed = in_child(interrupted)
        assert killed in (0, -signal.SIGKILL), (event, at, killed)
        for unfinished in path.rglob("*.partial"):
            if unfinished.is_file():
                os.truncate(unfinished, unfinished.stat().st_size // 2)  # a power cut tears what was not yet renamed
        resumed = in_child(lambda: run(path))
        assert resumed == 0, (event, at, resumed)
        return killed != 0

    os.fsync = lambda descriptor: None  # a kill loses nothing of the system's, and flushing to disk takes minutes here
    root = Path(sys.argv[1])
    run(root / "uninterrupted")  # in this process, so that the children find everything imported
    for event, at in json.loads(sys.argv[2]):
        assert kill_and_resume(root / f"{event} {at}".replace("/", ":"), event, at), (event, at)
    operations = 1
    while kill_and_resume(root / f"file operation {operations}", "file operation", operations):
        operations += 1
""")

NAMED_KILLS = [
    ("work", 1),
    ("work", 3),
    ("rename to stages/describe/shard-00001.parquet", 1),  # written and flushed, not yet renamed
    ("make", 1),
    ("make", 3),
    ("rename to stages/round-1/model", 1),
    ("rename to manifest.json", 1),
    ("rename to manifest.json", 2),
    ("rename to manifest.json", 4),
    ("rename to metrics.json", 1),
]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, each killed (kill -9) somewhere and resumed, and one that never was."""
    root = tmp_path_factory.mktemp("resumed")
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", PIPELINE + KILLS, str(root), json.dumps(NAMED_KILLS)]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert finished.returncode == 0, finished.stderr
    return root


@pytest.mark.parametrize(("event", "at"), NAMED_KILLS)
def test_kill_and_resume_gives_the_same_bytes(resumed: Path, event: str, at: int) -> None:
    expected = tree(resumed / "uninterrupted")
    assert {"manifest.json", "stages/describe/shard-00002.parquet", "stages/round-1/model/step-2"} <= expected.keys()
    assert tree(resumed / f"{event} {at}".replace("/", ":")) == expected


def test_a_kill_before_any_file_operation_gives_the_same_bytes(resumed: Path) -> None:
    runs = [path for path in resumed.iterdir() if path.name.startswith("file operation")]
    assert len(runs) > 60
    expected = tree(resumed / "uninterrupted")
    assert [path.name for path in runs if tree(path) != expected] == []
