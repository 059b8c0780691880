"""axe-core, which finds faults of a page for those who use a keyboard or a screen reader.

`make` installs it into .venv/axe, out of a package of Python that holds it; $AXE names another axe.min.js.
"""

import os
from pathlib import Path

from browser import Tab

_PLACES = (os.environ.get("AXE", ""), str(Path(__file__).parents[1] / ".venv/axe/axe_playwright_python/axe.min.js"))
AXE = next((Path(place) for place in _PLACES if place and Path(place).is_file()), None)
"""The script; None where it is not installed."""


def serious(tab: Tab) -> list[str]:
    """Return the serious and critical faults of what is on the page, each with the first element that has it."""
    assert AXE
    tab.evaluate(f"{AXE.read_text(encoding='utf-8')}; 0")
    found = tab.evaluate("axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes[0].html]))")
    return [f"{fault}: {element}" for impact, fault, element in found if impact in ("serious", "critical")]
