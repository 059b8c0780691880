"""The chat template of a model, made fit for short answers when the model is loaded, or refused.

A prompt must end where an answer begins. The prompts of models that think first open a thought (`<think>`): answers
would be taught inside it. Where the template has a switch for thinking, it is set at the head of the template, so that
every copy that is saved or exported keeps it. Where it has none, the model is refused.
"""

import re
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import ProcessorMixin

from seewhy.errors import SeeWhyError

MARK = "\0"
"""Stands for a question or an answer while the text around it is compared."""

SWITCHES = {
    "enable_thinking": "false", "thinking": "false", "enable_reasoning": "false", "think": "false",
    "thinking_budget": "0", "reasoning_effort": "'none'",
}  # fmt: skip
"""Template variables by which models let a chat turn thinking off, and the value (Jinja) that does so."""

TEMPLATE_FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What rendering may raise: a template is a program of somebody else's."""

ORDINARY_ANSWERS = ("This is a crow.", "A crow.", "The bill is black.", "It has a red crest.", "Yes.", "crow", "2")

_ENDS_A_THOUGHT = re.compile(r"(</[\w:]+>|\[/\w+\]|◁/\w+▷|<\w+\|>|<\|/\w+\|>|<\|end[^<>]*>)\s*$", re.IGNORECASE)
_SWITCHED = re.compile(r"\{% set (\w+) = ([\w']+) %\}\n")


def prompt(processor: ProcessorMixin, question: str, *, image: bool, earlier: Sequence[tuple[str, str]] = ()) -> str:
    """Render the prompt for a question, with or without an image, up to where the answer begins.

    `earlier` are the questions and answers before it; the image belongs to the first question.
    """
    for listed in (True, False):  # some templates take an answer as text alone
        turns: list[dict[str, Any]] = []
        for asked, answer in (*earlier, (question, None)):
            content = [*([{"type": "image"}] if image and not turns else []), {"type": "text", "text": asked}]
            turns.append({"role": "user", "content": content})
            if answer is not None:
                told = [{"type": "text", "text": answer}] if listed else answer
                turns.append({"role": "assistant", "content": told})
        try:
            text = _rendered(processor, turns, add_generation_prompt=True)
        except TEMPLATE_FAILURES:
            if not earlier or not listed:
                raise
            continue
        if all(answer in text for _, answer in earlier):
            return text
    return text


def conversation(processor: ProcessorMixin) -> str:
    """Render a short question and an answer, `MARK`, as the template writes both."""
    question = {"role": "user", "content": [{"type": "text", "text": "?"}]}
    failure: Exception | None = None
    for answer in ([{"type": "text", "text": MARK}], MARK):  # some templates take an answer as text alone
        try:
            text = _rendered(processor, [question, {"role": "assistant", "content": answer}])
        except TEMPLATE_FAILURES as error:
            failure = failure or error
            continue
        if text.count(MARK) == 1:
            return text
        failure = failure or ValueError("it does not write an answer as it stands, once")
    raise failure or AssertionError("each form is written or fails")


def _rendered(processor: ProcessorMixin, turns: Sequence[Any], **settings: Any) -> str:
    return processor.apply_chat_template(list(turns), **settings)  # pyright: ignore[reportArgumentType]


def switch_of(processor: ProcessorMixin) -> dict[str, Any]:
    """Return the template variable by which `prepare` turned thinking off, as a request to a server names it, or {}."""
    found = _SWITCHED.match(str(processor.chat_template))
    values = {"false": False, "0": 0, "'none'": "none"}
    return {found[1]: values[found[2]]} if found and found[1] in SWITCHES and found[2] in values else {}


def prepare(name: str, processor: ProcessorMixin, tokenizer: Any) -> None:
    """Give the processor a template in which an answer follows its prompt, or raise SeeWhyError.

    Takes the tokenizer's template where the processor has none, and turns thinking off where a prompt opens a thought.
    """
    processor.chat_template = _template(name, processor, tokenizer)
    _check_rendering(name, processor)
    if fault := opening_fault(processor):
        _turn_thinking_off(name, processor, fault)
    _check_joint(name, processor, tokenizer)


def _template(name: str, processor: ProcessorMixin, tokenizer: Any) -> str:
    for template in (processor.chat_template, tokenizer.chat_template):
        if isinstance(template, dict):  # several under names of their own
            template = template.get("default")
        if isinstance(template, str) and template.strip():
            return template
    raise SeeWhyError(
        f"Model {name} has no chat template, so it is not known how to put a question to it. Use an "
        f"instruction-tuned model, or add a chat_template.jinja to its folder."
    )


