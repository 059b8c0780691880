"""`seewhy review RUN`: the page on which people say what only they can, most useful first.

For each train image: the photo, its class and the class's concepts, with what was selected, the score and the
descriptions that spoke for it. Keys and buttons say right, wrong, cannot be seen; the label can be wrong, and a concept
struck or reworded for its class. Test and val images are marked against the whole bank, which measures. The browser
sends one request after the other, and each is answered when its verdict is on disk.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seewhy.domain.corrections import CARRY, Opinions
from seewhy.domain.verdicts import Verdict
from seewhy.errors import SeeWhyError
from seewhy.pages.door import Door
from seewhy.pages.reviewing import LISTED, Reviewing
from seewhy.pages.shell import blocks, gradio, rendered, scratch_folder, serve_page
from seewhy.proof import review as showing
from seewhy.results import Figure
from seewhy.run.finished import FinishedRun
from seewhy.run.progress import say

CARRIED = {"on": "count for other images too", "off": "count for the images that were judged alone"}
WORDS = {
    "right": "right",
    "wrong": "wrong",
    "hidden": "cannot be seen",
    "struck": "strike it",
    "kept": "keep it",
    **CARRIED,
}
PARTS = ("train", "test", "summary")
_SCRIPT = (Path(__file__).parent / "templates" / "review.js").read_text(encoding="utf-8")


def review(run: str, door: Door, *, reviewer: str, verdicts: str | None) -> None:
    """Open the page and serve it until Ctrl-C. Raises SeeWhyError for a run without selections, before it opens."""
    gradio("The review")
    opened = FinishedRun.open(run)
    reviewing = Reviewing(opened, Path(verdicts) if verdicts else opened.verdicts_file)
    say(f"Verdicts go to {reviewing.path}.")
    if verdicts and Path(verdicts).resolve() != opened.verdicts_file.resolve():
        say(f"A run obeys {opened.verdicts_file}: set data.verdicts, or it will not see these.")
    with scratch_folder(opened.path):
        serve_page(review_page(reviewing, reviewer), door, f"Review of {opened.path}")


def review_page(reviewing: Reviewing, reviewer: str = "") -> Any:
    """Return the page."""
    gr = gradio("The review")
    title = f"Review of {reviewing.run.path}"

    def act(asked: str) -> dict[str, Any]:
        return answer(reviewing, asked)

    frame = rendered("review_frame.html", title=title, reviewer=reviewer)
    with blocks(title) as page:
        gr.HTML(value="", html_template=_literal(frame), js_on_load=_SCRIPT, server_functions=[act], elem_id="review")
    return page


def _literal(html: str) -> str:
    """Return HTML that Gradio's template, a JavaScript template literal and Handlebars, leaves as it is."""
    return html.replace("\\", "&#92;").replace("`", "&#96;").replace("$", "&#36;").replace("{", "&#123;")


def answer(reviewing: Reviewing, asked: str) -> dict[str, Any]:
    """Do what a browser asks, and return what the page shows then: html, part, image, said, problem, count."""
    try:
        request = json.loads(asked)
        if not isinstance(request, dict):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        return _problem("This is no request of the page.")
    who = str(request.get("who") or "").strip()
    part = request.get("part") if request.get("part") in PARTS else "train"
    image = request.get("image") if request.get("image") in reviewing.rows else ""
    try:
        said, part, image, focus, editing = _done(reviewing, request, who, str(part), str(image))
        return _shown(reviewing, who, part, image, focus, editing, said)
    except SeeWhyError as error:
        return _problem(str(error))


def _problem(text: str) -> dict[str, Any]:
    return {"html": "", "said": text, "problem": True, "part": "train", "image": "", "count": 0}


