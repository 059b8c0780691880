"""The review page in headless Chromium, by keyboard: no verdict lost or doubled, whatever happens meanwhile."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import browser
from accessibility import AXE, serious
from browser import Browser, Tab
from made_up_review import run_to_review
from seewhy.domain.verdicts import read_verdicts, standing
from seewhy.pages.reviewing import Reviewing
from seewhy.run import storage
from seewhy.run.finished import FinishedRun

pytest.importorskip("gradio", reason="the extra 'pages' is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]
SOURCE = Path(storage.__file__).parents[2]
PATIENCE = 90.0


class Served:
    """`seewhy review` in a process of its own, always under the same address."""

    def __init__(self, run: Path, port: int = 0) -> None:
        command = [sys.executable, "-m", "seewhy", "review", str(run), "--token", "secret", "--port", str(port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )  # fmt: skip
        assert self.process.stdout
        seen = ""
        for line in self.process.stdout:
            seen += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/secret/", line):
                self.url, self.port = found[0], int(found[1])
                return
        raise AssertionError(seen)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not (found := browser.find()):
        pytest.skip("no Chromium is installed")
    with Browser(found) as opened:
        yield opened


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page of a run with sixty verdicts, some of two people."""
    run = run_to_review(tmp_path_factory.mktemp("reviewed"), train=40)
    opened = FinishedRun.open(run)
    reviewing = Reviewing(opened, opened.verdicts_file)
    for number, name in enumerate(reviewing.order.images[:20]):
        for concept in reviewing.order.asked[name]:
            assert reviewing.judge("Jörg", name, concept, "wrong" if number % 5 == 0 else "right")
    for name in reviewing.order.images[:4]:
        assert reviewing.judge("Eve", name, reviewing.order.asked[name][0], "hidden")
    served = Served(run)
    yield served
    served.kill()


def go(tab: Tab, url: str, who: str) -> None:
    """Open the page as somebody and wait for its first image."""
    tab.call("Page.navigate", url=url)
    until(tab, "!!document.querySelector('[data-name]')")
    tab.evaluate(
        f"(() => {{ const n = document.querySelector('[data-name]'); n.value = '{who}';"
        " n.dispatchEvent(new Event('change')); })()"
    )
    until(tab, "!!document.querySelector('li[data-concept]')")


def until(tab: Tab, condition: str) -> None:
    end = time.monotonic() + PATIENCE
    while not tab.evaluate(condition):
        if time.monotonic() > end:
            raise AssertionError(f"{condition} is not so: {tab.evaluate('document.body.innerText')[:2000]}")
        time.sleep(0.05)


def press(tab: Tab, key: str) -> None:
    """Press a key that writes a letter or digit."""
    code = f"Digit{key}" if key.isdigit() else f"Key{key.upper()}"
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=ord(key.upper()))


def count(tab: Tab) -> int:
    return int(tab.evaluate("document.querySelector('[data-root]')?.dataset.count") or 0)


def said(run: Path, who: str) -> list[tuple[str, str, str]]:
    path = run.parent / "verdicts.jsonl"
    return [(v.image, v.concept, v.verdict) for v in standing(read_verdicts(path)) if v.who == who]


def test_twenty_verdicts_by_keyboard(tmp_path: Path, chromium: Browser) -> None:
    run = run_to_review(tmp_path)
    served = Served(run)
    tab, other = chromium.tab(), chromium.tab(width=400)
    try:
        go(tab, served.url, "Ada")
        for n in range(20):
            press(tab, str(1 + n % 3))  # without waiting: keys queue up
        until(tab, "document.querySelector('[data-root]')?.dataset.count == '20'")
        first = said(run, "Ada")
        assert len(first) == len({(image, concept) for image, concept, _ in first}) == 20
        assert [verdict for _, _, verdict in first] == ["right", "wrong", "hidden"] * 6 + ["right", "wrong"]

        press(tab, "u")
        until(tab, "document.querySelector('[data-root]')?.dataset.count == '19'")
        assert said(run, "Ada") == first[:19]

        tab.evaluate("window.isOld = true")
        tab.call("Page.reload")
        until(tab, "!window.isOld && document.querySelector('[data-root]')?.dataset.count == '19'")
        press(tab, "1")
        until(tab, "document.querySelector('[data-root]')?.dataset.count == '20'")
        assert said(run, "Ada")[19][:2] == first[19][:2]

        go(other, served.url, "Jörg")  # two at once, in two tabs
        for _ in range(10):
            press(tab, "1")
            press(other, "2")
        until(tab, "document.querySelector('[data-root]')?.dataset.count == '30'")
        until(other, "document.querySelector('[data-root]')?.dataset.count == '10'")
        assert len(set(said(run, "Ada"))) == 30
        assert len(set(said(run, "Jörg"))) == 10

        served.kill()
        press(tab, "1")
        until(tab, "document.querySelector('[data-status]').textContent.startsWith('Not saved')")
        assert count(tab) == 30
        assert len(said(run, "Ada")) == 30
        served = Served(run, served.port)
        press(tab, "1")
        until(tab, "document.querySelector('[data-root]')?.dataset.count == '31'")
        assert len(set(said(run, "Ada"))) == 31
    finally:
        served.kill()


@pytest.mark.parametrize(("width", "dark"), [(400, False), (400, True), (1200, False), (1200, True)])
def test_the_page_is_whole_at_every_width_and_asks_nobody_else(
    reviewed: Served, chromium: Browser, tmp_path: Path, *, width: int, dark: bool
) -> None:
    shots = Path(os.environ.get("SEEWHY_SCREENSHOTS", str(tmp_path)))
    tab = chromium.tab(width=width, dark=dark)
    go(tab, reviewed.url, "Ada")
    press(tab, "1")
    until(tab, "/^(Saved|Already)/.test(document.querySelector('[data-status]').textContent)")
    tab.evaluate("document.querySelector('button[data-do=edit]').closest('details').open = true")
    tab.evaluate("document.querySelector('button[data-do=edit]').click()")
    until(tab, "!!document.querySelector('button[data-do=struck]')")
    assert tab.evaluate("!window.alerted && document.querySelectorAll('[data-root] img[src=x]').length === 0")
    look(tab, shots / f"train-{width}-{'dark' if dark else 'light'}.png", width)
    for part, marker in (("test", "form.seewhy-marks"), ("summary", "section[aria-label^=What]")):
        tab.evaluate(f"document.querySelector('button[data-do=go][data-value={part}]').click()")
        until(tab, f"!!document.querySelector('{marker}')")
        look(tab, shots / f"{part}-{width}-{'dark' if dark else 'light'}.png", width)
    assert {url.split("/")[2] for url in tab.requests if url.startswith("http")} == {f"127.0.0.1:{reviewed.port}"}
    assert tab.complaints == []


def look(tab: Tab, shot: Path, width: int) -> None:
    """Take a picture of the page, which fits its width, names all that can be used, and has no serious fault."""
    tab.screenshot(shot)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = (
        "[...document.querySelectorAll('[data-root] button, [data-root] input, [data-root] img')].filter((e) =>"
        " !(e.textContent.trim() || e.getAttribute('aria-label') || e.alt || e.closest('label'))).length"
    )
    assert tab.evaluate(unnamed) == 0
    if AXE is None:
        pytest.skip("axe-core is not installed: see tests/accessibility.py")
    assert serious(tab) == []
