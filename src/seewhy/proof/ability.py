"""`seewhy general RUN`: what a run's models could do before tuning, and can still do.

With the shipped base: the questions that it was taught, about drawings of birds and of produce (fieldguide/quiz.py),
put to the base and to the model of every round; an answer is compared with what is drawn, and differences to the base
are paired by drawing. With data whose experts marked each attribute of each image (`Domain.attributes`): the same kinds
of questions about images of a split, whose answers are compared with the marks. With any other model: benchmarks by
lmms-eval (https://github.com/EvolvingLMMs-Lab/lmms-eval), on
the base and on the best model, with lmms-eval's own scores.

lmms-eval's requirements clash with most other packages', so it is called as a program, from whatever environment it is
installed in, and never imported. Its results are kept in RUN/general/ by the digest of the model's weights, and are not
computed again.
"""

import json
import math
import re
import shlex
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

from seewhy.domain.domain import Domain
from seewhy.domain.images import load_image
from seewhy.domain.marks_quiz import Kind, Sheet, questions_of
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.quiz import ATTRIBUTES, Subject, sheets
from seewhy.method.sampler import example_random
from seewhy.proof.comparison import Tally, differences, shares
from seewhy.proof.confusion import spread
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Example, Truth
from seewhy.results import Ability, Benchmarks, BenchmarkScores, Difference, Drawings, ModelAbility
from seewhy.results_json import find_usable, write
from seewhy.run.finished import FinishedRun
from seewhy.run.models import LoadedModel
from seewhy.run.progress import say
from seewhy.run.stages import BASE, ModelKey
from seewhy.run.storage import digest
from seewhy.vlm.model import resolve

Z = 1.96
"""Standard errors on either side of a score in its 95 % interval."""

_FIGURES: Mapping[Kind, str] = {
    "open": "attribute_accuracy", "yes": "yes_no_accuracy", "no": "yes_no_accuracy", "hidden": "hidden_admitted",
}  # fmt: skip


SUFFIXES: dict[Subject, str] = {"bird": "", "produce": "_produce"}
MARKED = "_marked"
"""Ends the names of the figures about images with marks."""


@dataclass(frozen=True)
class Quiz:
    """Images of one kind with their questions, all phrases of each attribute, and how the figures' names end."""

    sheets: Sequence[Sheet]
    every: Mapping[str, Collection[str]]
    suffix: str


def general(
    run: str, *, split: str | None = None, images: int = 96, arms: Sequence[str] | None = None, seed: int = 0
) -> Ability:
    """Ask the base, the model of each round, and the best model of each other of the `arms` about what images show.

    With the shipped base these are `images` drawings of birds and as many of produce, otherwise images of the run's own
    data whose attributes are marked, spread over the classes. `split` is by default the one that the run is measured
    on. The result is also written to RUN/general.json; a model that was asked the same before is not asked again.
    Raises SeeWhyError for a folder without a run or a model, and for a run of another base on data without marks.
    """
    if images < 1:
        raise SeeWhyError(f"--images is {images}, but at least 1 image of each kind is needed.")
    opened = FinishedRun.open(run, trust_remote_code=False)
    config, last = opened.config, opened.arm_models(arms)
    split = split or config.evaluate.split
    quizzes = _quizzes(opened, split, images, seed)
    images = max(len(quiz.sheets) for quiz in quizzes)
    models = list(dict.fromkeys([BASE, *(model for model in opened.models if model.is_methods), *last.values()]))
    settings: Any = {"resamples": config.evaluate.bootstrap, "seed": seed}
    wanted = Drawings(split, images, seed, config.evaluate.bootstrap, {})
    before = find_usable(Path(run) / Ability.FILE, Ability)
    drawings = before.drawings if before else None
    done = dict(drawings.models) if drawings and replace(drawings, models={}) == wanted else {}
    for model in models:
        name, weights = str(model), opened.weights(model)
        if name in done and done[name].weights == weights:
            say(f"{name}: asked before")
            continue
        counts = _ask(LoadedModel(opened.load(model), config), quizzes, name).counts
        minus_base = None
        if model != BASE:
            of_base = done[str(BASE)].counts
            minus_base = differences(of_base, [counts], [of_base], **settings)
        done[name] = ModelAbility(shares(counts, **settings), counts, weights, model.arm, minus_base)
        _write(run, drawings=replace(wanted, models=done))
    return _write(run, drawings=replace(wanted, models={str(model): done[str(model)] for model in models}))


