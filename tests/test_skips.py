"""`--no-unexpected-skips` fails a session that skipped a test for want of a package, in one process and in workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each test starts sessions of pytest

CONFTEST = Path(__file__).parent / "conftest.py"
CASES = """
import pytest

def test_passes():
    pass

@pytest.mark.xfail
def test_known():
    raise AssertionError

def test_platform():
    pytest.skip("no GPU is visible")
"""


def session(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "test_cases.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={folder}",
        *options,
        str(folder),
    ]
    environment = {**os.environ, "PYTHONPATH": str(CONFTEST.parent)}  # conftest imports a module beside it
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.mark.parametrize("processes", ["0", "2"])
def test_only_the_platform_excuses_a_skip(tmp_path: Path, processes: str) -> None:
    options = ("--no-unexpected-skips", "-n", processes)
    expected = session(tmp_path, CASES, *options)
    assert expected.returncode == 0, expected.stdout
    missing = CASES + 'def test_missing():\n    pytest.importorskip("no_such_package")\n'
    failed = session(tmp_path, missing, *options)
    assert failed.returncode == 1, failed.stdout
    assert "test_cases.py::test_missing: Skipped: could not import 'no_such_package'" in failed.stdout
    assert session(tmp_path, missing, "-n", processes).returncode == 0


def test_a_file_skipped_whole_counts(tmp_path: Path) -> None:
    failed = session(
        tmp_path, 'import pytest\npytest.importorskip("no_such_package")\n' + CASES, "--no-unexpected-skips"
    )
    assert failed.returncode == 1, failed.stdout
    assert "test_cases.py: Skipped: could not import" in failed.stdout
