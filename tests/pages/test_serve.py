"""`seewhy serve`: what it answers, what it refuses, and that clients neither wait for nor mix with one another."""

import hashlib
import io
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the extra pages is not installed")

from page_runs import TOKEN, Served, guide_run, serving
from seewhy.cli import main

pytestmark = [pytest.mark.server, pytest.mark.slow]

CLIENTS, REQUESTS, BROKEN = 8, 200, 0.05
FLAT = 1.1
"""How much the memory may grow from the first quarter of the requests to the last."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guide_run(tmp_path_factory.mktemp("serve"), tokens=12)


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Served]:
    given = ("--token", TOKEN, "--samples", "1", "--max_mb", "2", "--max_megapixels", "20", "--queue", "8")
    with serving("serve", str(run), *given, "--port", "0", "--seconds", "90") as served:
        yield served


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=120) as client:
        yield client


def photos(run: Path) -> list[Path]:
    return sorted((run / "fieldguide" / "images" / "test").rglob("*.png"))


def test_serve_says_what_explain_says(run: Path, client: httpx.Client, capsys: pytest.CaptureFixture[str]):
    photo = photos(run)[0]
    assert main(["explain", str(run), str(photo), "--samples", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)[0]
    for answer in (
        client.post("explain", content=photo.read_bytes()),
        client.post("explain", files={"image": ("photo.png", photo.read_bytes(), "image/png")}),
    ):
        found = answer.json()
        assert answer.status_code == 200
        for name in ("label", "confidence", "answer", "sampled", "no_overlay"):
            assert found[name] == told[name], name
        assert [(r["concept"], r["support"]) for r in found["reasons"]] == [
            (r["concept"], r["support"]) for r in told["reasons"]
        ]
        assert found["reasons"]
        assert found["sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
        width, height = found["size"]["width"], found["size"]["height"]
        for reason in found["reasons"]:
            left, top, right, bottom = reason["box"]
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


def test_serve_needs_its_token(server: Served, run: Path):
    root = server.url.removesuffix(f"{TOKEN}/")
    data = photos(run)[0].read_bytes()
    assert httpx.get(f"{root}health").json() == {"status": "ok"}
    for path in ("metrics", "docs", "openapi.json"):
        assert httpx.get(f"{root}{path}").status_code == 401
    assert httpx.post(f"{root}explain", content=data).status_code == 401
    wrong = {"authorization": "Bearer another"}
    assert httpx.post(f"{root}explain", content=data, headers=wrong).status_code == 401
    right = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{root}metrics", headers=right).status_code == 200
    assert httpx.get(f"{root}health", headers={"host": "evil.example"}).status_code == 421


def huge() -> bytes:
    """A hundred megapixels in a few kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"", 400, "is empty"),
        (b"no image at all", 400, "not an image that Pillow can read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", 400, "not an image that Pillow can read"),
        (huge(), 400, "has 10000 x 10000 pixels, more than 20,000,000"),
        (b"\xff" * 3_000_000, 413, "More than 2 MB"),
    ],
)
def test_serve_refuses_what_is_no_image_or_too_much(client: httpx.Client, content: bytes, status: int, text: str):
    answer = client.post("explain", content=content)
    assert (answer.status_code, text in answer.text) == (status, True), answer.text


def test_serve_refuses_questions_and_forms_that_cannot_be_put(client: httpx.Client, run: Path):
    data = photos(run)[0].read_bytes()
    marked = client.post("explain", params={"question": "What is <image> this?"}, content=data)
    assert marked.status_code == 422
    assert "marker" in marked.json()["error"]
    assert client.post("explain", params={"question": "?" * 5000}, content=data).status_code == 422
    assert client.post("explain", files={"photo": ("a.png", data)}).status_code == 400
    broken = client.post("explain", content=b"xx", headers={"content-type": "multipart/form-data"})
    assert broken.status_code == 400


