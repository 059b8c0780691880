"""Chat templates of many manners: those in which an answer follows its prompt are taken, the others refused.

The thinking ones are written after the templates of Qwen3, Qwen3.5, SmolLM3, GLM-4.5V, DeepSeek-V3.1, Seed-OSS,
Qwen3-VL-Thinking, GLM-4.1V-Thinking, Magistral and gpt-oss: what stands before an answer is theirs.
"""

import json
from pathlib import Path

import pytest

from seewhy.errors import SeeWhyError
from seewhy.vlm.chat import encode_answered
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.template import switch_of
from tiny import CHAT_TEMPLATE, tiny_llava


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny_llava(tmp_path / "base")


def manner(before_answer: str, prompt: str, head: str = "") -> str:
    """A template that writes `before_answer` before an assistant's text, and `prompt` at a prompt's end."""
    return (
        head + "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}USER: "
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}"
        "{% endif %}{% endfor %}\n{% else %}" + before_answer + "{{ message['content'][0]['text'] }}{{ eos_token }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}" + prompt + "{% endif %}"
    )


EMPTY = "BOT:<think>\n\n</think>\n\n"
SWITCHABLE = {
    "Qwen3.5": manner(EMPTY, "BOT:{{ '<think>\n' }}{{ '\n</think>\n\n' if enable_thinking is false }}"),
    "Qwen3": manner(EMPTY, "BOT:{% if not (enable_thinking | default(true)) %}<think>\n\n</think>\n\n{% endif %}"),
    "SmolLM3": manner(
        "BOT:\n",
        "BOT:\n{% if think_now %}<think>\n{% else %}<think>\n\n</think>\n{% endif %}",
        "{% set think_now = enable_thinking if enable_thinking is defined else true %}",
    ),
    "GLM-4.5V": manner("BOT:\n<think></think>\n", "BOT:{{ '\n<think></think>\n' if enable_thinking is false }}"),
    "DeepSeek-V3.1": manner(
        "BOT:</think>",
        "BOT:{% if not thinking %}</think>{% else %}<think>{% endif %}",
        "{% if not thinking is defined %}{% set thinking = true %}{% endif %}",
    ),
    "Seed-OSS": manner(
        "BOT:\n",
        "BOT:\n{% if thinking_budget is defined and thinking_budget == 0 %}<seed:think>none</seed:think>"
        "{% else %}<seed:think>{% endif %}",
    ),
}
REFUSED = {
    "Qwen3-VL-Thinking": (manner(EMPTY, "BOT:<think>\n"), r"between a prompt and its answer.*cannot be turned off"),
    "GLM-4.1V-Thinking": (manner("BOT:", "BOT:<think>"), "'<think>', which it does not write before an answer"),
    "Magistral": (manner("BOT:", "BOT:[THINK]"), r"ends a prompt with '\[THINK\]'"),
    "Seed": (manner("BOT:\n", "BOT:\n<seed:think>"), "ends a prompt with '<seed:think>'"),
    "gpt-oss": (
        manner("<|start|>bot<|channel|>final<|message|>", "<|start|>bot<|channel|>analysis<|message|>"),
        r"ends a prompt with 'analysis<\|message\|>'",
    ),
    "no generation prompt": (manner("BOT:", ""), "goes on with 'BOT:' between a prompt and its answer"),
}


def with_template(base: Path, template: str) -> Path:
    (base / "chat_template.jinja").write_text(template)
    return base


def taught(vlm: VisionLanguageModel) -> str:
    """What stands in a training row before the answer's first word."""
    row = encode_answered(vlm, "Name it.", "A crow.", None)
    return str(vlm.tokenizer.decode(row["input_ids"][0])).split("A crow.")[0]


@pytest.mark.parametrize("family", SWITCHABLE)
def test_thinking_is_turned_off_where_the_template_can(base: Path, tmp_path: Path, family: str):
    vlm = VisionLanguageModel.load(with_template(base, SWITCHABLE[family]), device="cpu")
    prompt = vlm.render("Name it.", image=False)
    assert prompt.rstrip().endswith(("</think>", "</seed:think>")), "no thought is open"
    assert taught(vlm) == prompt, "an answer is taught where it is sampled"
    assert vlm.render("Name it.", image=True).replace("<image>\n", "") == prompt
    vlm.save(tmp_path / "tuned")
    again = VisionLanguageModel.load(tmp_path / "tuned", device="cpu")
    assert again.processor.chat_template == vlm.processor.chat_template, "every copy keeps it, and it is set once"
    assert again.render("Name it.", image=False) == prompt
    ((variable, value),) = switch_of(again.processor).items()
    assert (variable, value) in {("enable_thinking", False), ("thinking", False), ("thinking_budget", 0)}