def _done(
    reviewing: Reviewing, request: Mapping[str, Any], who: str, part: str, image: str
) -> tuple[str, str, str, str, str]:
    """Return what to say, the part and image to show, the concept to focus on, and the one that is being edited."""
    do, value = request.get("do"), str(request.get("value") or "")
    if do == "go":
        return "", value if value in PARTS else "train", "", "", ""
    if do == "carry":
        reviewing.count_for_others(who, value)
        return f"Saved: the verdicts {CARRIED.get(value, '')}.", "summary", "", "", ""
    if do == "rules":
        count = len(reviewing.selected_by_other_rules)
        return f"{count} other rules have been scored on this run's descriptions.", "summary", "", "", ""
    names = reviewing.names(part)
    if image not in names:
        image = _first_open(reviewing, who, part)
    if do in ("next", "back"):
        return "", part, _beside(names, image, 1 if do == "next" else -1), "", ""
    if do == "edit":
        return "", part, image, value, value
    if do in ("right", "wrong", "hidden"):
        new = reviewing.judge(who, image, value, str(do))
        upcoming = _next_asked(reviewing, who, image)
        told = f"{'Saved' if new else 'Already said'}: {value}: {WORDS[str(do)]}."
        return told, part, image if upcoming else _beside(names, image, 1), upcoming, ""
    if do == "label":
        opinions = Opinions.read(reviewing.verdicts())
        own = opinions.of.get(("label", image, ""), {}).get(who)
        said = "right" if value == own == "wrong" else value
        reviewing.judge_label(who, image, said)
        return f"Saved: the label of {image} is {said}.", part, image, "", ""
    if do in ("struck", "reworded", "kept"):
        wording = str(request.get("wording") or "") if do == "reworded" else ""
        reviewing.change_bank(who, image, value, str(do), wording)
        return f"Saved: {value}: {wording or WORDS[str(do)]}.", part, image, value, value
    if do == "marks":
        reviewing.mark(who, image, _texts(request.get("visible")), _texts(request.get("hidden")))
        return f"Saved: {image} is marked by the whole bank.", part, _beside(names, image, 1), "", ""
    if do == "undo":
        last = reviewing.undo(who)
        if last is None:
            return "There is nothing to take back.", part, image, "", ""
        if last.kind == "carry":
            return f"Taken back: {_about(last)}.", "summary", "", "", ""
        shown = "train" if last.image in reviewing.of_image else "test"
        return f"Taken back: {_about(last)}.", shown, last.image, last.concept, ""
    return "", part, image, "", ""


def _texts(given: Any) -> list[str]:
    return [text for text in given if isinstance(text, str)] if isinstance(given, list) else []


def _about(verdict: Verdict) -> str:
    if verdict.kind == "carry":
        return f"that verdicts {CARRIED[verdict.verdict]}"
    what = verdict.concept or ("the label" if verdict.kind == "label" else "the marks")
    return f"{what} of {verdict.image}: {WORDS.get(verdict.verdict, verdict.wording or verdict.verdict)}"


def _beside(names: Any, image: str, step: int) -> str:
    if not names:
        return ""
    place = names.index(image) + step if image in names else 0
    return names[min(max(place, 0), len(names) - 1)]


def _first_open(reviewing: Reviewing, who: str, part: str) -> str:
    """Return the first image in the order that this person has not judged yet."""
    names = reviewing.names(part)
    judged = {(v.image) for v in reviewing.verdicts() if v.who == who and v.image}
    if part == "train":
        return next((n for n in names if n not in judged or _next_asked(reviewing, who, n)), names[0] if names else "")
    return next((n for n in names if n not in judged), names[0] if names else "")


def _next_asked(reviewing: Reviewing, who: str, image: str) -> str:
    """Return the first concept of those asked about that this person has not judged; empty where there is none."""
    opinions = Opinions.read(reviewing.verdicts())
    asked = reviewing.order.asked.get(image, ())[: showing.ASKED]
    if opinions.of.get(("label", image, ""), {}).get(who) == "wrong":
        return ""
    return next((c for c in asked if who not in opinions.of.get(("concept", image, c), {})), "")


def _shown(
    reviewing: Reviewing, who: str, part: str, image: str, focus: str, editing: str, said: str
) -> dict[str, Any]:
    verdicts = reviewing.verdicts()
    opinions = Opinions.read(verdicts)
    count = sum(who in of for of in opinions.of.values())
    values: dict[str, Any] = {"part": part, "busy": reviewing.is_busy, "words": WORDS, "image": ""}
    if part == "summary":
        values |= _summary(reviewing, verdicts, opinions, who)
    else:
        names = reviewing.names(part)
        image = image if image in names else _first_open(reviewing, who, part)
        if image:
            values |= _image(reviewing, part, image, names.index(image) + 1, len(names), who, opinions)
        if image and part == "train":
            seen = values["seen"] = reviewing.seen(image, who, opinions)
            values["focus"] = focus or _next_asked(reviewing, who, image) or (seen[0].concept if seen else "")
            values |= _editing(reviewing, image, editing, opinions)
        elif image:
            own = {c: of[who] for (kind, name, c), of in opinions.of.items()
                   if kind == "concept" and name == image and who in of}  # fmt: skip
            listed = reviewing.run.bank.get(reviewing.rows[image].label, ())
            ordered = [*listed, *(p for p in reviewing.run.bank.all_concepts if p not in listed)]
            values |= {
                "phrases": [(p, own.get(p, "")) for p in ordered],
                "is_marked": (image, who) in opinions.complete,
            }
    html = rendered("review.html", **values)
    return {"html": html, "part": part, "image": image, "said": said, "problem": False, "count": count}


