"""The wheel, installed alone outside the checkout: what it holds, and that the command works from it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMALL = [
    "--rounds", "1", "--keep_going", "true", "--describe.prompts_per_image", "1", "--describe.samples_per_prompt", "2",
    "--synthesise.answers_per_image", "1", "--synthesise.tries", "1", "--tune.epochs", "1", "--evaluate.split", "val",
    "--evaluate.bootstrap", "50", "--evaluate.consistency", "false", "--evaluate.fluency", "false",
]  # fmt: skip

pytestmark = [pytest.mark.wheel, pytest.mark.slow]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tracked files, built without a network by the setuptools of this environment."""
    tree, made = (tmp_path_factory.mktemp(name) for name in ("tree", "wheel"))
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "src", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, tracked.split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*pip, str(made), str(tree)], check=True)
    [path] = made.glob("*.whl")
    return path


def unpythoned() -> dict[str, str]:
    """This environment's variables without those that lead Python to other packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`seewhy` of a new environment with the wheel, which finds its dependencies in this one, and not this checkout."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    packages = next((place / "lib").glob("python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin/python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, env=unpythoned())
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies))  # whose own .pth files are not followed
    return place / "bin" / "seewhy"


def told(command: Path, folder: Path, *arguments: str, code: int = 0) -> str:
    """What the command prints, run in `folder`, with nothing of this checkout on its path."""
    done = subprocess.run([str(command), *arguments], cwd=folder, env=unpythoned(), capture_output=True, text=True)
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout


def test_the_wheel_has_the_package_and_its_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"seewhy"}
    tracked = subprocess.run(["git", "ls-files", "src/seewhy"], cwd=ROOT, capture_output=True, text=True, check=True)
    missing = {line.removeprefix("src/") for line in tracked.stdout.splitlines()} - set(names)
    assert missing == set()


def test_help_and_version_come_from_the_wheel(command: Path, tmp_path: Path) -> None:
    assert "seewhy demo --rounds 1" in told(command, tmp_path, "demo", "--help")
    assert told(command, tmp_path, "--version").startswith("seewhy 0.")
    python = command.with_name("python")
    where = told(python, tmp_path, "-c", "import seewhy; print(seewhy.__file__)").strip()
    assert Path(where).is_relative_to(command.parents[1])


def test_the_doctor_finds_nothing_broken(command: Path, tmp_path: Path) -> None:
    assert "ok" in told(command, tmp_path, "doctor", "--quick")


def test_a_small_demo(command: Path, tmp_path: Path) -> None:
    shown = told(command, tmp_path, "demo", "--output", "demo", *SMALL)
    assert "Wrote demo/report.html" in shown
    assert len(json.loads((tmp_path / "demo" / "metrics.json").read_text())["rounds"]) == 1
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