def benchmarks(
    run: str, tasks: Sequence[str], *, command: str | None = None, kind: str | None = None,
    include: str | None = None, arms: Sequence[str] | None = None,
) -> Ability:  # fmt: skip
    """Run lmms-eval's `tasks` on the base and on the best model of each of the `arms`.

    `command` starts lmms-eval, `kind` is its name for what loads the model, and `include` a folder of tasks beside its
    own. The result is also written to RUN/general.json. Raises SeeWhyError where there is no such folder, or lmms-eval
    is not installed, does not know a task, or fails.
    """
    if not tasks:
        raise SeeWhyError(
            "--tasks names no task; name some: --tasks mmmu_val,mmstar,mmbench_en_dev,mme,seedbench_2_plus"
        )
    if include is not None and not Path(include).is_dir():
        raise SeeWhyError(f"--include_path: there is no folder {include!r} with tasks of lmms-eval.")
    starts = find_command(command)
    opened = FinishedRun.open(run, trust_remote_code=False)
    models = [BASE, *opened.arm_models(arms).values()]
    kind = kind or model_kind(opened.models[models[-1]], None)
    found = {model: scores(opened, model, tasks, starts, kind, include) for model in models}
    scored = {
        str(model): BenchmarkScores(
            {key: score for key, (score, _) in of.items()},
            None if model == BASE else score_changes(found[BASE], of),
        )
        for model, of in found.items()
    }
    return _write(run, lmms_eval=Benchmarks(scored, tuple(tasks)))


def _quizzes(opened: FinishedRun, split: str, images: int, seed: int) -> list[Quiz]:
    if opened.config.model.name_or_path == "fieldguide":
        return [Quiz(sheets(s, split, images, seed), phrases_of(s), suffix) for s, suffix in SUFFIXES.items()]
    domain = opened.domain
    if not domain.attributes:
        raise SeeWhyError(
            f"{opened.path} was not made from the base that is shipped, which was taught the questions about drawings,"
            " and its data do not say which attributes each image has. Name benchmarks:"
            f" seewhy general {opened.path} --tasks mmmu_val,mmstar"
        )
    if not (marked := marked_sheets(domain, split, images, seed)):
        raise SeeWhyError(f"{domain.name} has no {split} images with marks: choose another --split.")
    return [Quiz(marked, domain.attributes, MARKED)]


def phrases_of(subject: Subject) -> dict[str, list[str]]:
    """Return attribute -> the phrases of all its values."""
    return {a.name: [phrase for phrases in a.values.values() for phrase in phrases] for a in ATTRIBUTES[subject]}


def marked_sheets(domain: Domain, split: str, images: int, seed: int) -> list[Sheet]:
    """Return questions about up to `images` of a split whose marks are complete, spread over the classes."""
    truth = domain.truth or {}
    known = [e for e in domain.split(split) if e.id in truth and truth[e.id].complete]
    return [_marked_sheet(domain, example, truth[example.id], seed) for example in spread(known, images)]


def _marked_sheet(domain: Domain, example: Example, truth: Truth, seed: int) -> Sheet:
    own = {name: [p for p in phrases if p in truth.visible] for name, phrases in domain.attributes.items()}
    random, asked = example_random(seed, example.id, "quiz"), domain.questions
    questions = questions_of(truth, domain.attributes, asked.noun, asked.describe, random)
    picture = partial(load_image, domain.path(example))
    return Sheet(example.id, picture, own, frozenset(filter(own.get, own)), tuple(questions))


def _ask(asked: LoadedModel, quizzes: Sequence[Quiz], name: str) -> Tally:
    every = [sheet for quiz in quizzes for sheet in quiz.sheets]
    pictures = {sheet.name: sheet.picture for sheet in every}
    questions = {sheet.name: [question.text for question in sheet.questions] for sheet in every}
    answers = asked.answers(pictures, questions, f"{name}, questions about what images show")
    tally = Tally(max(len(quiz.sheets) for quiz in quizzes))
    for quiz in quizzes:
        stated = StatedConcepts([phrase for phrases in quiz.every.values() for phrase in phrases])
        for place, sheet in enumerate(quiz.sheets):
            count_sheet(tally, place, sheet, answers[sheet.name], quiz.every, stated, quiz.suffix)
    return tally


def _write(run: str, **part: Any) -> Ability:
    """Write one half of general.json beside the other that the file holds, and return both."""
    file = Path(run) / Ability.FILE
    before = find_usable(file, Ability)
    found = replace(before, **part) if before else Ability(**part)
    write(file, found)
    return found