def _image(
    reviewing: Reviewing, part: str, image: str, place: int, of: int, who: str, opinions: Opinions
) -> dict[str, Any]:
    labels = opinions.of.get(("label", image, ""), {})
    try:
        photo, problem = reviewing.photo(image), ""
    except SeeWhyError as error:
        photo, problem = "", str(error)
    return {
        "image": image, "label": reviewing.rows[image].label, "photo": photo, "problem": problem, "place": place,
        "of": of, "drawn": part == "train" and image in reviewing.order.by_chance, "own_label": labels.get(who, ""),
        "label_wrong_by_others": sorted(w for w, v in labels.items() if v == "wrong" and w != who),
        "heats": reviewing.heats(image),
    }  # fmt: skip


def _editing(reviewing: Reviewing, image: str, concept: str, opinions: Opinions) -> dict[str, Any]:
    if not concept:
        return {"editing": ""}
    label, config = reviewing.rows[image].label, reviewing.run.config
    of_class, selected = reviewing.would_change(image, concept)
    change = (
        f"It is selected in {len(selected)} of {of_class} train images of {label}. Started again, the run selects anew "
        f"and writes the {of_class * config.synthesise.answers_per_image} answers of round 1 about these images anew; "
        "the descriptions stay."
    )
    said = opinions.of.get(("bank", label, concept), {})
    return {
        "editing": concept, "change": change, "selected_in": selected[:LISTED],
        "more": max(0, len(selected) - LISTED), "bank_said": [(w, WORDS.get(v, v)) for w, v in said.items()],
    }  # fmt: skip


def _summary(reviewing: Reviewing, verdicts: list[Verdict], opinions: Opinions, who: str) -> dict[str, Any]:
    shown, config = reviewing.shown(opinions), reviewing.run.config.select
    people = ", ".join(opinions.people) or "nobody"
    lines = [f"{shown.verdicts} settled verdicts on concepts of train images, by {people}."]
    reword: tuple[showing.Reword, ...] = ()
    if shown.verdicts < showing.ENOUGH:
        lines.append(f"From {showing.ENOUGH} on, this page says how often the selection is right.")
    else:
        reword = shown.reword
        lines += [
            f"Selected concepts that are right, in images drawn by chance: {_figure(shown.precision)}.",
            f"The same in images chosen because they are doubtful, which says nothing of the others: "
            f"{_figure(shown.precision_in_doubt)}.",
            f"Concepts that were not selected and are right, in images drawn by chance: {_figure(shown.missed)}.",
            f"Rule '{config.rule}' with {shown.better.threshold:.3g} instead of {showing.threshold(config):.3g} would "
            f"agree with {shown.better.agrees} of the verdicts on images drawn by chance instead of {shown.better.now}."
            if shown.better
            else f"No other threshold of rule '{config.rule}' agrees with more of the verdicts on images "
            "drawn by chance, beyond luck.",
        ]
    if labels := sorted(n for (kind, n, _), v in opinions.settled.items() if kind == "label" and v == "wrong"):
        lines.append(f"Labels said to be wrong: {', '.join(labels[:LISTED])}{' ...' if len(labels) > LISTED else ''}.")
    anew, carried = reviewing.remade(verdicts), reviewing.carried(verdicts)
    by_chance = sum(figure.n or 0 for figure in (shown.precision, shown.missed) if figure)
    conflicts = [(" ".join(filter(None, subject[1:])) or "whether verdicts count for other images too",
                  [(w, WORDS.get(v, v)) for w, v in of.items()])
                 for subject, of in opinions.conflicts.items()]  # fmt: skip
    return {
        "lines": lines, "reword": reword, "people": reviewing.agreements(opinions), "conflicts": conflicts[:LISTED],
        "anew": str(anew) if anew else "", "carried": carried, "listed": LISTED,
        "enough": shown.verdicts >= showing.ENOUGH and by_chance > 0, "level": showing.LEVEL, "rule": config.rule,
        "rules": reviewing.other_rules(opinions) if reviewing.rules_are_scored else None,
        "carry_said": opinions.of.get(CARRY, {}), "own_carry": opinions.of.get(CARRY, {}).get(who, ""),
        "carries": opinions.settled.get(CARRY) == "on",
    }  # fmt: skip


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "none judged yet"
    reach = f" ({100 * figure.interval[0]:.0f} to {100 * figure.interval[1]:.0f})" if figure.interval else ""
    return f"{100 * figure.value:.0f} %{reach} of {figure.n}"
