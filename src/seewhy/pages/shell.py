"""What the pages share: the one place that imports Gradio, how a page is served, its look, and its scratch folder.

    gr = gradio("The chat")
    with scratch_folder(run):
        with blocks("Chat with runs/birds") as page:
            ...
        serve_page(page, door, "Chat with runs/birds")

Nothing is loaded from elsewhere and nothing is reported: Gradio's telemetry is off, the fonts are the system's, the
theme is here, and a header forbids the browser to ask any other machine (guard.py).
"""

import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from seewhy.errors import SeeWhyError
from seewhy.pages.door import Door, announce, listen, with_token
from seewhy.pages.guard import App, Guard
from seewhy.run.storage import disk, inside

if TYPE_CHECKING:
    from gradio import Blocks

SCRATCH = "scratch"
"""The folder of a run in which a page keeps what is sent, as long as it is open."""
FORGOTTEN_AFTER = 3600
"""Seconds after which an upload, and the conversation of a closed page, are forgotten."""
LEFT_AFTER = 86400
"""Seconds after which such a folder was left by a page that was killed."""
STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
HEAD = '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Arial", "sans-serif")
MONO = ("ui-monospace", "Consolas", "DejaVu Sans Mono", "monospace")
ROOT_FILES = ("/manifest.json", "/favicon.ico")
"""Files that Gradio's page, or a browser, asks for without the secret. There is nothing in them."""
_SWITCHED_OFF = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "OTEL_SDK_DISABLED": "true",
}


def gradio(purpose: str) -> ModuleType:
    """Return the package gradio, its telemetry off. Raises SeeWhyError naming the extra if it is not installed."""
    os.environ.update(_SWITCHED_OFF)
    try:
        import gradio
    except ImportError as error:
        raise SeeWhyError(f"{purpose} needs the package gradio: pip install 'seewhy[pages]'.") from error
    return gradio


def fastapi(purpose: str) -> ModuleType:
    """Return the package fastapi. Raises SeeWhyError naming the extra if it is not installed."""
    os.environ.update(_SWITCHED_OFF)
    try:
        import fastapi
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise SeeWhyError(f"{purpose} needs the packages fastapi and uvicorn: pip install 'seewhy[pages]'.") from error
    return fastapi


@contextmanager
def leave_a_core() -> Iterator[None]:
    """Let models compute on all cores but one, which page and browser need; where OMP_NUM_THREADS is set, on those.

    Threads of a model that wait for each other, one of them behind the page, cost more than the core does.
    """
    import torch

    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, before - 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


_TEMPLATES = Environment(
    loader=PackageLoader("seewhy.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip


def rendered(template: str, **values: Any) -> str:
    """Return a template of the pages, filled. All text is escaped."""
    return _TEMPLATES.get_template(template).render(**values)


def blocks(title: str) -> "Blocks":
    """Return an empty page, to be filled in a `with`. Raises SeeWhyError if Gradio is not installed."""
    return gradio("A page").Blocks(
        title=title, analytics_enabled=False, fill_width=True, delete_cache=(FORGOTTEN_AFTER, FORGOTTEN_AFTER)
    )  # fmt: skip


@contextmanager
def scratch_folder(run: Path) -> Iterator[Path]:
    """Make a folder in the run for what is sent to a page, and remove it in the end, with those left by killed pages.

    Raises SeeWhyError where the run cannot be written to.
    """
    root = inside(run, SCRATCH)
    try:
        with disk(root):
            root.mkdir(exist_ok=True)
            _remove_old(root)
            folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root))
    except OSError as error:
        raise SeeWhyError(
            f"{root} cannot be written ({error.strerror}), where a page keeps the photos that are sent while it is "
            "open: make the run's folder writable, or copy the run."
        ) from error
    before, temporary = os.environ.get("GRADIO_TEMP_DIR"), tempfile.tempdir
    os.environ["GRADIO_TEMP_DIR"] = tempfile.tempdir = str(folder.absolute())
    try:
        yield folder
    finally:
        tempfile.tempdir = temporary
        if before is None:
            os.environ.pop("GRADIO_TEMP_DIR", None)
        else:
            os.environ["GRADIO_TEMP_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another page's folder is in it
            root.rmdir()


def _remove_old(root: Path) -> None:
    """Remove the folders that no page has written to for a day."""
    for folder in root.iterdir():
        if not folder.is_symlink() and time.time() - folder.stat().st_mtime > LEFT_AFTER:
            shutil.rmtree(folder, ignore_errors=True)


def page_app(page: "Blocks", door: Door) -> App:
    """Return a page as an ASGI application behind its guard. A door without a token serves it at the root."""
    gr, web = gradio("A page"), fastapi("A page")
    theme = gr.themes.Base(font=FONTS, font_mono=MONO, primary_hue="blue", neutral_hue="slate", radius_size="sm")
    page.queue(max_size=door.queue + 1, default_concurrency_limit=1, api_open=False)
    app: Any = web.FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for asked_for in ROOT_FILES:
        app.add_api_route(asked_for, lambda: {"name": "SeeWhy"})
    gr.mount_gradio_app(
        app, page, path=door.path or "/", footer_links=[], run_history=False, ssr_mode=False, pwa=False,
        mcp_server=False, show_error=False, max_file_size=door.max_bytes, theme=theme, css=STYLE, head=HEAD,
        allowed_paths=[], blocked_paths=[],
    )  # fmt: skip
    return Guard(app, door, open_paths=ROOT_FILES)


def serve_page(page: "Blocks", door: Door, what: str) -> None:
    """Open a page, say where it is, and serve it until Ctrl-C."""
    door = with_token(door)
    serve_app(page_app(page, door), door, listen(door), what)


def serve_app(app: App, door: Door, listening: socket.socket, what: str) -> None:
    """Say where an application is and serve it until Ctrl-C."""
    import uvicorn

    class Server(uvicorn.Server):
        """Ends quietly: uvicorn raises the signal again, which cuts off what is still closing."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # open pages are cut off, which is no error
            await super().shutdown(sockets)

    announce(door, listening.getsockname()[1], what)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1, ws="none",
        backlog=256,
    )  # fmt: skip
    Server(config).run(sockets=[listening])
