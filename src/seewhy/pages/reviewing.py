"""What the review page knows: a run's selections, its images, and what people have said; and what one request does.

Nothing of a visitor is kept here but the verdicts, which are in the file before a request is answered. So a page may be
reloaded, opened twice, or served by a process that was killed and started again.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seewhy.domain.corrections import Corrections, Opinions, for_training
from seewhy.domain.images import load_image
from seewhy.domain.loaders import Row
from seewhy.domain.verdicts import Verdict, append, clean_name, last_of, new_verdict, read_verdicts
from seewhy.errors import SeeWhyError
from seewhy.method.carry import carried, score_levels
from seewhy.pages.rules import selected_by_other_rules
from seewhy.proof import review
from seewhy.proof.heatmaps import Heat, find_heats
from seewhy.proof.review import Pair, Shown, agreements, pairs_of, review_order, what_they_show
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Candidate, Description, Selection
from seewhy.report.pictures import data_uri, overlay
from seewhy.results import Gallery
from seewhy.results_json import find_usable
from seewhy.run.correcting import VERDICTS, Remade, remade
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import SHARD
from seewhy.run.stages import OURS, StageKey
from seewhy.run.storage import decode_shard, inside, write_atomically

SIDE = 640
"""Longest side of the photo, in pixels."""
SPOKE = 3
"""Descriptions shown for a concept."""
MOST_TEXTS = 20_000
"""Answers of the tuned model that are read for what they state."""
LISTED = 20
"""Images that a change of the bank names."""
MARKS_FILE = "marks.jsonl"


@dataclass(frozen=True)
class Seen:
    """One concept of the image on the page."""

    concept: str
    score: float
    selected: bool
    stated: float | None
    own: str
    """What this person says of it; empty for nothing."""
    others: Mapping[str, str]
    spoke: tuple[str, ...]
    """Descriptions that speak for it."""
    is_asked: bool


@dataclass(frozen=True)
class Carried:
    """A concept of a class, and what the verdicts on some of the class's images would change in the others."""

    label: str
    concept: str
    judged: int
    right: int
    selected: int
    """Images in which the rule selected it."""
    more: int
    fewer: int


