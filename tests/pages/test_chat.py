"""`seewhy chat` in a real headless Chromium: photo, question, answer, overlays, follow-up, and what is refused."""

import io
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the extra pages is not installed")

from accessibility import AXE, serious
from browser import Browser, Tab, find
from page_runs import TOKEN, Served, guide_run, serving

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(find() is None, reason="no chromium on the path; set CHROMIUM to one"),
]

FILE, TEXT, SAID = "#ask input[type=file]", "#ask textarea", "document.querySelectorAll('.seewhy-said').length"
PROBLEM = "document.querySelector('[role=alert]')?.textContent ?? ''"
EVIL = "<img src=x onerror=document.title='evil'> ${document.title='evil'} {{evil}}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guide_run(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Served]:
    with serving("chat", str(run), "--token", TOKEN, "--max_mb", "2", "--max_megapixels", "20") as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(str(find())) as browser:
        yield browser


@pytest.fixture(autouse=True)
def no_tabs_stay(browser: Browser) -> Iterator[None]:
    yield
    browser.close_tabs()


def photo(run: Path, number: int = 0) -> Path:
    return sorted((run / "fieldguide" / "images" / "test").rglob("*.png"))[number]


def opened(browser: Browser, server: Served, *, width: int = 1200, dark: bool = False) -> Tab:
    tab = browser.tab(width=width, dark=dark)
    tab.go(server.url)
    tab.wait(f"document.querySelector({TEXT!r})")
    time.sleep(0.5)  # the page's scripts take hold of what is there
    return tab


def ask(tab: Tab, path: Path | None = None, question: str = "", *, answers: int) -> None:
    """Add a photo, write a question and press Enter; wait until so many answers are on the page."""
    if path:
        tab.choose_file(FILE, path)
        tab.wait("document.querySelector('#ask .thumbnail-item, #ask .file-icon')")
    tab.evaluate(f"document.querySelector({TEXT!r}).focus()")
    if question:
        tab.type(question)
    tab.press("Enter")
    tab.wait(f"{SAID} === {answers}", 120)


def complaint(tab: Tab, path: Path | None, question: str = "") -> str:
    """Ask what is refused and return what the page says."""
    if path:
        tab.choose_file(FILE, path)
        tab.wait("document.querySelector('#ask .thumbnail-item')")
    tab.evaluate(f"document.querySelector({TEXT!r}).focus()")
    if question:
        tab.type(question)
    tab.press("Enter")
    tab.wait(PROBLEM, 60)
    return tab.evaluate(PROBLEM)


def test_chat_names_reasons_and_shows_where_each_is(
    browser: Browser, server: Served, run: Path, capsys: pytest.CaptureFixture[str]
):
    tab = opened(browser, server)
    tab.choose_file(FILE, photo(run))
    tab.wait("document.querySelector('#ask .thumbnail-item')")
    tab.evaluate(f"document.querySelector({TEXT!r}).focus()")
    cpu, begun = server.cpu_seconds(), time.monotonic()
    tab.press("Enter")
    tab.wait("document.querySelector('.seewhy-live')")
    first = time.monotonic() - begun
    tab.wait(f"{SAID} === 1", 120)
    took, cpu = time.monotonic() - begun, server.cpu_seconds() - cpu
    with capsys.disabled():
        print(
            f"\nchat: first words after {first:.1f} s, first photo explained after {took:.1f} s "
            f"({cpu:.1f} s of processor time)"
        )
    assert cpu < 3, "three seconds of one core"
    radios = tab.evaluate("document.querySelectorAll('.seewhy-said input').length")
    assert radios > 1
    shown = "[...document.querySelectorAll('.seewhy-veil')].map(v => Number(getComputedStyle(v).opacity))"
    assert set(tab.evaluate(shown)) == {0}
    tab.evaluate("document.querySelector('.seewhy-said input').focus()")
    tab.press("ArrowDown")
    tab.wait(f"{shown}[0] === 1")
    assert sum(tab.evaluate(shown)) == 1
    tab.press("ArrowUp")
    tab.wait(f"{shown}[0] === 0")
    assert tab.complaints == []
    assert {url.split("/")[2] for url in tab.requests if not url.startswith("blob:")} == {server.url.split("/")[2]}


