"""Runs and servers for the tests of the pages: a finished run of the field guide that nothing was trained for."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from seewhy.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig, SampleConfig
from seewhy.fieldguide.guide import BASE, make_guide
from seewhy.run.folder import RunFolder

ROOT = Path(__file__).parents[1]
TOKEN = "a-token-of-the-tests"
PATIENCE = 180.0
"""Seconds for a server to begin: on a busy machine imports take a minute."""


def guide_run(root: Path, *, tokens: int = 64) -> Path:
    """A run on twenty-four species with two rounds, both of which are the shipped base: it states reasons, no names."""
    run = root / "guide run"
    config = RunConfig(
        output=str(run), rounds=2, data=DataConfig(source="fieldguide", noun="bird"),
        model=ModelConfig(name_or_path="fieldguide", device="cpu"), evaluate=EvaluateConfig(max_new_tokens=tokens),
        sample=SampleConfig(max_new_tokens=64),
    )  # fmt: skip
    folder = RunFolder(config.output, seed=0, shard_size=64)
    with folder.lock():
        folder.check([], config=asdict(config))
    make_guide(run / "fieldguide", {"train": 1, "val": 1, "test": 1})
    for round in (1, 2):
        shutil.copytree(BASE, run / "stages" / f"round-{round}" / "model" / "model")
    return run


@dataclass
class Served:
    """A `seewhy` command that serves: its address, and what it has printed."""

    process: subprocess.Popen[str]
    url: str
    printed: str

    def cpu_seconds(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(*arguments: str) -> Iterator[Served]:
    """Start `seewhy ARGUMENTS`, wait for its address, and end it as Ctrl-C does."""
    command = [sys.executable, "-m", "seewhy.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stderr=log, text=True, env=environment)
        begun = time.monotonic()
        while "Ctrl-C ends it." not in (printed := _read(log)):
            if process.poll() is not None or time.monotonic() - begun > PATIENCE:
                process.kill()
                raise AssertionError(f"{' '.join(arguments)} did not begin: {printed}")
            time.sleep(0.05)
        found = re.search(r"http://\S+", printed)
        assert found
        try:
            yield Served(process, found[0], printed)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert "Traceback" not in (told := _read(log)), told


def _read(log: IO[str]) -> str:
    log.seek(0)
    return log.read()