class Reviewing:
    """A run that people look through. `path` is the verdict file."""

    def __init__(self, run: FinishedRun, path: Path) -> None:
        """Read selections and order. Raises SeeWhyError for a run that has not selected anything yet."""
        self.run = run
        self.path = path
        edited = StageKey("reselect")
        self.stage = edited if run.corrections.reworded and run.is_complete(edited) else StageKey("select")
        selections = run.complete_records(self.stage, Selection)
        self.rows: Mapping[str, Row] = run.examples
        self.selections = [s for s in selections if s.example_id in self.rows]
        if not self.selections:
            raise SeeWhyError(f"{run.path} has selected concepts of no image of its data: there is nothing to review.")
        stated = self._stated_by_the_model(self.selections)
        self.pairs = pairs_of(self.selections, run.labels, run.config.select, stated)
        self.order = review_order(self.pairs)
        self.of_image: Mapping[str, Sequence[Pair]] = _by_image(self.pairs)
        self.measured = sorted((n for n, row in self.rows.items() if row.split != "train"), key=review._lot)
        read_verdicts(path)  # a damaged file is said before the page opens

    def _stated_by_the_model(self, selections: Sequence[Selection]) -> dict[str, dict[str, float]]:
        """Return image -> concept -> share of the last round's candidates that state it; {} where none were sampled."""
        rounds = [r for r in self.run.rounds if self.run.is_complete(OURS.stage("candidates", r))]
        if not rounds:
            return {}
        texts: dict[str, list[str]] = defaultdict(list)
        for candidate in self.run.records(OURS.stage("candidates", rounds[-1]), Candidate):
            texts[candidate.example_id].append(candidate.text)
        stated, found, read = self.stated, {}, 0
        for name, said in texts.items():
            if (read := read + len(said)) > MOST_TEXTS:
                break
            counts: dict[str, int] = defaultdict(int)
            for text in said:
                for concept in stated(text):
                    counts[concept] += 1
            found[name] = {concept: count / len(said) for concept, count in counts.items()}
        return found

    @cached_property
    def stated(self) -> StatedConcepts:
        """Finds the bank's concepts in a text."""
        return StatedConcepts(self.run.bank.all_concepts, self.run.vocabulary.names)

    # What is said so far.

    def verdicts(self) -> list[Verdict]:
        """Return the file's verdicts on this run's images, as they are now."""
        return [v for v in read_verdicts(self.path) if v.kind in ("undo", "carry") or v.image in self.rows]

    def corrections(self, verdicts: Sequence[Verdict]) -> Corrections:
        """Return what a run that is started now would obey."""
        return for_training(verdicts, self._given)

    @cached_property
    def _given(self) -> Any:
        """The run's data, with the bank as its file has it."""
        from seewhy.domain.domain import load_domain
        from seewhy.domain.image_index import IMAGES_FILE, ImageIndex

        return load_domain(self.run.data, index=ImageIndex(inside(self.run.path, IMAGES_FILE)))

    def remade(self, verdicts: Sequence[Verdict]) -> Remade | None:
        """Return what a run that is started now would make anew."""
        held = self.run.corrections
        return remade(self.run.config, self._given.examples, held, self.corrections(verdicts), self.run.path)

    def shown(self, opinions: Opinions) -> Shown:
        """Return what the verdicts on train images show."""
        return what_they_show(self.pairs, opinions, self.order, self.run.config.select)

    def carried(self, verdicts: Sequence[Verdict]) -> list[Carried]:
        """Return what the verdicts would change of other images, by concept, most images first."""
        corrections, labels, config = self.corrections(verdicts), self.run.labels, self.run.config.select
        judged = corrections.selected
        levels = score_levels(self.selections, labels, judged, config)
        found: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for old, new in zip(self.selections, carried(self.selections, labels, levels, config), strict=True):
            counts = found[labels[old.example_id], old.concept]
            counts[0] += old.selected
            if old.example_id not in corrections.out and old.concept not in judged.get(old.example_id, {}):
                counts[1] += new.selected and not old.selected
                counts[2] += old.selected and not new.selected
        changed = [Carried(*group, levels[group].judged, levels[group].right, *counts)
                   for group, counts in found.items() if counts[1] + counts[2]]  # fmt: skip
        return sorted(changed, key=lambda c: (-c.more - c.fewer, c.label, c.concept))

    @cached_property
    def selected_by_other_rules(self) -> Mapping[str, Sequence[Selection]]:
        """Rule -> its selections, scored anew when it is first asked for, which takes a while."""
        return selected_by_other_rules(self.run, self.run.corrections.domain(self._given))

    @property
    def rules_are_scored(self) -> bool:
        """Whether the other rules' selections are there."""
        return "selected_by_other_rules" in self.__dict__

    def other_rules(self, opinions: Opinions) -> list[review.OtherRule]:
        """Return how the other rules do on the verdicts."""
        config = self.run.config.select
        return review.other_rules(self.pairs, opinions, self.order, config, self.selected_by_other_rules)

    @property
    def is_busy(self) -> bool:
        """Whether another process is writing the run: then this page only shows."""
        if not (self.run.path / "lock.pid").exists():
            return False
        try:
            with FileLock(self.run.path / "lock").acquire(blocking=False):
                return False
        except Timeout:
            return True

    # One image.

    def names(self, part: str) -> Sequence[str]:
        """Return the images of a part of the page, "train" or "test", in their order."""
        return self.order.images if part == "train" else self.measured

    def seen(self, name: str, who: str, opinions: Opinions) -> list[Seen]:
        """Return the concepts of a train image, those that are asked about first."""
        pairs = {p.concept: p for p in self.of_image.get(name, ())}
        ordered = self.order.asked.get(name, ())
        texts = self.descriptions(name)
        found = []
        for place, concept in enumerate(ordered):
            said = opinions.of.get(("concept", name, concept), {})
            others = {other: value for other, value in said.items() if other != who}
            pair = pairs[concept]
            found.append(Seen(concept, pair.score, pair.selected, pair.stated, said.get(who, ""), others,
                              self._spoke(texts, concept), place < review.ASKED))  # fmt: skip
        return found

    def descriptions(self, name: str) -> list[str]:
        """Return the untuned model's descriptions of a train image, from the one shard that holds them."""
        train = self._places
        if name not in train:
            return []
        place = inside(self.run.path, f"stages/describe/{SHARD.format(train[name] // self.run.config.shard_size)}")
        return [d.text for d in _shard(place) if d.example_id == name] if place.exists() else []

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: n for n, name in enumerate(i for i, row in self.rows.items() if row.split == "train")}

    def _spoke(self, texts: Sequence[str], concept: str) -> tuple[str, ...]:
        says = [text for text in texts if concept in self.stated(text)]
        words = set(concept.lower().split())
        near = sorted(texts, key=lambda text: -len(words.intersection(re.findall(r"\w+", text.lower()))))
        return tuple(dict.fromkeys(says or near[:1]))[:SPOKE]

    def photo(self, name: str) -> str:
        """Return the photo as a data URI. Raises SeeWhyError for one that cannot be opened."""
        picture = load_image(str(self._file(name))).copy()
        picture.thumbnail((SIDE, SIDE))
        if max(picture.size) < SIDE // 2:  # micrographs and drawings are small
            scale = SIDE // 2 // max(picture.size) + 1
            picture = picture.resize((picture.width * scale, picture.height * scale))
        return data_uri(picture)

    def _file(self, name: str) -> Path:
        return self.run.image_folder / self.rows[name].image

    def heats(self, name: str) -> list[tuple[str, str]]:
        """Return (concept, data URI) of the overlays that the report has kept for an image."""
        if (heat := self._heats.get(name)) is None:
            return []
        picture = load_image(str(self._file(name)))
        return [(c, data_uri(overlay(picture, heat_RK, heat.region))) for c, heat_RK in heat.concepts.items()]

    @cached_property
    def _heats(self) -> Mapping[str, Heat]:
        gallery = find_usable(self.run.path / Gallery.FILE, Gallery)
        if gallery is None or not self.run.rounds:
            return {}
        model = self.run.method_model(self.run.rounds[-1]).title
        kept, _ = find_heats(self.run.path, gallery.cards, model, compute=False)
        return {card.id: kept[card.image] for card in gallery.cards if card.image in kept}

    @lru_cache(maxsize=256)  # noqa: B019 -- one object a process
    def sha256(self, name: str) -> str:
        """Return the digest of an image's file."""
        try:
            return hashlib.sha256(self._file(name).read_bytes()).hexdigest()
        except OSError as error:
            raise SeeWhyError(f"{self.rows[name].image} cannot be read: {error.strerror}.") from error

    # What a person says.

    def judge(self, who: str, name: str, concept: str, value: str) -> bool:
        """Write whether an image shows a concept."""
        pair = next((p for p in self.of_image.get(name, ()) if p.concept == concept), None)
        if pair is None:
            raise SeeWhyError(f"{concept!r} is no concept of the class of {name!r} in this run.")
        selection = {"digest": self.run.fingerprint(self.stage), "selected": pair.selected,
                     "score": None if pair.score != pair.score else round(pair.score, 6),
                     "drawn": "by chance" if name in self.order.by_chance else "in doubt"}  # fmt: skip
        return self._write(new_verdict(who, "concept", value, image=name, sha256=self.sha256(name), concept=concept,
                                       selection=selection))  # fmt: skip

    def judge_label(self, who: str, name: str, value: str) -> bool:
        """Write whether an image's label is right."""
        return self._write(new_verdict(who, "label", value, image=name, sha256=self.sha256(name),
                                       label=self.rows[name].label))  # fmt: skip

    def change_bank(self, who: str, name: str, concept: str, value: str, wording: str = "") -> bool:
        """Write what is to become of a concept of the image's class. Raises SeeWhyError for an image outside train."""
        row = self.rows[name]
        if row.split != "train":
            raise SeeWhyError(f"The bank is trained on, so it is not changed for what a {row.split} image shows.")
        verdict = new_verdict(who, "bank", value, image=name, sha256=self.sha256(name), label=row.label,
                              concept=concept, wording=wording)  # fmt: skip
        for_training([*self.verdicts(), verdict], self._given)  # refuses to empty a class
        return self._write(verdict)

    def count_for_others(self, who: str, value: str) -> bool:
        """Write whether what is said of some images counts for the others too: "on" or "off"."""
        return self._write(new_verdict(who, "carry", value))

    def would_change(self, name: str, concept: str) -> tuple[int, list[str]]:
        """Return how many train images the class has, and those for which the concept is selected."""
        label = self.rows[name].label
        of_class = [p for p in self.pairs if p.label == label and p.concept == concept]
        return len(of_class), [p.image for p in of_class if p.selected]

    def mark(self, who: str, name: str, visible: Sequence[str], hidden: Sequence[str]) -> bool:
        """Write all that an image outside train shows of the bank, and the marks so far as truth in marks.jsonl."""
        phrases = self.run.bank.all_concepts
        if self.rows[name].split == "train":
            raise SeeWhyError("Train images are not marked by the whole bank: marks measure.")
        if strange := sorted({*visible, *hidden}.difference(phrases)):
            raise SeeWhyError(f"{strange[0]!r} is no phrase of the bank.")
        absent = tuple(p for p in phrases if p not in visible and p not in hidden)
        only_hidden = tuple(p for p in phrases if p in hidden and p not in visible)
        written = self._write(new_verdict(who, "marks", "complete", image=name, sha256=self.sha256(name),
                                          visible=tuple(p for p in phrases if p in visible), hidden=only_hidden,
                                          absent=absent))  # fmt: skip
        self.write_truth()
        return written

    def write_truth(self) -> None:
        """Write what people's marks say of images outside train, in the format of `data.truth`, beside the verdicts."""
        from seewhy.domain.corrections import for_measuring

        blank = self.run.corrections.domain(self._given)
        truth = for_measuring(self.verdicts(), _without_truth(blank)).truth or {}
        lines = [_truth_line(of) for _, of in sorted(truth.items())]
        write_atomically(self.path.with_name(MARKS_FILE), "".join(lines).encode())

    def undo(self, who: str) -> Verdict | None:
        """Take back what this person said last, and return it; None where there is nothing."""
        last = last_of(self.verdicts(), clean_name(who))
        if last and self._write(new_verdict(who, "undo", "undo", of=last.id)) and last.kind == "marks":
            self.write_truth()
        return last

    def _write(self, verdict: Verdict) -> bool:
        if self.is_busy:
            raise SeeWhyError(f"{self.run.path} is being written by a run: until it ends this page only shows.")
        return append(self.path, verdict)

    @property
    def was_obeyed(self) -> bool:
        """Whether the run has been made with verdicts."""
        return self.run.is_complete(VERDICTS)

    def agreements(self, opinions: Opinions) -> list[review.Agreement]:
        """Return how far people agree."""
        return agreements(opinions)


def _by_image(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        found[pair.image].append(pair)
    return found


@lru_cache(maxsize=4)
def _shard(path: Path) -> list[Description]:
    return decode_shard(path, Description)[0]


def _without_truth(domain: Any) -> Any:
    from dataclasses import replace

    return replace(domain, truth=None)


def _truth_line(of: Any) -> str:
    import json

    record = {"example_id": of.example_id, "visible": of.visible, "hidden": of.hidden, "absent": of.absent,
              "complete": of.complete}  # fmt: skip
    return json.dumps(record, ensure_ascii=False) + "\n"