def count_sheet(
    tally: Tally, place: int, sheet: Sheet, answers: Sequence[str], every: Mapping[str, Collection[str]],
    stated: StatedConcepts, suffix: str = "",
) -> None:  # fmt: skip
    """Count the answers to one image's questions at its place in a tally; `suffix` ends the figures' names.

    `every` is attribute -> the phrases of all its values.

    attribute_accuracy: visible attributes named with their own value and no other. yes_no_accuracy: yes or no, rightly.
    hidden_admitted: attributes out of sight that are said to be so. described_precision: features in a description that
    are visible and right. described_recall: visible attributes that the description has right.
    """
    for question, answer in zip(sheet.questions, answers, strict=True):
        said = stated(answer)
        if question.kind == "describe":
            right, features = described(said, sheet.own, every, sheet.visible)
            tally.add(f"described_precision{suffix}", place, right, features)
            tally.add(f"described_recall{suffix}", place, right, len(sheet.visible))
        else:
            name = question.attribute
            right = is_right(question.kind, answer, said, sheet.own[name], every[name])
            tally.add(f"{_FIGURES[question.kind]}{suffix}", place, right)


def is_right(
    kind: Kind, answer: str, said: Collection[str], own: Collection[str], every: Collection[str]
) -> bool:  # fmt: skip
    """Return whether an answer about one attribute is right; `own` are its value's phrases, `every` those of any."""
    words = answer.lower()
    if kind == "open":
        values = set(said) & set(every)
        return bool(values) and values <= set(own)
    if kind == "hidden":
        return "cannot be seen" in words or "not visible" in words
    return re.match(rf"{kind}\b", words) is not None


def described(
    said: Collection[str], own: Mapping[str, Collection[str]], every: Mapping[str, Collection[str]],
    visible: Collection[str],
) -> tuple[int, int]:  # fmt: skip
    """Count a description's features: (visible attributes that it has right, all features).

    Synonyms of one attribute's value count once; two values of one attribute are two features, one of them wrong.
    """
    right = sum(name in visible and not set(own[name]).isdisjoint(said) for name in own)
    wrong = sum(
        phrase in said and not (name in visible and phrase in own[name]) for name in every for phrase in every[name]
    )
    return right, right + wrong


Scores = dict[str, tuple[float, float | None]]
"""'task/metric' -> (score, its standard error where lmms-eval gives one)."""


def read_lmms_results(folder: Path, tasks: Sequence[str]) -> Scores | None:
    """Read lmms-eval's newest results in a folder for all of `tasks`; None where there are none.

    Its layout: MODEL/DATE_results.json with {"results": {task: {"metric,filter": score,
    "metric_stderr,filter": error}}}; "N/A" and [] stand for missing values.
    """
    for path in sorted(folder.glob("**/*results.json"), key=lambda path: (path.name, path.stat().st_mtime))[::-1]:
        try:
            results = json.loads(path.read_text(encoding="utf-8"))["results"]
        except (ValueError, KeyError, TypeError) as error:
            raise SeeWhyError(f"{path} does not hold results of lmms-eval ({error!r}); remove it.") from error
        if set(tasks) <= results.keys():
            return {key: score for task in tasks for key, score in _scores(task, results[task]).items()}
    return None


def _scores(task: str, values: Mapping[str, Any]) -> Scores:
    found: Scores = {}
    for key, value in values.items():
        metric, _, kind = key.partition(",")
        if "_stderr" in metric or not _is_number(value):  # lmms-eval 0.7 has _stderr_clt and _stderr_clustered too
            continue
        error = values.get(f"{metric}_stderr,{kind}" if kind else f"{metric}_stderr")
        found[f"{task}/{metric}"] = (float(value), float(error) if _is_number(error) else None)
    return found


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def score_changes(before: Scores, after: Scores) -> dict[str, Difference]:
    """Return 'task/metric' -> after minus before, with an interval where both have a standard error.

    The two are taken as independent, although they are about the same questions: the interval is rather too wide.
    """
    changes = {}
    for key in before.keys() & after.keys():
        (old, old_error), (new, new_error) = before[key], after[key]
        apart = new - old
        if old_error is None or new_error is None:
            changes[key] = Difference(apart)
        else:
            reach = Z * math.hypot(old_error, new_error)
            changes[key] = Difference(apart, apart - reach, apart + reach)
    return dict(sorted(changes.items()))


