"""What `seewhy doctor` prints."""

from collections.abc import Sequence

from rich.console import Console

from seewhy.doctor import Check, broken


def print_checks(checks: Sequence[Check], console: Console) -> None:
    """A line a check, with what to do below it."""
    marks = {"ok": "[green]ok[/]   ", "note": "[yellow]note[/] ", "error": "[red]error[/]"}
    for check in checks:
        console.print(marks[check.state], end=" ")
        console.print(f"{check.name}: {check.found}", markup=False, highlight=False, soft_wrap=True)
        if check.remedy:
            console.print(f"      {check.remedy}", markup=False, highlight=False, soft_wrap=True)
    said = "Something that every run needs is broken; see above." if broken(list(checks)) else "Runs work here."
    console.print(said, highlight=False)
