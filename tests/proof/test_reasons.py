"""Whether an answer says anything besides a name: what EE, which counts the bank's phrases, leaves out."""

import pytest

from seewhy.proof.stated import AnyReason

GIVES = AnyReason(["Leek", "Red-Beet", "Red Delicious", "Fish Crow", "Corvus ossifragus"], "vegetable")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This is a Leek.", False),
        ("This is a Leek. It has a Lee", False),  # a name that breaks off is no reason
        ("This vegetable is a Leek, a vegetable.", False),
        ("I think this is a Fish Crow, also called Corvus ossifragus.", False),
        ("", False),
        ("This is a Leek: its stalk is long and white.", True),
        ("This is a Leek because of the stalk.", True),
        ("The stalk is white. So it is a Leek.", True),
        ("This is a Leek \u2013 layered and pale", True),
        ("A Red Delicious. The skin is red.", True),
        ("Long pale stalk.", True),
        ("A Red-Beet with a swollen root.", True),
        ("\u8fd9\u662f\u4e00\u53ea\u9e1f\u3002", True),
    ],
)
def test_what_is_said_besides_the_name(text: str, expected: bool):  # noqa: FBT001
    assert GIVES(text) == expected
