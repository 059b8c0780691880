"""`seewhy chat RUN`: drop a photo, ask, and see what the models of a run say of it, and why.

Several models answer side by side, each token as it is written. Then follow the label, how many sampled answers agree,
and each reason with its support and an overlay of where the model looks. A question without a new photo goes on with
the conversation: each model sees its own earlier answers.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.explanation.asking import Asker, Question
from seewhy.explanation.explained import STYLE, Explanation
from seewhy.explanation.near import Neighbours
from seewhy.pages.door import Door
from seewhy.pages.shell import FORGOTTEN_AFTER, blocks, gradio, leave_a_core, rendered, scratch_folder, serve_page
from seewhy.pages.uploads import opened_file, shown_name
from seewhy.report.pictures import data_uri, small
from seewhy.run.finished import FinishedRun
from seewhy.run.sources import CELLS
from seewhy.run.stages import BASE, ModelKey

SINGLE_QUESTIONS = ("fieldguide", CELLS)
"""Small bases that were taught single questions and answer worse in a conversation."""
SHOWN_TURNS = 12
"""Questions that stay on the page."""
SHOWN_EVERY = 0.15
"""Seconds between updates of an answer that is being written."""
LONGEST_QUESTION = 2000
"""Characters."""


@dataclass
class Turn:
    """One question of a conversation, and what each model answered."""

    question: str
    photo: int
    """Number of the photo it is about, from 1."""
    said: dict[ModelKey, Explanation] = field(default_factory=dict)


@dataclass
class Conversation:
    """What was asked on one page since it was opened. The newest photo is the one that is asked about."""

    picture: Image.Image | None = None
    name: str = ""
    photos: int = 0
    turns: list[Turn] = field(default_factory=list)

    def show(self, picture: Image.Image, name: str) -> None:
        """Begin with another photo."""
        self.picture, self.name, self.photos = picture, name, self.photos + 1

    def earlier(self, model: ModelKey) -> tuple[tuple[str, str], ...]:
        """Return what this model was asked about this photo and answered."""
        about = [turn for turn in self.turns if turn.photo == self.photos and model in turn.said]
        return tuple((turn.question, turn.said[model].answer) for turn in about)


def chat(run: str, door: Door, *, samples: int, round: int | None, trust_remote_code: bool | None) -> None:
    """Open the page and serve it until Ctrl-C. Raises SeeWhyError for a run without models, before it opens."""
    gradio("The chat")
    opened = FinishedRun.open(run, trust_remote_code=trust_remote_code)
    asker = Asker(opened, samples=samples)
    first = opened.method_model(round) if round is not None or opened.rounds else BASE
    with leave_a_core(), scratch_folder(opened.path):
        asker.model(first)
        serve_page(chat_page(asker, first, door), door, f"Chat with {opened.path}")


def chat_page(asker: Asker, first: ModelKey, door: Door) -> Any:
    """Return the page, with `first` as the model that is asked unless others are chosen."""
    gr, run = gradio("The chat"), asker.run
    models = {key.title: key for key in run.models}
    title = f"Chat with {run.path}"
    with blocks(title) as page:
        conversation = gr.State(None, time_to_live=FORGOTTEN_AFTER)
        gr.HTML(
            rendered("head.html", title=title, noun=run.config.data.noun, samples=asker.samples, style=Markup(STYLE))
        )
        chosen = gr.CheckboxGroup(list(models), value=[first.title], label="Models, side by side", elem_id="models")
        asked = gr.MultimodalTextbox(
            label="Photo and question", placeholder=run.questions.evaluation, sources=["upload"], file_types=["image"],
            file_count="single", max_plain_text_length=LONGEST_QUESTION, elem_id="ask",
            info="Drop a photo here or add one with the button. Without a question of your own the usual one is asked.",
        )  # fmt: skip
        goes_on = gr.Checkbox(
            run.config.model.name_or_path not in SINGLE_QUESTIONS, label="Tell a model its earlier answers",
            info="With small models that only know single questions this makes answers worse.", elem_id="goes-on",
        )  # fmt: skip
        live = gr.HTML("", elem_id="live")
        log = gr.HTML(_log(Conversation()), elem_id="log")
        same = "Training images with the same reason as the newest answer, the nearest first"
        reason = gr.Radio([], label=same, visible=False, elem_id="reason")
        near = gr.HTML("", elem_id="near")
        neighbours = Neighbours(asker)

        def answer(
            given: dict[str, Any] | None, wanted: list[str], tell: bool, begun: Conversation | None  # noqa: FBT001
        ) -> Iterator[Any]:  # fmt: skip
            talk = begun or Conversation()
            text = str((given or {}).get("text") or "").strip()
            files = [Path(file) for file in (given or {}).get("files") or ()]
            keys = [key for name, key in models.items() if name in wanted] or [first]
            try:
                if files:
                    talk.show(opened_file(files[-1], door), shown_name(files[-1].name))
                yield from _answered(asker, talk, text, keys, tell=tell)
            except SeeWhyError as error:
                yield _problem(str(error)), gr.skip(), talk, *[gr.skip()] * 3
                return
            concepts = _concepts(talk.turns[-1])
            yield "", _log(talk), talk, gr.update(value=None), gr.update(
                choices=concepts, value=None, visible=bool(concepts)
            ), ""  # fmt: skip

        def show_near(concept: str | None, talk: Conversation | None) -> str:
            if not concept or talk is None or not talk.turns:
                return ""
            model, said = list(talk.turns[-1].said.items())[-1]
            try:
                found = neighbours.of(concept, said.picture, model)
            except SeeWhyError as error:
                return _problem(str(error))
            return rendered("near.html", concept=concept, found=[(one, data_uri(small(one.picture))) for one in found])

        model_job: dict[str, Any] = {
            "concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private", "show_progress": "hidden",
        }  # fmt: skip
        shown = [live, log, conversation, asked, reason, near]
        asked.submit(answer, [asked, chosen, goes_on, conversation], shown, **model_job)
        reason.input(show_near, [reason, conversation], near, **model_job)
    return page


def _answered(asker: Asker, talk: Conversation, text: str, keys: Sequence[ModelKey], *, tell: bool) -> Iterator[Any]:
    """Put a question to each model; yield what the page shows meanwhile, and add the turn to the conversation."""
    gr = gradio("The chat")
    if talk.picture is None:
        raise SeeWhyError("There is no photo yet: drop one, or add one with the button.")
    if len(text) > LONGEST_QUESTION:
        raise SeeWhyError(f"The question has {len(text)} characters, more than {LONGEST_QUESTION}: ask a shorter one.")
    turn = Turn(text or asker.run.questions.evaluation, talk.photos)
    for key in keys:
        yield _live(key.title, "…"), *[gr.skip()] * 5
        question = Question(talk.picture, turn.question, key, talk.earlier(key) if tell else (), talk.name)
        written, shown = "", -SHOWN_EVERY
        for written in asker.stream(question):
            if (now := time.monotonic()) - shown >= SHOWN_EVERY:  # each update costs as much as a few tokens
                shown = now
                yield _live(key.title, written), *[gr.skip()] * 5
        yield _live(key.title, written, "asking again to see how steady this is"), *[gr.skip()] * 5
        turn.said[key] = asker.explain(question, written)
    talk.turns.append(turn)


def _concepts(turn: Turn) -> list[str]:
    """Return what the answers of a turn state, each concept once."""
    return list(dict.fromkeys(reason.concept for said in turn.said.values() for reason in said.reasons))


def _log(talk: Conversation) -> str:
    return rendered("log.html", turns=talk.turns[-SHOWN_TURNS:][::-1], more=max(0, len(talk.turns) - SHOWN_TURNS))


def _live(model: str, text: str, doing: str = "") -> str:
    return rendered("live.html", model=model, text=text, doing=doing, problem="")


def _problem(text: str) -> str:
    return rendered("live.html", model="", text="", doing="", problem=text)
