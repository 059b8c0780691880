"""Who may come in, what is taken, and what is said where a package or a permission is missing."""

import asyncio
import io
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

from seewhy.cli import main
from seewhy.errors import SeeWhyError
from seewhy.pages.door import Door, announce, listen, with_token
from seewhy.pages.guard import Guard
from seewhy.pages.jobs import OneAtATime, QueueFull, TookTooLong
from seewhy.pages.measured import Measured
from seewhy.pages.shell import scratch_folder
from seewhy.pages.uploads import LONGEST_NAME, opened, opened_file, shown_name

SECRET = "secret"


async def echo(scope, receive, send) -> None:
    """Answers with the length of what was sent."""
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


def ask(door: Door, path: str, *, host: str = "127.0.0.1", **more) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(echo, door, open_paths=("/health",)))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}:80") as client:
            return await client.request("POST", path, **more)

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/secret/x", {}, 200),
        ("/x", {"authorization": "Bearer secret"}, 200),
        ("/x", {"authorization": "Bearer secre"}, 401),
        ("/secretx/x", {}, 401),
        ("/x/secret", {}, 401),
        ("/", {}, 401),
        ("/health", {}, 200),
    ],
)
def test_only_the_secret_opens_the_door(path: str, headers: dict[str, str], status: int):
    assert ask(Door(token=SECRET), path, headers=headers).status_code == status


def test_a_local_door_knows_no_other_host_and_an_open_one_does():
    assert ask(Door(token=SECRET), "/secret/", host="evil.example").status_code == 421
    assert ask(Door(token="none"), "/", host="localhost").status_code == 200
    assert ask(Door(host="0.0.0.0", token=SECRET), "/secret/", host="lab.example").status_code == 200


def test_bytes_are_counted_where_no_length_is_given():
    door = Door(token=SECRET, max_mb=1)

    async def sent(count: int):
        for _ in range(count):
            yield b"x" * 100_000

    assert ask(door, "/secret/", content=sent(9)).text == "900000"
    assert ask(door, "/secret/", content=sent(40)).status_code == 413
    assert ask(door, "/secret/", content=b"x" * 4_000_000).status_code == 413
    assert "default-src 'self'" in ask(door, "/secret/").headers["content-security-policy"]


def test_what_is_opened_is_said(capsys: pytest.CaptureFixture[str]):
    announce(Door(token=SECRET), 1234, "Chat")
    told = capsys.readouterr().err
    assert "Chat: http://127.0.0.1:1234/secret/" in told
    assert "everyone" not in told
    announce(Door(host="0.0.0.0", token=SECRET), 1234, "Chat")
    assert "everyone who reaches port 1234 of this machine and who has this address" in capsys.readouterr().err
    announce(Door(host="0.0.0.0", token="none"), 1234, "Chat")
    assert "without any secret" in capsys.readouterr().err
    announce(Door(token="none"), 1234, "Chat")
    assert "no secret in the address" in capsys.readouterr().err


def test_a_token_is_new_each_time_and_a_taken_port_is_named():
    tokens = {with_token(Door()).secret for _ in range(3)}
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 20
    with listen(Door()) as taken, pytest.raises(SeeWhyError, match="give another --port"):
        listen(Door(port=taken.getsockname()[1]))