def _check_rendering(name: str, processor: ProcessorMixin) -> None:
    """Raise SeeWhyError where the template cannot write a question, a question about an image, or an answer."""
    try:
        texts = [prompt(processor, MARK, image=image) for image in (False, True)]
        if all(text.count(MARK) == 1 for text in texts):
            conversation(processor)
            return
        fault = f"does not write a question as it stands, once, but {texts[-1][:120]!r}"
    except TemplateSyntaxError as error:
        raise SeeWhyError(
            f"The chat template of model {name} is no valid Jinja (line {error.lineno}: {error.message}). Get "
            f"chat_template.jinja, or tokenizer_config.json where it stands there, again."
        ) from error
    except TEMPLATE_FAILURES as error:
        fault = f"refuses a question about an image and its answer ({_said(error)})"
    if _takes_text_alone(processor):
        raise SeeWhyError(
            f"The chat template of model {name} takes text alone, not a list of parts, so an image has no place in a "
            f"prompt. Put the template of the image-text model as chat_template.jinja into its folder."
        )
    raise SeeWhyError(
        f"The chat template of model {name} {fault}. SeeWhy sends one user turn, an image and a text, and one answer, "
        f"without a system message: put a template that takes them as chat_template.jinja into the model's folder."
    )


def _takes_text_alone(processor: ProcessorMixin) -> bool:
    """Whether a question is written where it is text, as text models have it, and not where it is a list of parts."""
    try:
        if MARK in prompt(processor, MARK, image=False):
            return False
    except TEMPLATE_FAILURES:
        pass
    try:
        return MARK in _rendered(processor, [{"role": "user", "content": MARK}], add_generation_prompt=True)
    except TEMPLATE_FAILURES:
        return False


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text if isinstance(error, TemplateError | ValueError) else f"{type(error).__name__}: {text}"


def opening_fault(processor: ProcessorMixin) -> str | None:
    """Say how a prompt's end differs from what the template writes before an answer, or return None.

    White space is no difference, and neither is a thought that the prompt opens and closes.
    """
    asked, before_answer = prompt(processor, "?", image=False), conversation(processor).split(MARK)[0]
    pairs = zip(asked, before_answer, strict=False)
    shared = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(asked), len(before_answer)))
    extra, lead = asked[shared:], before_answer[shared:]
    if not lead.strip() and (not extra.strip() or _ENDS_A_THOUGHT.search(extra)):
        return None
    if extra.strip():
        return f"ends a prompt with {extra!r}, which it does not write before an answer"
    return f"goes on with {lead!r} between a prompt and its answer"


def _turn_thinking_off(name: str, processor: ProcessorMixin, fault: str) -> None:
    """Set the first of `SWITCHES` with which an answer follows its prompt. Raises SeeWhyError where none does."""
    template = str(processor.chat_template)
    for variable, value in SWITCHES.items():
        if variable not in template:
            continue
        processor.chat_template = f"{{% set {variable} = {value} %}}\n{template}"  # Jinja drops the line break
        try:
            if opening_fault(processor) is None:
                return
        except TEMPLATE_FAILURES:
            continue
    processor.chat_template = template
    raise SeeWhyError(
        f"The chat template of model {name} {fault}: a model that thinks before it answers, and whose thinking cannot "
        f"be turned off ({', '.join(SWITCHES)} make no difference). Answers would be taught inside the thought. Use "
        f"the model's instruct variant, or a chat_template.jinja whose prompt ends where an answer begins."
    )


def _check_joint(name: str, processor: ProcessorMixin, tokenizer: Any) -> None:
    """Raise SeeWhyError where the tokenizer joins a prompt's end to an ordinary answer's beginning.

    The answer that is taught would then not be one that can be sampled after the prompt.
    """
    asked, before_answer = prompt(processor, "?", image=False), conversation(processor).split(MARK)[0]
    lead = before_answer[len(asked) :] if before_answer.startswith(asked) else ""

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    before = ids(asked)
    for answer in ORDINARY_ANSWERS:
        if ids(asked + lead + answer)[: len(before)] != before:
            raise SeeWhyError(
                f"The tokenizer of model {name} joins the end of a prompt, {asked[-12:]!r}, to the beginning of an "
                f"answer, {answer!r}, so what is taught could never be sampled. Mostly the chat template ends a prompt "
                f"with a space: take that out of the part under add_generation_prompt in chat_template.jinja."
            )
