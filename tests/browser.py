"""A real headless Chromium for the tests of the page, spoken to over the DevTools protocol's pipe: no library, no port.

with Browser(find()) as browser:
    tab = browser.tab(width=360)
    tab.open(path)
    tab.evaluate("document.title")
    tab.events["Network.requestWillBeSent"]
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60.0
"""Seconds to wait for one answer."""


def find() -> str | None:
    """The first Chromium on the path, or the one that $CHROMIUM names."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser with a profile of its own, which goes when it is closed."""

    def __init__(self, binary: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="seewhy-browser-")
        reads, self._to = os.pipe()
        self._from, writes = os.pipe()

        def at_three_and_four() -> None:
            kept = os.dup(reads), os.dup(writes)  # which may themselves be 3 or 4
            for place, end in zip((3, 4), kept, strict=True):
                os.dup2(end, place)
                os.set_inheritable(place, True)  # noqa: FBT003

        switches = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        switches += ["--remote-debugging-pipe", f"--user-data-dir={self._profile}", "about:blank"]
        silent: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
        }
        self._process = subprocess.Popen(
            [binary, *switches], preexec_fn=at_three_and_four, close_fds=False, start_new_session=True, **silent
        )
        os.close(reads)
        os.close(writes)
        self._buffer, self._number = b"", 0
        self.tabs: dict[str, Tab] = {}

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def tab(self, *, width: int = 1200, height: int = 900, dark: bool = False) -> "Tab":
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self.tabs[session] = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.call("Emulation.setEmulatedMedia", features=[scheme])
        return tab

    def close_tabs(self) -> None:
        """Close every tab: an open page of Gradio keeps a connection, and a browser has six to a server."""
        for target in self.call("Target.getTargets")["targetInfos"]:
            if target["type"] == "page" and target["url"] != "about:blank":
                self.call("Target.closeTarget", targetId=target["targetId"])
        self.tabs.clear()

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """The result of a command. Raises RuntimeError for one that is refused."""
        self._number += 1
        sent = self._number
        message = {"id": sent, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != sent:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        """The next message; an event is noted in its tab."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium said nothing for {PATIENCE:.0f} seconds.")
            if not (more := os.read(self._from, 2**16)):
                raise RuntimeError("Chromium closed its pipe.")
            self._buffer += more
        first, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(first)
        if "method" in message and (tab := self.tabs.get(message.get("sessionId"))):
            tab.events[message["method"]].append(message["params"])
        return message


class Tab:
    """One page. `events` holds what it reported, by the name of the event."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.events: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def open(self, path: Path, *, scripts: bool = True) -> None:
        """Load a file and wait until it is there; without `scripts` as in a browser that runs none."""
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.go(path.absolute().as_uri())

    def go(self, url: str) -> None:
        """Load an address and wait until it is there."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not self.events["Page.loadEventFired"]:
            self._browser.receive()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression. Raises RuntimeError where it throws."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = 60.0) -> None:
        """Wait until a JavaScript expression holds. Raises TimeoutError where it never does."""
        end = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} did not hold within {seconds:.0f} seconds.")
            time.sleep(0.05)

    def choose_file(self, selector: str, path: Path) -> None:
        """Put a file into an input of the page, as its dialogue does."""
        node = self.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")["result"]
        self.call("DOM.setFileInputFiles", files=[str(path)], objectId=node["objectId"])

    def type(self, text: str) -> None:
        """Write where the focus is."""
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """A key that writes nothing, as 'Tab' or 'Escape', or ends a line ('Enter')."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38, " ": 32}
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown" if more else "rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **more)

    def point(self, x: float, y: float, *, click: bool = False) -> None:
        """Move the mouse there, and press its button."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path) -> None:
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    @property
    def complaints(self) -> list[str]:
        """What the page or the browser logged, and what was thrown."""
        thrown = [str(event["exceptionDetails"]) for event in self.events["Runtime.exceptionThrown"]]
        logged = [str(event["entry"]) for event in self.events["Log.entryAdded"]]
        return thrown + logged + [str(event) for event in self.events["Runtime.consoleAPICalled"]]

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for, embedded ones apart."""
        urls = [event["request"]["url"] for event in self.events["Network.requestWillBeSent"]]
        return [url for url in urls if not url.startswith("data:")]