@pytest.mark.parametrize("verb", ["chat", "serve"])
def test_chat_and_serve_without_their_packages_name_the_extra(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for package in ("gradio", "fastapi"):
        monkeypatch.setitem(sys.modules, package, None)
    assert main([verb, "nowhere"]) == 1
    assert "pip install 'seewhy[pages]'" in capsys.readouterr().err


def image_bytes(size: tuple[int, int], form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, form)
    return buffer.getvalue()


def test_uploads_are_bounded_and_of_known_formats(tmp_path: Path):
    door = Door(max_mb=1, max_megapixels=1)
    assert opened(image_bytes((900, 900)), "a.png", door).size == (900, 900)
    for data, words in (
        (image_bytes((1100, 1000)), "more than 1,000,000"),
        (image_bytes((1100, 1000), "JPEG"), "more than 1,000,000"),
        (image_bytes((20, 20), "PDF"), "not an image"),
        (image_bytes((20, 20), "EPS"), "not an image"),
        (b"x" * 1_000_001, "more than 1"),
        (b"", "is empty"),
        (image_bytes((900, 900))[:200], "corrupt or truncated"),
    ):
        path = tmp_path / "upload"
        path.write_bytes(data)
        with pytest.raises(SeeWhyError, match=words):
            opened(data, "a.png", door)
        with pytest.raises(SeeWhyError, match=words):
            opened_file(path, door)
    with pytest.raises(SeeWhyError, match="is gone"):
        opened_file(tmp_path / "other", door)


def test_a_senders_name_is_one_short_line():
    assert shown_name("a\nb\x1b[31m.png") == "a b [31m.png"
    assert len(shown_name("x" * 500)) == LONGEST_NAME
    assert shown_name("\x00") == "The image"


def test_jobs_run_one_at_a_time_and_some_wait():
    running, most, lock = 0, 0, threading.Lock()

    def job() -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return threading.get_ident()

    async def several() -> list[int | BaseException]:
        jobs = OneAtATime(3, 30.0)
        return await asyncio.gather(*(jobs.run(job) for _ in range(6)), return_exceptions=True)

    found = asyncio.run(several())
    assert most == 1
    assert sum(isinstance(one, QueueFull) for one in found) == 2
    assert len({one for one in found if isinstance(one, int)}) == 1


def test_a_job_that_waits_too_long_never_runs():
    ran: list[str] = []

    async def two() -> tuple[int, list[str | BaseException]]:
        jobs = OneAtATime(3, 0.2)
        first = jobs.run(lambda: time.sleep(0.5) or ran.append("first") or "first")
        second = jobs.run(lambda: ran.append("second") or "second")
        found = await asyncio.gather(first, second, return_exceptions=True)
        await asyncio.sleep(0.6)
        return jobs.inside, list(found)

    inside, found = asyncio.run(two())
    assert [type(one) for one in found] == [TookTooLong, TookTooLong]
    assert (ran, inside) == (["first"], 0)


def test_a_job_that_outlives_its_page_ends_in_silence(caplog: pytest.LogCaptureFixture):
    ended = threading.Event()

    async def left_behind() -> OneAtATime:
        jobs = OneAtATime(0, 0.05)
        with pytest.raises(TookTooLong):
            await jobs.run(lambda: ended.wait(5))
        return jobs

    jobs = asyncio.run(left_behind())
    ended.set()
    jobs._thread.shutdown()
    assert not caplog.records


def test_metrics_are_text_that_prometheus_reads():
    measured = Measured()
    for status, seconds in ((200, 0.2), (200, 3.0), (400, 0.01)):
        measured.count(status, seconds)
    lines = measured.text(2).splitlines()
    assert 'seewhy_requests_total{status="200"} 2' in lines
    assert 'seewhy_seconds_bucket{le="0.25"} 1' in lines
    assert 'seewhy_seconds_bucket{le="+Inf"} 2' in lines
    assert "seewhy_seconds_count 2" in lines
    assert "seewhy_waiting 2" in lines
    assert all(line.startswith("#") or float(line.rpartition(" ")[2]) >= 0 for line in lines)


def test_scratch_is_removed_and_follows_no_link(tmp_path: Path):
    with scratch_folder(tmp_path) as folder:
        (folder / "upload").touch()
        assert folder.is_relative_to(tmp_path / "scratch")
    assert list(tmp_path.iterdir()) == []
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = tmp_path / "run"
    run.mkdir()
    (run / "scratch").symlink_to(elsewhere)
    with pytest.raises(SeeWhyError, match="leads out of"), scratch_folder(run):
        pass