@pytest.mark.parametrize("family", REFUSED)
def test_a_thought_that_cannot_be_turned_off_is_refused_at_load(base: Path, family: str):
    template, problem = REFUSED[family]
    with pytest.raises(SeeWhyError, match=problem):
        VisionLanguageModel.load(with_template(base, template), device="cpu")


def test_a_closed_thought_and_white_space_are_no_fault(base: Path):
    """Gemma 4 writes an empty thought into its prompts alone; many templates differ in a line break."""
    for before, prompt in (("BOT:\n", "BOT:\n<|channel>thought\n<channel|>"), ("BOT:", "BOT:\n"), ("BOT: ", "BOT:")):
        template = manner(before, prompt)
        vlm = VisionLanguageModel.load(with_template(base, template), device="cpu")
        assert vlm.processor.chat_template == template, "left as it is"
        assert switch_of(vlm.processor) == {}


def test_a_template_that_thinks_nothing_is_left_as_it_is(base: Path):
    vlm = VisionLanguageModel.load(base, device="cpu")
    assert vlm.processor.chat_template == CHAT_TEMPLATE
    assert switch_of(vlm.processor) == {}


def test_tokens_that_merge_across_the_prompts_end_are_refused(base: Path):
    template = CHAT_TEMPLATE.replace("%}ASSISTANT:{% endif", "%}ASSISTANT: {% endif")
    with pytest.raises(SeeWhyError, match=r"joins the end of a prompt, .*'.*: ', to the beginning of an answer.*space"):
        VisionLanguageModel.load(with_template(base, template), device="cpu")


TEXT_ALONE = "{% for m in messages %}{{ '[' + m['role'] + '] ' + m['content'] + '\n' }}{% endfor %}[assistant] "
STRICT = (
    "{% if messages[0]['role'] != 'system' %}{{ raise_exception('A system message must come first') }}{% endif %}"
    + CHAT_TEMPLATE
)
BROKEN = {
    "concatenates": (TEXT_ALONE, "takes text alone, not a list of parts.*Put the template of the image-text model"),
    "prints the list": (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:",
        "takes text alone, not a list of parts",
    ),
    "strict on system": (STRICT, "refuses .* .A system message must come first.*one user turn"),
    "strict on images": (
        CHAT_TEMPLATE.replace("<image>\n", "{{ raise_exception('Images are not supported') }}"),
        "refuses .* .Images are not supported",
    ),
    "strict on answers": (
        CHAT_TEMPLATE.replace("{% else %}ASSISTANT: ", "{% else %}{{ raise_exception('Only user turns') }}"),
        "refuses .* .Only user turns",
    ),
    "syntax": (CHAT_TEMPLATE[:150], r"is no valid Jinja \(line \d+: .*Get chat_template.jinja"),
    "undefined": (CHAT_TEMPLATE.replace("part['text']", "part.said.aloud"), "refuses .* \\(.*no attribute 'said'"),
    "wrong type": (CHAT_TEMPLATE.replace("part['text']", "part['text'] + 1"), "refuses .* .TypeError"),
    "escaped": (CHAT_TEMPLATE.replace("part['text']", "part['text'] | tojson"), "does not write a question as it"),
    "twice": (
        CHAT_TEMPLATE.replace("{{ part['text'] }}", "{{ part['text'] }}{{ part['text'] }}"),
        "as it stands, once",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_template_that_no_question_can_be_put_with_is_named(base: Path, kind: str):
    template, problem = BROKEN[kind]
    with pytest.raises(SeeWhyError, match=problem):
        VisionLanguageModel.load(with_template(base, template), device="cpu")


def test_answers_may_be_text_where_questions_are_parts(base: Path):
    """Some templates take a list of parts from the user and a text from the assistant."""
    expected = VisionLanguageModel.load(base, device="cpu")
    template = CHAT_TEMPLATE.replace(
        "{% for part in message['content'] %}",
        "{% if message['role'] == 'assistant' %}{{ message['content'] + '' }}{% endif %}"
        "{% for part in message['content'] if message['role'] == 'user' %}",
    )
    vlm = VisionLanguageModel.load(with_template(base, template), device="cpu")
    assert vlm.answer_context == expected.answer_context == ("<s>USER: ? ASSISTANT:", " ")
    assert vlm.end_token_id == expected.end_token_id


@pytest.mark.parametrize("several", [False, True])
def test_a_template_in_tokenizer_config_alone_is_taken(base: Path, tmp_path: Path, several: bool):  # noqa: FBT001
    (base / "chat_template.jinja").unlink()
    path = base / "tokenizer_config.json"
    template = [{"name": "default", "template": CHAT_TEMPLATE}] if several else CHAT_TEMPLATE
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))
    vlm = VisionLanguageModel.load(base, device="cpu")
    assert vlm.render("Name it.", image=True) == "<s>USER: <image>\nName it. ASSISTANT:"
    vlm.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "chat_template.jinja").read_text() == CHAT_TEMPLATE