def test_serve_describes_itself_without_scripts(client: httpx.Client):
    schema = client.get("openapi.json").json()
    assert {"/explain", "/health", "/metrics"} <= set(schema["paths"])
    assert "Answered" in schema["components"]["schemas"]
    page = client.get("docs").text
    assert "<script" not in page
    assert "src=" not in page
    assert "/explain" in page


def test_serve_with_eight_clients_broken_images_and_one_that_hangs(
    server: Served, client: httpx.Client, run: Path, capsys: pytest.CaptureFixture[str]
):
    images = [path.read_bytes() for path in photos(run)]
    expected = {hashlib.sha256(data).hexdigest(): None for data in images}
    chance = Random(0)
    broken = set(chance.sample(range(REQUESTS), round(BROKEN * REQUESTS)))
    lock, memory, answers = threading.Lock(), [], dict[str, set[str]]()
    statuses: Counter[int] = Counter()

    def ask(number: int) -> None:
        data = images[number % len(images)]
        sent = data[: len(data) // 2] if number in broken else data
        with httpx.Client(base_url=server.url, timeout=120) as own:
            answer = own.post("explain", content=sent)
        with lock:
            statuses[answer.status_code] += 1
            memory.append(resident(client))
            if answer.status_code == 200:
                found = answer.json()
                assert found["sha256"] == hashlib.sha256(sent).hexdigest()
                answers.setdefault(found["sha256"], set()).add(json.dumps(found, sort_keys=True))
            else:
                assert number in broken
                assert "error" in answer.json()

    host, port = server.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as hanging:
        head = f"POST /{TOKEN}/explain HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100000\r\n\r\nhalf"
        hanging.sendall(head.encode())
        begun = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(ask, range(REQUESTS)))
        seconds = time.monotonic() - begun
    assert statuses == {200: REQUESTS - len(broken), 400: len(broken)}
    assert answers.keys() == expected.keys()
    assert all(len(told) == 1 for told in answers.values()), "an image was answered in two ways"
    assert len(set().union(*answers.values())) == len(images)
    quarter = len(memory) // 4
    first, last = (float(np.median(part)) for part in (memory[:quarter], memory[-quarter:]))
    with capsys.disabled():
        print(
            f"\nserve: {REQUESTS} requests of {CLIENTS} clients in {seconds:.0f} s, {len(broken)} broken ones refused; "
            f"memory {first / 2**20:.0f} MiB at first, {last / 2**20:.0f} at last"
        )
    assert last < FLAT * first
    counted = client.get("metrics").text
    assert 'seewhy_requests_total{status="200"}' in counted
    assert "seewhy_waiting 0" in counted


def resident(client: httpx.Client) -> float:
    lines = client.get("metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes "))


def test_serve_tells_who_comes_too_many_and_who_is_too_slow(run: Path):
    data = photos(run)[0].read_bytes()
    given = ("--token", TOKEN, "--queue", "0", "--seconds", "2", "--samples", "2")
    with serving("serve", str(run), *given, "--port", "0") as served:
        host, port = served.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as hanging:
            hanging.settimeout(30)
            head = f"POST /{TOKEN}/explain HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100\r\n\r\nhalf"
            hanging.sendall(head.encode())
            assert b" 408 " in hanging.recv(4096)
        with ThreadPoolExecutor(6) as pool:
            jobs = [pool.submit(httpx.post, f"{served.url}explain", content=data, timeout=60) for _ in range(6)]
            found = Counter(job.result().status_code for job in jobs)
        assert found[429] >= 1
        assert set(found) <= {200, 429, 504}
    assert served.process.returncode == 0
    assert not list((run / "scratch").glob(f"{served.process.pid}-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no run folder"),
        (["RUN", "--round", "7"], "has no model of round 7"),
        (["RUN", "--port", "99999"], "ports end at 65535"),
        (["RUN", "--token", "a/b"], "A token (--token) takes letters"),
        (["RUN", "--host", "256.1.1.1"], "cannot be opened"),
    ],
)
def test_serve_says_what_is_wrong(run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["serve", *(str(run) if given == "RUN" else given for given in arguments)]) == 1
    assert message in capsys.readouterr().err
