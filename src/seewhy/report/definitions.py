"""How each figure of the page is computed, in words for who did not write the program."""

from collections.abc import Iterable

from seewhy.proof.audit import PHRASE

FIGURES = {
    "accuracy": (
        "Accuracy",
        "The answer names the image's label and no other. Words must match whole, and the longest label counts: "
        "\u201cFish Crow\u201d does not name \u201cCrow\u201d.",
    ),
    "accuracy_lenient": (
        "Lenient accuracy",
        "The label's letters occur somewhere in the answer: the rule of the method's research code, for comparison.",
    ),
    "ee": (
        "Gives a reason (EE)",
        "The answer states at least one concept of the bank besides a label's name. Found by matching words, without a "
        "judge; it counts only phrases of the bank, so that a reason in other words is missed: a lower bound.",
    ),
    "any_reason": (
        "Any reason",
        "The answer says anything besides a class's name, in whatever words, be it true or not; a name that breaks off "
        "says nothing. Without a judge: an upper bound beside EE. Where it is far above EE, the model gives reasons "
        "that the bank has no words for.",
    ),
    "stated_true": (
        "Reasons true, hidden, false",
        "Of all concepts that the answers state, the shares that can be seen in their image, that are true of its "
        "subject but not to be seen there, and that are neither. Held against what is recorded of each image.",
    ),
    "cs": (
        "Agrees with the expert (CS)",
        "Of the concepts that an answer states, the share that the concepts selected for its image entail; 0 for an "
        "answer that states none. Decided on the words, without a judge.",
    ),
    "fs": (
        "Fluency (FS)",
        "Perplexity of the answers under the untuned base model, weighted by tokens; lower is more fluent.",
    ),
    "selection_precision": (
        "Concept selection",
        "Precision: share of the selected concepts that can be seen. Recall: share of the listed concepts that can be "
        "seen and were selected. The whole list's precision is what telling a model everything about a class would "
        "give.",
    ),
}
"""Figure of metrics.json -> its name and how it is computed."""

TRAINING = (
    "What became training data",
    "Label only: share of a round's answers that state the name alone for want of a usable one. Queries won: share of "
    "the queries with a winner; candidates kept: share that won. Round 1 samples no candidates. Margin: median score "
    "of the winner less the next best that names the label. Near copies: share of the reasoned answers with another of "
    "their class equal to it but for case, punctuation and numbers, or alike in 80 % of their five-word sequences. "
    f"Repeat: share of them that say {PHRASE} words or more twice.",
)
CONFUSED = (
    "Confused classes",
    "Answers that name exactly one label, and not the image's. What separates two classes stands in the expert's list "
    "of one and not of the other. The example is one of the pair's images, drawn by the hash of its id.",
)
LOOKS = (
    "Where the model looks",
    "Integrated gradients of the log-probability of the reason's words, at the embeddings of the image, from the "
    "image's mean embedding to itself. Each picture is scaled to its own greatest value: it shows where, not how much.",
)


def definitions(keys: Iterable[str]) -> list[tuple[str, str]]:
    """(name, how it is computed) of those figures that are among `keys`."""
    shown = set(keys)
    return [told for key, told in FIGURES.items() if key in shown]
