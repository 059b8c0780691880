"""What a text says of a mention, trigger by trigger; `<` and `>` enclose the mentions."""

import re
import time

import pytest

from seewhy.domain.assertion import Assertions, Status
from seewhy.domain.text import tokenise

D, X, H, U, A = Status.DENIED, Status.OTHER, Status.HYPOTHETICAL, Status.UNCERTAIN, Status.ASSERTED
CASES: list[tuple[str, list[Status]]] = [
    # plain, and hedges that commit themselves
    ("It has a <crest>.", [A]),
    ("It is likely a <crow>.", [A]),
    ("It appears to be a <crow>.", [A]),
    ("The opacity is suggestive of <pneumonia>.", [A]),
    # denied, trigger before
    ("It is not a <crow>.", [D]),
    ("It has no <crest>.", [D]),
    ("It never has a <crest>.", [D]),
    ("It lacks a <crest> and a <bar>.", [D, D]),
    ("a bird without <bars>, <spots> or <streaks>", [D, D, D]),
    ("I do not think that this is a <crow>.", [D]),
    ("The lungs are free of <pneumonia>.", [D]),
    ("negative for <consolidation>, <effusion>, or <pneumonia>", [D, D, D]),
    ("The film rules out <pneumonia>.", [D]),
    ("no <opacity> to suggest <pneumonia>", [D, D]),
    ("There is no evidence that the patient has <pneumonia>.", [D]),
    ("It is anything but a <crow>.", [D]),
    ("It is too small to be a <raven>.", [D]),
    ("a non-<melanoma>", [D]),
    ("It is not, as some may think, a <crow>.", [D]),
    ("It is not (despite the head) a <crow>.", [D]),
    # denied, trigger behind
    ("<Pneumonia> is absent.", [D]),
    ("<Pneumonia> has been ruled out.", [D]),
    ("The <crest> of the male is missing here.", [D]),
    ("The <crest> cannot be seen.", [D]),
    ("The <crest> and the <bar> are not visible.", [D, D]),
    ("<Mallard>: no. <Gadwall>: yes.", [D, A]),
    ("<crest> (absent), <bar> (present)", [D, A]),
    ("Absent features:\n- <crest>\n- <bar>\nThe <bill> is black.", [D, D, A]),
    # pseudo-triggers
    ("not only a <crest> but a <tail>", [A, A]),
    ("no doubt a <crow>", [A]),
    ("It is none other than the <crow>.", [A]),
    ("There is no mistaking the <crow>.", [A]),
    ("It is nothing but a <crow>.", [A]),
    ("It cannot be anything but a <crow>.", [A]),
    ("No, this is a <crow>.", [A]),
    # ends of scopes
    ("It is not a <raven> but a <crow>.", [D, A]),
    ("It's not a <raven>, it's a <crow>.", [D, A]),
    ("The bird without a <crest> is a <crow>.", [D, A]),
    ("It has no <crest> and a red <crown>.", [D, A]),
    ("no <crest>, a red <crown> and pink <legs>", [D, A, A]),
    ("It has no <crest>, so it is a <crow>.", [D, A]),
    ("It has a <crown> and the <crest> is missing.", [A, D]),
    ("It is not a <raven>. It is a <crow>.", [D, A]),
    # uncertain
    ("It might be a <crow>.", [U]),
    ("possibly a <crow>", [U]),
    ("I cannot tell whether it has a <crest>.", [U]),
    ("I am not sure that it is a <crow>.", [U]),
    ("I am not sure, but this is a <crow>.", [A]),
    ("<Pneumonia> cannot be excluded.", [U]),
    ("The differential diagnosis includes <melanoma>.", [U]),
    # questions
    ("Is this a <crow>? No.", [D]),
    ("Is this a <crow>? Yes.", [A]),
    ("Is this a <crow>?", [U]),
    ("<crest>? No.", [D]),
    ("Why is this a <crow>? It is black.", [A]),
    ("This is a <crow>, isn't it?", [A]),
    # hypothetical
    ("It would be a <crow> if it were black.", [H]),
    ("If it had a <crest>, it would be a <jay>.", [H, H]),
    ("If you look closely, you see a <crest>.", [A]),
    ("A <crest> would be visible in a male.", [H]),
    ("I would say it is a <crow>.", [A]),
    ("a risk of <melanoma>", [H]),
    # another subject
    ("similar to a <crow> but larger", [X]),
    ("It is larger than the <crow>.", [X]),
    ("as large as a <raven>", [X]),
    ("unlike the <crow>, the <raven> is large", [X, A]),
    ("Unlike the male, which has a <crest>, this one has a <tail>.", [X, A]),
    ("not to be confused with the <raven>", [D]),
    ("often confused with the <raven>", [X]),
    ("This is a <crow>, as opposed to the <raven>.", [A, X]),
    ("It is red, whereas a <jay> is blue.", [X]),
    ("The <jay>, by contrast, has a crest.", [X]),
    ("Crows have a <crest>, but this one has a <tail>.", [X, A]),
    ("One might think it is a <raven>, but it is a <crow>.", [X, A]),
    ("It looks like a <raven>, but it is a <crow>.", [X, A]),
    ("Similar species: <crow>, <raven>", [X, X]),
    ("The marks tell it apart from the <raven>.", [X]),
]


@pytest.mark.parametrize(("marked", "statuses"), CASES, ids=[marked[:40] for marked, _ in CASES])
def test_what_a_text_says_of_a_mention(marked: str, statuses: list[Status]):
    tokens = tokenise(marked.replace("<", "").replace(">", ""))
    before = [
        len(tokenise(marked[: m.start()].replace("<", "").replace(">", "")).words) for m in re.finditer("<", marked)
    ]
    reading = Assertions(tokens, [(at, at + 1) for at in before])
    assert [reading.status(at, at + 1) for at in before] == statuses


def test_a_mentions_own_words_are_no_triggers():
    tokens = tokenise("This fruit has no stem and no leaf.")
    reading = Assertions(tokens)
    assert reading.status_of({3, 4}) is Status.ASSERTED  # the concept "no stem"
    assert reading.status_of({4}) is Status.DENIED


def test_long_texts_of_triggers_take_linear_time():
    def seconds(words: int) -> float:
        tokens = tokenise(" ".join(["not a crow, unlike or"] * words) + " crow")
        start = time.process_time()
        Assertions(tokens, [(len(tokens.words) - 1, len(tokens.words))]).status(
            len(tokens.words) - 1, len(tokens.words)
        )
        return time.process_time() - start

    assert min(seconds(2000) for _ in range(3)) < 40 * max(min(seconds(200) for _ in range(3)), 0.002)