MODELS = {
    "llava": "llava_hf",
    "llava_next": "llava_hf",
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_5_vl",
    "qwen3_vl": "qwen3_vl",
    "gemma3": "gemma3",
    "internvl": "internvl_hf",
}
"""model_type of a model folder -> lmms-eval's name for what loads it."""

INSTALL = (
    "It wants an environment of its own: `python -m venv lmms`, `lmms/bin/pip install lmms-eval decord 'filelock<3.25'`"
    " (without these two it does not start), and then --lmms_eval 'lmms/bin/python -m lmms_eval'."
)


def find_command(given: str | None) -> list[str]:
    """Return what starts lmms-eval: `given`, or `lmms_eval` on the PATH. Raises SeeWhyError where there is none."""
    for program in (given,) if given else ("lmms_eval", "lmms-eval"):
        command = shlex.split(program)
        if command and shutil.which(command[0]):
            return command
    if given:
        raise SeeWhyError(f"--lmms_eval: there is no program {given!r}. {INSTALL}")
    raise SeeWhyError(f"lmms-eval is not installed: there is no lmms_eval on the PATH. {INSTALL}")


def model_kind(path: Path, given: str | None) -> str:
    """Return lmms-eval's name for what loads a model. Raises SeeWhyError where it is neither known nor given."""
    if given:
        return given
    try:
        model_type = json.loads((path / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError):
        model_type = "unknown"
    if model_type not in MODELS:
        raise SeeWhyError(
            f"It is not known by which name lmms-eval loads a model of type {model_type!r} ({path}):"
            " say it with --lmms_model (its list: `python -m lmms_eval --model list`)."
        )
    return MODELS[model_type]


def command_line(
    command: Sequence[str], path: Path, kind: str, tasks: Sequence[str], output: Path, *,
    on_cpu: bool = False, include: str | None = None,
) -> list[str]:  # fmt: skip
    """Return the whole command line. Raises SeeWhyError for a path that lmms-eval's options cannot hold.

    lmms-eval takes a GPU unless it is told the device, and its models unless they are told where they go.
    """
    if "," in str(path) or "=" in str(path):
        raise SeeWhyError(f"lmms-eval cannot load {path}: rename the folder, without ',' and '='.")
    return [
        *command, "--model", kind, "--model_args", f"pretrained={path}" + ",device_map=cpu" * on_cpu,
        "--tasks", ",".join(tasks), "--batch_size", "1", "--output_path", str(output),
        *(["--device", "cpu"] if on_cpu else []),
        *(["--include_path", str(Path(include).resolve())] if include else []),
    ]  # fmt: skip


def results_folder(run: FinishedRun, model: ModelKey, include: str | None) -> Path:
    """Return where a model's results are kept: by its weights, and by the content of a folder of tasks."""
    name = run.weights(model).replace("/", "-")[:64]
    if include:
        files = sorted(path for path in Path(include).rglob("*") if path.suffix in (".yaml", ".py"))
        of_tasks = digest([[str(path.relative_to(include)), path.read_text(encoding="utf-8")] for path in files])
        name = f"{name}-{of_tasks[:12]}"
    return run.path / "general" / name


def scores(
    run: FinishedRun, model: ModelKey, tasks: Sequence[str], command: Sequence[str], kind: str,
    include: str | None = None,
) -> Scores:  # fmt: skip
    """Return the scores of one model, unless RUN/general holds them from lmms-eval, whose progress is shown."""
    output = results_folder(run, model, include)
    if found := read_lmms_results(output, tasks):
        say(f"{model}: lmms-eval's results are there")
        return found
    say(f"{model}: lmms-eval on {', '.join(tasks)}")
    output.mkdir(parents=True, exist_ok=True)
    on_cpu = resolve(run.config.model.device, run.config.model.dtype)[0] == "cpu"
    line = command_line(command, run.models[model], kind, tasks, output, on_cpu=on_cpu, include=include)
    try:
        ended = subprocess.run(line, stdout=2, check=False).returncode  # its tables go where its progress goes
    except OSError as error:
        raise SeeWhyError(f"lmms-eval cannot be started ({error.strerror}): {shlex.join(line)}") from error
    found = read_lmms_results(output, tasks) if ended == 0 else None
    if not found:
        how = f"ended with code {ended}" if ended else "left no results for these tasks"
        raise SeeWhyError(f"lmms-eval {how}; its messages are above. The call was: {shlex.join(line)}")
    return found