def test_chat_asks_models_side_by_side_and_goes_on(browser: Browser, server: Served, run: Path):
    tab = opened(browser, server)
    tab.evaluate("[...document.querySelectorAll('#models input')].filter(i => !i.checked).forEach(i => i.click())")
    ask(tab, photo(run), answers=3)
    models = "[...document.querySelectorAll('.seewhy-model')].map(m => m.textContent)"
    assert sorted(tab.evaluate(models)) == ["base", "round 1", "round 2"]
    ask(tab, question="Describe the bird.", answers=6)
    heads = "[...document.querySelectorAll('.seewhy-turn h2')].map(h => h.textContent)"
    assert tab.evaluate(heads)[0] == "Describe the bird."
    other = opened(browser, server)  # another tab knows nothing of it
    assert "There is no photo yet" in complaint(other, None, "What is it?")
    assert tab.evaluate(SAID) == 6


def test_chat_refuses_what_it_cannot_show_and_runs_nothing(browser: Browser, server: Served, run: Path, tmp_path: Path):
    tab = opened(browser, server)
    nothing, huge, evil = tmp_path / "nothing.png", tmp_path / "huge.png", tmp_path / f"{EVIL.replace('/', '')}.png"
    nothing.write_bytes(b"no image at all")
    Image.new("1", (10_000, 10_000)).save(huge)
    shutil.copy(nothing, evil)
    assert "not an image that Pillow can read" in complaint(tab, nothing)
    tab = opened(browser, server)
    assert "has 10000 x 10000 pixels, more than 20,000,000" in complaint(tab, huge)
    tab = opened(browser, server)
    assert "not an image" in complaint(tab, evil)
    tab = opened(browser, server)
    ask(tab, photo(run), EVIL, answers=1)
    assert tab.evaluate("document.querySelector('.seewhy-turn h2').textContent") == EVIL
    assert tab.evaluate("document.title") != "evil"
    assert tab.complaints == []


def test_chat_keeps_uploads_in_its_scratch_and_opens_no_other_file(server: Served, run: Path):
    root = server.url.removesuffix(f"{TOKEN}/")
    assert httpx.get(root).status_code == 401
    assert httpx.get(f"{root}wrong-token/").status_code == 401
    for path in (run / "manifest.json", Path("/etc/passwd")):
        assert httpx.get(f"{server.url}gradio_api/file={path}").status_code in (403, 404)
    buffer = io.BytesIO()
    Image.effect_noise((1500, 1500), 90).save(buffer, "PNG")
    sent = httpx.post(f"{server.url}gradio_api/upload", files={"files": ("a.png", buffer.getvalue())})
    assert buffer.tell() < 2_000_000 or sent.status_code == 413
    assert httpx.post(f"{server.url}gradio_api/upload", files={"files": ("a.png", b"x" * 3_000_000)}).status_code == 413
    kept = httpx.post(f"{server.url}gradio_api/upload", files={"files": ("a.png", b"x")}).json()
    assert Path(kept[0]).is_relative_to(run / "scratch")
    headers = httpx.get(server.url).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(("width", "dark"), [(400, False), (400, True), (1200, False), (1200, True)])
def test_chat_fits_and_can_be_used_without_a_mouse_or_eyes(
    browser: Browser,
    server: Served,
    run: Path,
    width: int,
    dark: bool,  # noqa: FBT001
):
    tab = opened(browser, server, width=width, dark=dark)
    ask(tab, photo(run), answers=1)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.complaints == []
    if AXE is None:
        pytest.skip("axe-core is not installed: see tests/accessibility.py")
    assert serious(tab) == []


def test_chat_by_keyboard_alone(browser: Browser, server: Served, run: Path):
    tab = opened(browser, server)
    tab.choose_file(FILE, photo(run))  # the dialogue of the system
    tab.wait("document.querySelector('#ask .thumbnail-item')")
    reached = []
    for _ in range(12):
        tab.press("Tab")
        reached.append(tab.evaluate("document.activeElement.type || document.activeElement.tagName"))
        if reached[-1] == "textarea":
            break
    assert "checkbox" in reached
    assert reached[-1] == "textarea"
    tab.press("Enter")
    tab.wait(f"{SAID} === 1", 120)
    for _ in range(12):
        tab.press("Tab")
        if tab.evaluate("document.activeElement.type") == "radio":
            break
    assert tab.evaluate("document.activeElement.closest('.seewhy-said') !== null")


def test_chat_leaves_the_run_as_it_was(tmp_path: Path):
    run = guide_run(tmp_path)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with serving("chat", str(run), "--token", TOKEN) as served:
        assert (run / "scratch").is_dir()
        assert httpx.get(served.url).status_code == 200
    assert served.process.returncode == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert not (run / "scratch").exists()
