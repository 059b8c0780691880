"""Splits made from names: shares, groups and classes."""

from collections import Counter

import pytest

from seewhy.domain.loaders import Row
from seewhy.domain.loaders.folder import draw_per_class, halve, hold_out, in_hash_order


def rows(classes: dict[str, int], *, group: int = 1) -> list[Row]:
    """So many train images a class, in groups of `group`."""
    return [
        Row(f"{label}/{n}", label, "train", "", f"{label}/{n // group}")
        for label, count in classes.items()
        for n in range(count)
    ]


def counts(found: list[Row]) -> Counter[tuple[str, str]]:
    return Counter((row.label, row.split) for row in found)


@pytest.mark.parametrize(
    ("classes", "group", "share", "val"),
    [
        ({"a": 100, "b": 10}, 1, 0.1, {"a": 10, "b": 1}),
        ({"a": 4, "b": 40}, 1, 0.1, {"a": 0, "b": 4}),  # a share of four images is none
        ({"a": 30}, 3, 0.2, {"a": 6}),
        ({"a": 30}, 4, 0.2, {"a": 6}),  # one group of four, and the last of two
        ({"a": 5}, 5, 0.9, {"a": 0}),  # one group alone stays
        ({"a": 5}, 1, 1.0, {"a": 4}),
    ],
)
def test_a_share_of_each_class_is_held_out(
    classes: dict[str, int], group: int, share: float, val: dict[str, int]
) -> None:
    before = rows(classes, group=group)
    after = hold_out(before, share)
    assert [row.image for row in after] == [row.image for row in before]
    assert {label: counts(after)[label, "val"] for label in classes} == val
    splits = {(row.group, row.split) for row in after}
    assert len(splits) == len({row.group for row in after})


def test_what_is_held_out_depends_on_names_alone() -> None:
    before = rows({"a": 50, "b": 50})
    val = {row.image for row in hold_out(before, 0.2) if row.split == "val"}
    assert {row.image for row in hold_out(before[::-1], 0.2) if row.split == "val"} == val
    more = {row.image for row in hold_out([*before, *rows({"c": 9})], 0.2) if row.split == "val"}
    assert {image for image in more if image[0] != "c"} == val


def test_only_train_is_held_out() -> None:
    before = [Row(f"{split}{n}", "a", split, "") for split in ("train", "test", "val") for n in range(10)]
    after = counts(hold_out(before, 0.3))
    assert after == {("a", "train"): 7, ("a", "val"): 13, ("a", "test"): 10}


def train_images(found: list[Row]) -> set[str]:
    return {row.image for row in found if row.split == "train"}


def test_few_images_a_class_are_part_of_more_and_depend_on_names_alone() -> None:
    before = rows({"a": 50, "b": 30})
    five, ten = (train_images(draw_per_class(before, limit)[0]) for limit in (5, 10))
    assert (len(five), len(ten)) == (10, 20)
    assert five < ten
    assert five == {
        name for label in "ab" for name in in_hash_order(i for i in train_images(before) if i[0] == label)[:5]
    }
    others = [*before, *rows({"c": 9})][::-1]
    assert {image for image in train_images(draw_per_class(others, 5)[0]) if image[0] != "c"} == five


def test_a_class_with_fewer_images_keeps_them_and_is_named() -> None:
    before = [*rows({"b": 4, "a": 3, "c": 5}), *(Row(f"{s}{n}", "a", s, "") for s in ("val", "test") for n in range(9))]
    after, fewer = draw_per_class(before, 5)
    assert counts(after) == counts(before)
    assert fewer == ["a", "b"]
    few = counts(draw_per_class(before, 2)[0])
    assert few == {("a", "train"): 2, ("b", "train"): 2, ("c", "train"): 2, ("a", "val"): 9, ("a", "test"): 9}


@pytest.mark.parametrize("group", [1, 2, 5])
def test_halves(group: int) -> None:
    after = halve(rows({"a": 101, "b": 7}, group=group))
    for label in ("a", "b"):
        assert abs(counts(after)[label, "train"] - counts(after)[label, "test"]) <= group
    assert len({(row.group, row.split) for row in after}) == len({row.group for row in after})


def test_hash_order_is_that_of_sha256() -> None:
    assert in_hash_order(["a", "b", "c", "a"]) == ["c", "b", "a"]  # 2e7d..., 3e23..., ca97...
