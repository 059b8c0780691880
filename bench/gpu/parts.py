"""The parts of the bench, each a process of its own: what breaks or hangs in one, or fills the GPU, ends with it."""

import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from bench.gpu.figures import Figure, Figures
from bench.loop import stage_seconds

ROOT = Path(__file__).parents[2]
DEMO_SETTINGS = ROOT / "src" / "seewhy" / "fieldguide" / "demo.yaml"
TINY_DEMO = (
    *("--rounds", "1", "--describe.prompts_per_image", "1", "--describe.samples_per_prompt", "1"),
    *("--describe.max_new_tokens", "4", "--synthesise.answers_per_image", "1", "--synthesise.max_new_tokens", "4"),
    *("--tune.epochs", "1", "--evaluate.max_new_tokens", "4", "--minimum_support", "0", "--select.rule", "image"),
)
TESTS_DEVICE = "SEEWHY_GPU_TESTS_DEVICE"
"""Environment variable with the device that tests/gpu runs on: cuda, or cpu to try the tests themselves."""


def run(
    command: Sequence[str],
    seconds: float,
    *,
    meanwhile: Callable[[], None],
    environment: Mapping[str, str] | None = None,
) -> int | None:
    """Run a command from the root of the repository for so many seconds at most, its output among ours.

    Calls `meanwhile` every second. Returns its exit code, or None where it was stopped for its time.
    """
    paths = [str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env={**given, **(environment or {})}, start_new_session=True, stdin=subprocess.DEVNULL
    )
    end = time.monotonic() + seconds
    try:
        while True:
            try:
                return process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                meanwhile()
                if time.monotonic() > end:
                    return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()


def run_measurements(part: str, options: Sequence[str], seconds: float, figures: Figures, folder: Path) -> None:
    """Run `python -m bench.gpu --only PART` and take its figures over as they come."""
    path = folder / f"{part}.json"
    command = [sys.executable, "-m", "bench.gpu", "--only", part, "--json", str(path), "--seconds", str(seconds)]

    def merge() -> None:
        if path.exists():
            figures.add_quietly(json.loads(path.read_text()))

    code = run([*command, *options], seconds + 15, meanwhile=merge)
    merge()
    _record(figures, part, code)


def run_tests(device: str, seconds: float, figures: Figures, folder: Path, only: str) -> None:
    """Run tests/gpu, or `only` those that pytest -k would, and count what passed; names of those that failed stand in
    `error_tests`."""
    path = folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/gpu", "-p", "no:cacheprovider", "-vv"]
    if only:
        command += ["-k", only]
    elif find_spec("xdist") and device != "cpu":
        command += ["-n", "4"]  # worth four starts of Python where all tests are run
    environment = {TESTS_DEVICE: device}
    code = run([*command, f"--junitxml={path}"], seconds, meanwhile=lambda: None, environment=environment)
    if path.exists():
        figures.add(**tests_of(path))
    if code not in (0, 1) or not path.exists():
        _record(figures, "tests", code if code != 0 else 1)


def tests_of(path: Path) -> dict[str, Figure]:
    """Return the counts of a JUnit file, and the names of failed tests with the first line of what failed."""
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    skipped = [case for case in cases if case.find("skipped") is not None]
    failed = {
        case.get("name", "?"): found.get("message", "").partition("\n")[0]
        for case in cases
        for found in (case.find("failure"), case.find("error"))
        if found is not None
    }
    figures: dict[str, Figure] = {
        "tests_passed": float(len(cases) - len(skipped) - len(failed)),
        "tests_failed": float(len(failed)),
        "tests_skipped": float(len(skipped)),
    }
    if failed:
        figures["error_tests"] = "; ".join(f"{name}: {message[:300]}" for name, message in failed.items())
    return figures


def run_demo(device: str, seconds: float, figures: Figures, folder: Path, *, tiny: bool) -> None:
    """Run `seewhy demo` with the settings that are shipped, on the GPU where there is one; `tiny`: a very short one."""
    output = folder / "demo"
    command = [sys.executable, "-m", "seewhy.cli"]
    if tiny:
        command += ["run", str(DEMO_SETTINGS), "--output", str(output), "--model.device", device, *TINY_DEMO]
        command += _tiny_guide(folder / "guide")
    else:
        command += ["demo", "--output", str(output)]
    start = time.monotonic()

    def stages() -> dict[str, Figure]:
        if not (output / "events.jsonl").exists():
            return {}
        taken = stage_seconds(output)
        return {f"demo_seconds_{stage.replace('/', '_')}": spent for stage, spent in taken.items() if stage and spent}

    code = run(command, seconds, meanwhile=lambda: figures.add_quietly(stages()))
    figures.add_quietly(stages())
    if code == 0:
        figures.add(demo_seconds=time.monotonic() - start)
    for record in ("events.jsonl", "metrics.json"):
        if (output / record).exists():
            shutil.copy(output / record, figures.path.with_name(f"{figures.path.stem}_demo_{record}"))
    _record(figures, "demo", code)


def _tiny_guide(folder: Path) -> list[str]:
    from seewhy.fieldguide.guide import make_guide

    data = make_guide(folder, {"train": 1, "val": 1, "test": 1})
    return ["--data.source", data.source, "--data.concepts", data.concepts or "", "--data.truth", data.truth or ""]


def _record(figures: Figures, part: str, code: int | None) -> None:
    if code is None:
        figures.add(**{f"error_{part}": "stopped: its time was up"})
    elif code:
        figures.add(**{f"error_{part}": f"ended with exit code {code}; see the log"})
