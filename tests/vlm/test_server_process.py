"""A started server: waited for, ended with all that it started, however the run ends."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import fake_server
from fake_server import has_ended, is_gone
from seewhy.errors import SeeWhyError
from seewhy.vlm.server import process as server_process
from seewhy.vlm.server.process import command_line, start

pytestmark = pytest.mark.server

FAKE = f"{sys.executable} {fake_server.__file__} --port {{port}}"
SOURCE = Path(server_process.__file__).parents[2]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "server" / "log.txt"


def test_it_is_waited_for_and_ends_with_its_children(log: Path):
    process, url = start(FAKE + " --delay 0.5 --child", {}, log, port=0, seconds=120)
    try:
        assert not process.ended(within=0)
        assert url.startswith("http://localhost:")
        assert url.endswith("/v1")
        assert "listening on" in process.tail()
        assert not is_gone(process.group, within=0.1)
    finally:
        process.stop()
    assert is_gone(process.group)
    assert process.ended(within=0)
    process.stop()  # once more is no mistake


def test_one_that_does_not_listen_to_sigterm_is_killed(log: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_process, "GRACE", 0.3)
    process, _ = start(FAKE + " --stubborn --child", {}, log, port=0, seconds=120)
    process.stop()
    assert is_gone(process.group)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_orphan_is_left_whatever_ends_the_run(log: Path, ending: signal.Signals):
    program = textwrap.dedent("""
        import signal, sys, time
        from pathlib import Path
        from seewhy.vlm.server.process import start
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        process, _ = start(sys.argv[1], {}, Path(sys.argv[2]), port=0, seconds=120)
        print(process.group, flush=True)
        time.sleep(600)
    """)
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", program, FAKE + " --child", str(log)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as run:
        assert run.stdout is not None
        group = int(run.stdout.readline())
        assert not is_gone(group, within=0.1)
        run.send_signal(ending)
    assert is_gone(group)


def test_a_server_that_is_forgotten_ends(log: Path):
    process, _ = start(FAKE, {}, log, port=0, seconds=120)
    group = process.group
    del process
    assert is_gone(group)


def daemon_of(file: Path) -> int:
    """The id of the process that the fake server has let go, in a session of its own."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if file.exists() and (text := file.read_text()):
            return int(text)
        time.sleep(0.05)
    raise AssertionError("the fake server has no daemon")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere than on Linux nobody adopts orphans")
@pytest.mark.parametrize("ending", ["stop", "outer", "inner", "server"])
def test_what_has_left_the_process_group_ends_too(log: Path, tmp_path: Path, ending: str):
    """Even where one of the watchdogs is killed."""
    file = tmp_path / "daemon"
    process, _ = start(f"{FAKE} --daemon {file}", {}, log, port=0, seconds=120)
    daemon = daemon_of(file)
    assert not has_ended(daemon, within=0.1)
    outer = process.group
    (inner,) = children(outer)
    (server, *_) = (child for child in children(inner) if child != daemon)
    if ending != "stop":
        os.kill({"outer": outer, "inner": inner, "server": server}[ending], signal.SIGKILL)
        assert process.ended(within=20)
    else:
        process.stop()
    assert has_ended(daemon)
    assert has_ended(server)
    assert is_gone(outer)
    process.stop()


def children(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(row.split()[0]) for row in listed.splitlines() if int(row.split()[1]) == process]


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("serve --port {port}", ""),
        ("serve --api-key a-b", "a-b"),
        ("serve --api-key=a=b -x", "a=b"),
        ("x --api-key", ""),
    ],
)
def test_the_key_that_a_server_is_started_with(command: str, key: str):
    assert server_process.key_in(command) == key


def test_the_log_is_for_this_user_alone_and_has_no_key(log: Path):
    log.parent.mkdir()
    log.touch(0o644)
    with pytest.raises(SeeWhyError, match="ended before it answered") as error:
        start("sh -c 'echo {port} with the key: $2' --api-key abc-of-the-server", {}, log, port=0, seconds=20)
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.read_text().startswith("$ sh -c ")
    assert "abc-of-the-server" not in log.read_text().splitlines()[0]
    assert "abc-of-the-server" not in str(error.value)


def test_one_that_ends_at_once_shows_its_last_lines(log: Path):
    command = f"{sys.executable} -c \"raise SystemExit('no such model')\" {{port}}"
    with pytest.raises(SeeWhyError, match=r"(?s)ended before it answered.*no such model.*exit code 1.*log\.txt"):
        start(command, {}, log, port=0, seconds=120)


def test_one_that_takes_too_long_is_ended(log: Path, monkeypatch: pytest.MonkeyPatch):
    groups = []

    class Noted(server_process.ServerProcess):
        def stop(self) -> None:
            groups.append(self.group)
            super().stop()

    monkeypatch.setattr(server_process, "ServerProcess", Noted)
    with pytest.raises(SeeWhyError, match=r"within 0\.6 seconds: raise model\.engine\.start_timeout"):
        start(FAKE + " --delay 60", {}, log, port=0, seconds=0.6)
    assert is_gone(groups[0])


def test_the_log_of_an_earlier_start_is_kept_but_not_shown(log: Path):
    for word in ("first", "second"):
        with pytest.raises(SeeWhyError) as raised:
            start(f"{sys.executable} -c \"raise SystemExit('{word}')\" {{port}}", {}, log, port=0, seconds=120)
    assert "second" in str(raised.value)
    assert "first" not in str(raised.value)
    assert "first" in log.read_text()


def test_a_given_port_that_is_in_use(log: Path):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SeeWhyError, match=f"Port {port} is in use.*model.engine.port"):
            start(FAKE, {}, log, port=port, seconds=120)
    assert not log.exists()


def test_a_free_port_that_is_taken_meanwhile(log: Path, tmp_path: Path):
    process, _ = start(
        f"{FAKE} --in-use {tmp_path / 'in use'!s}".replace("in use", "in_use"), {}, log, port=0, seconds=20
    )
    process.stop()
    assert log.read_text().count("$ ") == 2
    assert "Address already in use" in log.read_text()


def test_there_is_no_such_program(log: Path):
    with pytest.raises(SeeWhyError, match="no program vllm-of-yore to start a server with"):
        start("vllm-of-yore serve {port}", {}, log, port=0, seconds=120)


def test_a_path_with_spaces_stays_one_word():
    words = command_line("serve {model} --port={port} 'a b' {{x}}", {"model": "/my models/one", "port": "80"})
    assert words == ["serve", "/my models/one", "--port=80", "a b", "{x}"]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("serve {modell} {port}", r"'modell'.*\{model\}, \{port\}"),
        ("serve {0} {port}", "cannot be read"),
        ("serve 'a {port}", "No closing quotation"),
        ("serve {port", "cannot be read"),
        ("serve {model}", "does not say {port}"),
        ("", "is empty"),
    ],
)
def test_a_command_that_cannot_be_read(template: str, problem: str):
    with pytest.raises(SeeWhyError, match=problem):
        command_line(template, {"model": "m", "port": "80"})
