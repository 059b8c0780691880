"""Messages and progress bars of a run, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_quiet = False


def be_quiet() -> None:
    """Show nothing from now on: this process is a worker, and the one that drives it speaks for both."""
    global _quiet
    _quiet = True


def say(line: str) -> None:
    if _quiet:
        return
    Console(stderr=True, highlight=False).print(line, markup=False, soft_wrap=True)


@contextmanager
def progress(name: str, *, total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with items done and time left on a terminal, one line elsewhere; give the function that moves it.

    Nothing is shown of what was finished before, so that a resumed run begins where it goes on.
    """
    console = Console(stderr=True)
    if _quiet or done >= total or not console.is_terminal:
        if done < total:
            say(f"{name}: {total} items, {done} already done")
        yield lambda items: None
        return
    left = TimeRemainingColumn(elapsed_when_finished=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), left)
    with Progress(*columns, console=console, speed_estimate_period=3600) as bar:
        task = bar.add_task(name, total=total, completed=done)
        bar.advance(task, 0)  # starts the clock behind the time left
        yield partial(bar.advance, task)
