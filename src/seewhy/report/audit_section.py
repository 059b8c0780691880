"""The page's section on what became training data, as plain values for its template."""

from typing import Any

from seewhy.proof.audit import FEWEST_IMAGES, PHRASE, STARVING, Audit
from seewhy.report import audit_table
from seewhy.report.table import percent


def audit_values(audit: Audit) -> dict[str, Any]:
    """What the page's section on the training data shows; long tables are cut, and `more_...` counts the rest."""
    starving, uses, most = audit_table.starving(audit), audit_table.list_use(audit), audit_table.SHOWN
    return {
        "columns": audit_table.COLUMNS,
        "rounds": [
            {
                "round": r.round,
                "cells": audit_table.cells(r.whole),
                "rejections": audit_table.rejections(r.whole),
                "repeats": audit_table.repeats(r.whole),
            }
            for r in audit.rounds
        ],
        "starving": [
            {"round": round, "label": taught.label, "share": percent(taught.fallback_share or 0)}
            | {"rejections": audit_table.rejections(taught, most=2)}
            for round, taught in starving[:most]
        ],
        "more_starving": len(starving[most:]),
        "uses": uses[:most],
        "more_uses": len(uses[most:]),
        "starving_from": f"{100 * STARVING:.0f} %",
        "fewest_images": FEWEST_IMAGES,
        "phrase": PHRASE,
    }
