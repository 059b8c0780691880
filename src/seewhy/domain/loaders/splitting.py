"""Splits that a data set does not bring: made from names alone, so that every machine makes the same ones.

Order is that of the SHA-256 of a name (UTF-8), which knows no seed; groups stay whole (see `Row.group`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from seewhy.domain.loaders import Row, Split


def in_hash_order(names: Iterable[str]) -> list[str]:
    """Each name once, in the order of the SHA-256 of the name."""
    return sorted(set(names), key=lambda name: (hashlib.sha256(name.encode()).hexdigest(), name))


def hold_out(rows: Sequence[Row], share: float, *, source: Split = "train", target: Split = "val") -> list[Row]:
    """`rows`, a share of each class's `source` images moved to `target`.

    A class's groups are taken in hash order as long as they fit into round(share * its images); a class keeps at least
    one group. A group belongs to the class of its first image.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.split == source:
            members[row.group or row.image].append(index)
    groups_of: dict[str, list[str]] = defaultdict(list)
    for group, indices in members.items():
        groups_of[rows[indices[0]].label].append(group)
    moved: set[int] = set()
    for groups in groups_of.values():
        room = round(share * sum(len(members[group]) for group in groups))
        for group in in_hash_order(groups)[:-1]:
            if len(members[group]) <= room:
                room -= len(members[group])
                moved.update(members[group])
    return [replace(row, split=target) if index in moved else row for index, row in enumerate(rows)]


def halve(rows: Sequence[Row]) -> list[Row]:
    """`rows` in two halves, train and test, class by class.

    A class's groups are dealt out in hash order, each to the half that has fewer images of the class so far, test
    first: the halves of a class differ by no more than its largest group.
    """
    members: dict[str, list[int]] = defaultdict(list)
    groups_of: dict[str, list[str]] = defaultdict(list)
    for index, row in enumerate(rows):
        group = row.group or row.image
        if group not in members:
            groups_of[row.label].append(group)
        members[group].append(index)
    halves: dict[int, Split] = {}
    for groups in groups_of.values():
        count: dict[Split, int] = {"test": 0, "train": 0}
        for group in in_hash_order(groups):
            half: Split = "test" if count["test"] <= count["train"] else "train"
            count[half] += len(members[group])
            halves.update(dict.fromkeys(members[group], half))
    return [replace(row, split=halves[index]) for index, row in enumerate(rows)]
