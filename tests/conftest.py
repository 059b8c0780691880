"""The option `--no-unexpected-skips`: a test may be skipped for what the machine is, not for what is not installed.

And what holds for each test.
"""

import re
from collections.abc import Iterator

import pytest

import torchvision_ops  # noqa: F401 -- before anything imports transformers
from seewhy import words

PLATFORM = re.compile(
    r"\bGPU\b|shared/data|needs root|no small disk can be mounted|this file system|other systems|/proc\b"
)
"""The reasons that a machine may have: no GPU, no shared data, no root, another operating or file system."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-unexpected-skips",
        action="store_true",
        help="fail where a test is skipped for another reason than the platform, such as a package that is missing",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--no-unexpected-skips") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skips(), "unexpected-skips")


class Skips:
    """Collects the skips of a session, and fails it where one is unexpected."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(report, "wasxfail"):
            self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            self._reasons[report.nodeid] = report.longrepr[2]

    def _unexpected(self) -> Iterator[tuple[str, str]]:
        return ((test, reason) for test, reason in sorted(self._reasons.items()) if not PLATFORM.search(reason))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if any(self._unexpected()) and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        unexpected = list(self._unexpected())
        if unexpected:
            terminalreporter.section("unexpected skips", red=True)
        for test, reason in unexpected:
            terminalreporter.line(f"{test}: {reason}", red=True)


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test has remembered as a secret is a plain word here."""
    monkeypatch.setattr(words, "_known", set())
