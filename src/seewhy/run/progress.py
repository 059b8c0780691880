"""Where output goes out: messages and progress bars on standard error, results on standard output.

All of it may hold others' words, so it is printed by a console of `console`, or by `print_json`: control characters and
secrets stay out of the terminal.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment

from seewhy.words import shown, shown_json

_quiet = False


def be_quiet() -> None:
    """Show nothing from now on: this process is a worker, and the one that drives it speaks for both."""
    global _quiet
    _quiet = True


class _Shown:
    """Something to print, of which only what may be shown reaches the terminal."""

    def __init__(self, inner: RenderableType) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)


class _ShownAll(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Shown(renderable) for renderable in renderables]


def console(*, stderr: bool = False, file: IO[str] | None = None, width: int | None = None) -> Console:
    """Return a console that takes every text as it stands, and prints no control character and no secret of it."""
    made = Console(stderr=stderr, file=file, width=width, emoji=False, highlight=False)
    made.push_render_hook(_ShownAll())
    return made


def print_json(value: Any) -> None:
    """Print a JSON-able value, or a text that is JSON already, on standard output."""
    print(shown_json(json.loads(value) if isinstance(value, str) else value))


def say(line: str) -> None:
    if _quiet:
        return
    console(stderr=True).print(shown(line), markup=False, soft_wrap=True)


@contextmanager
def progress(name: str, *, total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with items done and time left on a terminal, one line elsewhere; give the function that moves it.

    Nothing is shown of what was finished before, so that a resumed run begins where it goes on.
    """
    terminal = console(stderr=True)
    if _quiet or done >= total or not terminal.is_terminal:
        if done < total:
            say(f"{name}: {total} items, {done} already done")
        yield lambda items: None
        return
    left = TimeRemainingColumn(elapsed_when_finished=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), left)
    with Progress(*columns, console=terminal, speed_estimate_period=3600) as bar:
        task = bar.add_task(shown(name), total=total, completed=done)
        bar.advance(task, 0)  # starts the clock behind the time left
        yield partial(bar.advance, task)
