"""The registry of all figures and arms: what each is called, what it measures, and which direction is better.

The page, the terminal, the cards of an export and the benchmarks take every title, unit and definition from here.

    FIGURES["ee"].title                    # 'Gives a reason (EE)'
    [f.title for f in of_group("ability")]
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from seewhy.errors import SeeWhyError
from seewhy.proof.audit import PHRASE
from seewhy.run.stages import BASE, METHOD, ModelKey

Group = Literal["answers", "selection", "faithfulness", "ability", "judge", "training"]
Unit = Literal["share", "perplexity", "count", "number"]


@dataclass(frozen=True)
class FigureInfo:
    """One figure. `key` is its name in the JSON files; judge figures have `judge_` before theirs."""

    key: str
    group: Group
    title: str
    """The heading of its column or row on the page and on the terminal."""
    definition: str = ""
    """How it is computed; empty where the title says it all."""
    short: str = ""
    """A title for narrow tables; empty where `title` is short enough."""
    unit: Unit = "share"
    direction: Literal["higher", "lower", ""] = ""
    """Which direction is better; empty where neither is."""
    of: str = ""
    """What is counted: 'reasons'."""
    beside: tuple[str, str] = ("", "")
    """The key of a figure that is shown with it, and the word before that."""
    control: bool = False
    """Whether it is the control of the figure above, a part of which stays when nothing relevant changes."""
    detail: bool = False
    """Whether it is shown in detailed tables only (terminal and benchmarks, not the page)."""

    @property
    def name(self) -> str:
        """The short title, or the title where there is none."""
        return self.short or self.title


EE_COUNTS = "EE counts only phrases of the concept bank"
NOTE = (
    f"{EE_COUNTS}; 'any': answers that say anything besides a name. n: answers; for reasons, those known to be true or"
    " not; for FS, tokens; then the number of images, where not all count."
)
"""The note below a table of results."""

_ANSWERS = (
    FigureInfo("accuracy", "answers", "Accuracy",
           "Share of the answers that name the image's label and no other. Words must match whole, and the longest "
           "label counts: \u201cFish Crow\u201d does not name \u201cCrow\u201d.", direction="higher", of="answers"),
    FigureInfo("accuracy_lenient", "answers", "Lenient accuracy",
           "Share of the answers that contain the label's letters anywhere: the rule of the method's research code, "
           "for comparison.", direction="higher", of="answers"),
    FigureInfo("ee", "answers", "Gives a reason (EE)",
           "Share of the answers that state at least one concept of the bank besides a label's name, found by matching "
           "words, without a judge. Only phrases of the bank count, so a reason in other words is missed: a lower "
           "bound.", direction="higher", of="answers", beside=("any_reason", "any")),
    FigureInfo("any_reason", "answers", "Any reason",
           "Share of the answers that say anything besides a class's name, in any words, true or not; a name that "
           "breaks off says nothing. An upper bound of EE. Where it is far above EE, the model gives reasons that the "
           "bank has no words for.", direction="higher", of="answers"),
    FigureInfo("cs", "answers", "Consistent (CS)",
           "Of the concepts that an answer states, the share that the concepts selected for its image entail; 0 for "
           "an answer that states none. Decided by words, without a judge.", direction="higher", of="answers"),
    FigureInfo("fs", "answers", "Perplexity (FS)",
           "Perplexity of the answers under the untuned base model, weighted by tokens. Lower is more fluent.",
           unit="perplexity", direction="lower", of="tokens"),
    FigureInfo("stated_true", "answers", "Reasons true",
           "Of all concepts that the answers state, the share that can be seen in their image, by what is recorded of "
           "the image.", direction="higher", of="reasons", beside=("stated_unverified", "unmarked")),
    FigureInfo("stated_hidden", "answers", "Reasons hidden",
           "Of the same concepts, the share that are true of the subject but cannot be seen in this image.",
           direction="lower", of="reasons"),
    FigureInfo("stated_wrong", "answers", "Reasons false",
           "Of the same concepts, the share that are not true of the subject.", direction="lower", of="reasons"),
    FigureInfo("stated_false", "answers", "Reasons false or hidden", "The two before together.", direction="lower",
           of="reasons", detail=True),
    FigureInfo("stated_unverified", "answers", "Reasons unmarked",
           "Share of the stated concepts that nobody has marked for their image; the shares above leave these out.",
           of="reasons", detail=True),
    FigureInfo("selection_precision", "selection", "precision",
           "Concept selection, precision: share of the selected concepts that can be seen in their image.",
           direction="higher", of="concepts"),
    FigureInfo("selection_recall", "selection", "recall",
           "Concept selection, recall: share of the class's concepts that can be seen in the image and were selected.",
           direction="higher", of="concepts"),
    FigureInfo("selection_precision_whole_list", "selection", "precision of the whole list",
           "The precision if every concept of the class's list were taken for every image.", of="concepts"),
)  # fmt: skip

_REDRAWN, _OTHER_REDRAWN = "After the part is redrawn differently", "after another part is redrawn"
_HIDDEN, _ELSEWHERE = "After a leaf hides the part", "after a leaf covers another place"
_COVERED, _RANDOM = "After the patches behind the reason are covered", "after as many random patches are covered"
_SWAPPED = "With an image of another class"
_SAME = "With an image of the same class that does not show it"
_GONE, _STAYS, _LABEL = "the old reason disappears", "the reason is still stated", "the label changes"


def _test(key: str, text: str, short: str, direction: Literal["higher", "lower", ""] = "", *, control: bool = False,
          detail: bool = False, definition: str = "") -> FigureInfo:  # fmt: skip
    return FigureInfo(key, "faithfulness", text, definition, short, direction=direction, of="reasons", control=control,
                  detail=detail)  # fmt: skip


_FAITHFULNESS = (
    _test("counterfactual_changes", f"{_REDRAWN}, {_GONE}", "part redrawn: reason gone", "higher",
          definition="The drawing is made again with another value of the attribute that the reason names."),
    _test("counterfactual_changes_control", f"{_OTHER_REDRAWN}, {_GONE}", "other part redrawn: reason gone",
          "lower", control=True),
    _test("counterfactual_follows", f"{_REDRAWN}, the new value is stated", "part redrawn: new value stated", "higher"),
    _test("counterfactual_follows_when_stated", "the same, of the answers that mention the part",
          "of answers that mention it", "higher", control=True, detail=True),
    _test("counterfactual_label_changes", f"{_REDRAWN}, {_LABEL}", "part redrawn: label changes", detail=True),
    _test("counterfactual_label_changes_control", f"{_OTHER_REDRAWN}, {_LABEL}", "other part redrawn: label changes",
          control=True, detail=True),
    _test("survives_hidden", f"{_HIDDEN}, {_STAYS}", "part hidden: reason stays", "lower",
          definition="A leaf is drawn over the part that the reason names."),
    _test("survives_covered_elsewhere", f"{_ELSEWHERE}, {_STAYS}", "leaf elsewhere: reason stays", "higher",
          control=True),
    _test("hidden_label_changes", f"{_HIDDEN}, {_LABEL}", "part hidden: label changes", detail=True),
    _test("cover_gone", f"{_COVERED}, {_GONE}", "its patches covered: reason gone", "higher",
          definition="The image patches with the highest attribution to the reason's words are replaced."),
    _test("cover_gone_random", f"{_RANDOM}, {_GONE}", "random patches covered: reason gone", "lower", control=True),
    _test("cover_label_changes", f"{_COVERED}, {_LABEL}", "its patches covered: label changes", detail=True),
    _test("cover_label_changes_random", f"{_RANDOM}, {_LABEL}", "random patches covered: label changes", control=True,
          detail=True),
    _test("swap_reason_changes", f"{_SWAPPED}, {_GONE}", "other class's image: reason gone", "higher"),
    _test("swap_survives_without_evidence", f"{_SWAPPED} that does not show it, {_STAYS}",
          "other class's image without it: reason stays", "lower"),
    _test("same_class_follows", f"{_SAME}, {_GONE}", "same class's image without it: reason gone", "higher",
          definition="Measured where it is known what each image of a class shows."),
    _test("same_class_follows_control", f"with an image of the same class that shows it, {_GONE}",
          "same class's image with it: reason gone", "lower", control=True),
    _test("same_class_states_other", f"{_SAME}, what it shows instead is stated",
          "same class's image without it: its own stated", "higher", detail=True),
    _test("swap_label_changes", f"{_SWAPPED}, {_LABEL}", "other class's image: label changes", detail=True),
    _test("pointing", "The patch with the highest attribution lies in the true box", "attribution in the true box",
          "higher"),
    _test("pointing_chance", "a random patch lies in the true box", "random patch in the true box", control=True),
    _test("pointing_centre", "the centre of the image lies in the true box", "centre in the true box", control=True),
)  # fmt: skip

SUBJECTS = {"": "birds", "_produce": "produce", "_marked": "own images"}
"""What `seewhy general` asks about, two kinds of drawings or images with marks: ending of the key -> name."""
_ABILITY = (
    ("attribute_accuracy", "Names a visible attribute", "attribute named", "questions"),
    ("yes_no_accuracy", "Answers yes or no correctly", "yes or no", "questions"),
    ("hidden_admitted", "Says that a hidden part cannot be seen", "hidden part admitted", "questions"),
    ("described_precision", "Described features that are correct", "description: correct", "features"),
    ("described_recall", "Visible attributes that are described", "description: complete", "attributes"),
)  # fmt: skip
_ABILITIES = tuple(
    FigureInfo(
        f"{key}{ending}", "ability", f"{text}, {subject}", short=f"{short}, {subject}", direction="higher", of=of
    )
    for ending, subject in SUBJECTS.items()
    for key, text, short, of in _ABILITY
)

_JUDGE = (
    FigureInfo("judge_n", "judge", "Judged", unit="count"),
    FigureInfo("judge_missing", "judge", "Missing", "Answers without a verdict; they are in no figure.", unit="count"),
    FigureInfo("judge_ee", "judge", "Gives a reason (EE), judge", short="Explains (EE)", direction="higher"),
    FigureInfo("judge_free_ee", "judge", "EE without judge", direction="higher", detail=True),
    FigureInfo("judge_agreement_ee_raw", "judge", "EE: the two agree", short="EE agrees", direction="higher"),
    FigureInfo("judge_agreement_ee_kappa", "judge", "EE: kappa", "Cohen's kappa: agreement beyond chance.", "kappa",
           unit="number", direction="higher"),
    FigureInfo("judge_cs", "judge", "Consistent (CS), judge", short="Consistent (CS)", direction="higher"),
    FigureInfo("judge_free_cs", "judge", "CS without judge", direction="higher", detail=True),
    FigureInfo("judge_agreement_cs_spearman", "judge", "CS: rank correlation", "Spearman's rank correlation.",
           "CS rank corr.", unit="number", direction="higher"),
)  # fmt: skip

_TRAINING = (
    FigureInfo("answers", "training", "Answers",
           "Answers about train images that the round's model is tuned on; covered copies and replay data aside.",
           unit="count"),
    FigureInfo("fallback_share", "training", "Label only",
           "Share of a round's training answers that are the bare label sentence, because no other was usable.",
           direction="lower", of="answers"),
    FigureInfo("accepted_share", "training", "Queries won",
           "Share of the queries with an accepted candidate. Round 1 samples no candidates.", of="queries"),
    FigureInfo("kept_share", "training", "Candidates kept", "Share of the candidates that were accepted.",
           of="candidates"),
    FigureInfo("margin", "training", "Margin",
           "Median score of the accepted candidate less the next best that names the label, in nats.", unit="number"),
    FigureInfo("near_duplicate_share", "training", "Near copies",
           "Share of the answers with reasons that equal another of their class but for case, punctuation and numbers, "
           "or share 80 % of their five-word sequences with it.", direction="lower", of="answers"),
    FigureInfo("repeating_share", "training", "Repeat",
           f"Share of the answers with reasons that say {PHRASE} words or more twice.", direction="lower",
           of="answers"),
)  # fmt: skip

FIGURES = {f.key: f for f in (*_ANSWERS, *_FAITHFULNESS, *_ABILITIES, *_JUDGE, *_TRAINING)}
"""Key -> figure, in the order in which tables show them."""
COLUMNS = tuple(f.key for f in _ANSWERS if f.group == "answers" and f.key != "any_reason" and not f.detail)
"""The columns of a table of results."""
HEADLINES = ("accuracy", "stated_true", "ee", "cs")
"""The figures of the summary and of the curves. All are shares."""

CONFUSED = (
    "Confused classes",
    "Answers that name exactly one label, and not the image's. What separates two classes stands in the expert's list "
    "of one and not of the other. The example is one of the pair's images, chosen by the hash of its id.",
)
LOOKS = (
    "Where the model looks",
    "Integrated gradients of the log-probability of the reason's words with respect to the embeddings of the image, "
    "from the image's mean embedding to itself. Each picture is scaled to its own maximum: it shows where, not how "
    "much.",
)


@dataclass(frozen=True)
class ArmName:
    """How an arm of a comparison is called, and what its models learn from; all else is the same for all arms."""

    name: str
    learns_from: str


ARM_NAMES = {
    METHOD: ArmName("SeeWhy", "concepts selected for each image, then its own best answers"),
    "nl": ArmName("NL", "the label sentence alone"),
    "lge": ArmName("L+GE", "the label and its class's whole list"),
    "unfiltered": ArmName("Unfiltered", "a random candidate instead of the best"),
    "class_level": ArmName("Class level", "the class's whole list, as if every image showed all of it"),
}
"""Arm -> its name; the method first."""


def title(key: str) -> str:
    """Return the title of a figure, or the key itself where the registry has none."""
    return FIGURES[key].title if key in FIGURES else key


def of_group(group: Group, *, detail: bool = True) -> list[FigureInfo]:
    """Return the figures of a group in order, without the detailed ones if not `detail`."""
    return [f for f in FIGURES.values() if f.group == group and (detail or not f.detail)]


def arm_name(arm: str) -> str:
    """Return the name of an arm, or the key itself where it is unknown."""
    return ARM_NAMES[arm].name if arm in ARM_NAMES else arm


def model_name(model: str) -> str:
    """Return a model's name for readers: 'Untuned' of 'base', 'Round 3' of 'round-3', 'NL, round 3' of 'nl/round-3'."""
    key = model_key(model)
    if key is None or key == BASE:
        return "Untuned" if key else model
    return f"Round {key.round}" if key.is_methods else f"{arm_name(key.arm)}, round {key.round}"


def model_key(model: str) -> ModelKey | None:
    """Return the key of a model that a results file names; None for a name that no run gives."""
    try:
        return ModelKey.parse(model)
    except SeeWhyError:
        return None


def is_controls(model: str) -> bool:
    """Return whether a model that a results file names is neither the base nor the method's."""
    key = model_key(model)
    return key is None or not (key == BASE or key.is_methods)


def asked_about(images: int, keys: Iterable[str]) -> str:
    """Return what the questions of `seewhy general` were about, of which the figures are these keys."""
    if any(key.endswith("_marked") for key in keys):
        return f"{images} of the data set's own images, whose attributes are marked"
    return f"{images} drawings of birds and as many of produce"


def definitions(keys: Iterable[str]) -> list[tuple[str, str]]:
    """Return (title, definition) of those figures among `keys` that have a definition, in the order of the registry."""
    shown = set(keys)
    return [
        (f.title[:1].upper() + f.title[1:], f.definition) for f in FIGURES.values() if f.key in shown and f.definition
    ]
