"""The verbs of SeeWhy as functions: `from seewhy import run` imports them, and the `seewhy` command calls them.

Their parameters are the command's options, so a name, type, range or default is written once. A function imports what
it needs when it is called: `import seewhy` and `seewhy --help` do not wait for torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seewhy.config import Count, EngineConfig, NonNegative, PositiveShare, RunConfig, Share
from seewhy.errors import SeeWhyError
from seewhy.pages.door import API_DOOR, THIS_MACHINE, Door

if TYPE_CHECKING:
    from seewhy.cost.estimate import RunCost
    from seewhy.doctor import Check
    from seewhy.domain.check import DataCheck
    from seewhy.domain.drafting import Draft
    from seewhy.endpoint import Endpoint, Prices, Request, Service
    from seewhy.proof.audit import Audit
    from seewhy.proof.bank import BankCheck
    from seewhy.results import Ability, Comparison, Explained, Faithfulness, Judgement, Metrics
    from seewhy.run.verify import RunCheck

Split = Literal["train", "val", "test"]


def run(config: RunConfig, *, discard_stale: bool = False) -> "Metrics":
    """Run the whole loop on your data: describe, select, synthesise, tune, evaluate, sample, filter, and again.

    A run that was stopped or killed continues where it stopped when it is started again with the same settings.

    Args:
        config: Settings of the run.
        discard_stale: Move outputs that were made with other settings to discarded/ and make them again.

    Returns:
        The figures of every round's model, as in RUN/metrics.json.

    Raises:
        SeeWhyError: if the data, the model or the run folder cannot be used, or the model's descriptions do not use the
            words of the concept bank (`minimum_support`).

    Example:
        >>> config = seewhy.load_config("birds.yaml", ["--rounds", "1"])
        >>> metrics = seewhy.run(config)
        >>> 0 <= metrics.rounds[0]["accuracy"].value <= 1
        True
    """
    from seewhy.run import loop

    return loop.run(config, discard_stale=discard_stale)


def compare(config: RunConfig, *, seeds: Sequence[int] = (0, 1, 2)) -> "Comparison":
    """Compare the method with its controls, over several seeds.

    The controls are the label sentence, the label with its class's whole list, random candidates, and class-level
    concepts. All learn from the same images and queries, with as many answers and steps. Each seed is a run in
    OUTPUT/seed-N, which continues where it stopped. `config.controls` names the controls; if it is empty, all four are
    trained, and the comparison takes about five times as long as a run for each seed.

    Args:
        config: Settings of the runs.
        seeds: One run for each of them.

    Returns:
        The figures of each arm after each round, and how much better the method is, with 95 % intervals over seeds and
        images, as in OUTPUT/comparison.json.

    Example:
        >>> config = seewhy.load_config("birds.yaml", ["--rounds", "1", "--controls", "nl", "--output", "runs/compare"])
        >>> compared = seewhy.compare(config, seeds=[0])
        >>> sorted(compared.rounds_of)
        ['nl', 'rounds']
    """
    from seewhy.run import comparison

    return comparison.compare(config, seeds)


def plan(
    config: RunConfig,
    *,
    gpu: str | None = None,
    gpus: Count = 1,
    length: PositiveShare = 0.6,
    fallback: Share = 0.1,
) -> "RunCost":
    """Estimate the tokens, memory, hours and disk of a run before it starts.

    The estimate needs the data and the model's configuration: no weights are read, and nothing is downloaded but what
    the processor needs. It covers every stage, and requests to other models. If the run does not fit, it names settings
    with which it does. Times rest on assumed shares of the card's data sheet, or those of this machine's CPU on a
    measurement of ten seconds.

    Args:
        config: Settings of the run.
        gpu: Card: H100, A100-80, L4, RTX4090, ..., or cpu (default: the CPU where model.device is cpu, else the card in
            this machine; without one there are no hours).
        gpus: Number of such cards: the hours on all of them, with the part that does not divide.
        length: Mean length of a text, as a share of the maximum length.
        fallback: Share of training answers for which something stands in, as none of the model's can be used.

    Example:
        >>> cost = seewhy.plan(seewhy.load_config("birds.yaml"), gpu="H100")
        >>> cost.fits
        True
    """
    from seewhy.cost.estimate import plan_run
    from seewhy.cost.hardware import find_gpu, here, measured_processor
    from seewhy.cost.scaling import scale
    from seewhy.cost.tokens import Assumed

    on_cpu = (gpu or config.model.device).casefold() == "cpu"
    device = measured_processor() if on_cpu else find_gpu(gpu) if gpu else here()
    cost = plan_run(config, device, Assumed(length=length, fallback=fallback))
    return replace(cost, scaled=scale(cost, config, gpus)) if gpus > 1 else cost


def diagnose(config: RunConfig | None = None, *, quick: bool = False) -> "list[Check]":
    """Check this machine: versions, devices, memory, precision, disk, optional packages, the Hub.

    Unless `quick`, it also writes with the shipped model for ten seconds.

    Args:
        config: Settings of a run, whose output folder's disk is checked.
        quick: Leave out the generation test and the Hub.

    Example:
        >>> checks = seewhy.diagnose(quick=True)
        >>> [check.name for check in checks if check.state == "error"]
        []
    """
    from seewhy import doctor

    return doctor.diagnose(Path(config.output if config else "runs"), generate=not quick, hub=not quick)


def check(config: RunConfig) -> "DataCheck":
    """Check a data set before it is used.

    It finds broken files, copies and near-copies across splits and classes, classes with few images, labels inside
    other labels, sizes that the model's processor refuses, and errors in the concept bank. Near-copies are found by a
    perceptual hash and confirmed by small grey pictures; rotated and flipped copies are not found.

    Args:
        config: Settings of the run; `data` names the data set.

    Example:
        >>> checked = seewhy.check(seewhy.load_config("birds.yaml"))
        >>> checked.errors
        0
    """
    import tempfile

    import torch

    from seewhy.cost.estimate import outline
    from seewhy.domain.check import check_data
    from seewhy.fieldguide.guide import with_guide
    from seewhy.vlm.chat import Size, refused_sizes

    def refused(sizes: Iterable[Size]) -> Mapping[Size, str]:
        return refused_sizes(outline(config, torch.float32), sizes)

    with tempfile.TemporaryDirectory() as folder:
        data = with_guide(config.data, Path(folder) / "fieldguide")
        return check_data(data, config.evaluate.split, refused_sizes=refused)


def check_concepts(config: RunConfig, *, run: str | None = None) -> "BankCheck":
    """Check a concept bank for what is wrong, doubtful or odd.

    It finds concepts that are too long, repeated, shared by every class, contradictory, not visual or that contain a
    class's name, and classes with too few concepts.

    Args:
        config: Settings of the run; `data` names the concept bank.
        run: A run with these concepts: also list what no description of it says, and what it never selected.

    Example:
        >>> checked = seewhy.check_concepts(seewhy.load_config("birds.yaml"))
        >>> checked.counts["problem"]
        0
    """
    from seewhy.proof.bank import check_config_bank

    return check_config_bank(config, run)


def verify(place: str) -> "RunCheck | DataCheck":
    """Check a run folder for damage, or what a run would need before it starts.

    Of RUN every file with a checksum is read: what is damaged or missing is named, with what makes it anew. Of CONFIG
    the settings are checked as at the start of a run, and data, concept bank and sizes as by `seewhy data check`.

    Args:
        place: A run folder, or a YAML file of settings.

    Example:
        >>> checked = seewhy.verify("runs/birds")
        >>> [damage.file for damage in checked.findings]
        []
    """
    if Path(place).is_dir():
        from seewhy.run.verify import verify as verify_run

        return verify_run(place)
    from seewhy.fieldguide.guide import ENCODER
    from seewhy.run.checks import check_encoder, check_model, check_settings
    from seewhy.run.sources import made_base_source, model_source
    from seewhy.settings import load_config

    config = load_config(place)
    check_settings(config)
    check_model(config, made_base_source(config.model.name_or_path))
    check_encoder(model_source(config.select.encoder, ENCODER))
    return check(config)


@dataclass(frozen=True)
class Budget:
    """What asking a language model may cost."""

    price_in: NonNegative | None = None
    """Price of a million tokens in. With price_out, costs are estimated."""
    price_out: NonNegative | None = None
    """Price of a million tokens out."""
    max_cost: NonNegative | None = None
    """Ask nothing if the estimated cost is above this."""
    estimate: bool = False
    """Only say what it would take."""

    @property
    def prices(self) -> "Prices | None":
        """The prices, or None if none are given. Raises SeeWhyError for one without the other."""
        from seewhy.endpoint import Prices

        lacking = [name for name in ("price_in", "price_out") if getattr(self, name) is None]
        if self.price_in is not None and self.price_out is not None:
            return Prices(self.price_in, self.price_out)
        if len(lacking) == 1 or self.max_cost is not None:
            raise SeeWhyError(f"A cost needs --price_in and --price_out; {' and '.join(lacking)} is not given.")
        return None


UNLIMITED = Budget()


@dataclass(frozen=True)
class DraftedBank:
    """A concept bank that a language model wrote."""

    path: Path
    draft: "Draft"
    classes: int
    """Number of classes in the data set."""


def draft_concepts(
    config: RunConfig,
    service: "Service",
    *,
    per_class: Count = 15,
    output: str | None = None,
    limit: Count | None = None,
    budget: Budget = UNLIMITED,
) -> DraftedBank | None:
    """Let a language model draft a concept bank, with one question for each class.

    Phrases that repeat, name a class, cannot be seen or tell nothing are dropped; NAME.sources.jsonl beside the bank
    says where each phrase comes from and why it was dropped. A bank that someone edited is never overwritten. Read the
    draft before you use it.

    Args:
        config: Settings of the run; `data` names the classes.
        service: The language model.
        per_class: Number of phrases to ask for in each class.
        output: File of the bank (default: what data.concepts names, or concepts.yaml).
        limit: Maximum number of classes: the first ones by name.
        budget: Prices and limits.

    Returns:
        The bank, or None if only an estimate was asked for.

    Example:
        >>> service = seewhy.Service("gpt-4o", base_url=SERVER)  # "http://localhost:8000/v1" for a server of your own
        >>> drafted = seewhy.draft_concepts(seewhy.load_config("birds.yaml"), service, output="draft.yaml")
        >>> drafted.path.name, drafted.classes
        ('draft.yaml', 3)
    """
    from seewhy.domain import drafting
    from seewhy.endpoint import Endpoint
    from seewhy.proof.bank import data_labels

    bank = Path(output or config.data.concepts or "concepts.yaml")
    drafting.check_free(bank)
    classes = data_labels(config)
    labels = classes[:limit]
    endpoint = Endpoint(service, bank.with_name(f"{bank.stem}.answers"))
    if not _affordable(endpoint, drafting.requests(labels, config.data.noun, per_class), budget):
        return None
    draft = drafting.draft(labels, config.data.noun, per_class, endpoint.ask)
    if not draft.bank:
        raise SeeWhyError(f"No class has a concept ({next(iter(draft.missing.values()))}), so {bank} was not written.")
    drafting.write_draft(draft, bank, service.model)
    return DraftedBank(bank, replace(draft, usage=draft.usage + endpoint.wasted), len(classes))


def _affordable(endpoint: "Endpoint", requests: "Sequence[Request]", budget: Budget) -> bool:
    """Say what the requests take, and return whether to send them. Raises SeeWhyError if they cost too much."""
    from seewhy.run.progress import say

    prices, estimate = budget.prices, endpoint.estimate(requests)
    say(f"Asking {endpoint.service.model} at {endpoint.service.url}. {estimate.sentence(prices)}")
    if prices and budget.max_cost is not None and prices.cost(estimate.usage) > budget.max_cost:
        raise SeeWhyError(
            f"The estimated cost, {prices.cost(estimate.usage):.2f}, is above --max_cost {budget.max_cost:g}, so "
            "nothing was asked. Raise it, or ask for less with --limit."
        )
    return not budget.estimate


def evaluate(
    run: str,
    split: Split = "test",
    *,
    data: str | None = None,
    consistency: bool | None = None,
    fluency: bool | None = None,
    trust_remote_code: bool | None = None,
    engine: EngineConfig | None = None,
) -> "Metrics":
    """Measure every round's model of a finished run on a split.

    The figures are also written to RUN/metrics-SPLIT.json, or RUN/metrics-DATA-SPLIT.json for another data set.

    Args:
        run: The run folder.
        split: Images to measure on.
        data: YAML file of settings whose data set to measure on instead of the run's own. If it has no concept bank,
            the run's is taken.
        consistency: Measure CS, for which the images are described (default: as in the run).
        fluency: Measure FS (default: as in the run).
        trust_remote_code: Run code that came with the run's model. Read it first. The run folder's own settings do not
            decide this.
        engine: What answers questions (default: the model in this process).

    Example:
        >>> metrics = seewhy.evaluate("runs/birds", "test")
        >>> metrics.base.split, metrics.base.n
        ('test', 6)
    """
    from seewhy.run import loop

    if engine and (engine.base_url or engine.command != EngineConfig().command):
        engine = replace(engine, kind="server")
    return loop.evaluate(
        run, split, data=data, consistency=consistency, fluency=fluency, trust_remote_code=trust_remote_code,
        engine=engine,
    )  # fmt: skip


def report(run: str, *, heatmaps: bool = True, trust_remote_code: bool | None = None) -> Path:
    """Write the page of a run or of a comparison: one HTML file without links to other files.

    It has the figures beside the alternatives, what to doubt, the curves, and images with the reasons that were stated
    and where the model looks. What `faithfulness`, `general` and `judge` measured is on it too.

    Args:
        run: The run folder, or the folder of a comparison.
        heatmaps: Compute where the last model looks when it states the reasons on the page. Kept in RUN/heatmaps.
        trust_remote_code: Run code that came with the run's model. Read it first. The run folder's own settings do not
            decide this.

    Example:
        >>> page = seewhy.report("runs/birds", heatmaps=False)
        >>> page.name
        'report.html'
    """
    from seewhy.report.page import write_page

    return write_page(run, heatmaps=heatmaps, trust_remote_code=trust_remote_code)


def explain(
    run: str,
    photos: Sequence[str],
    *,
    samples: Count = 8,
    round: int | None = None,
    base: bool = False,
    output: str | None = None,
    trust_remote_code: bool | None = None,
) -> "list[Explained]":
    """Name what photos show and say why, with the best model of a run.

    Each reason comes with a picture of where it is. The label and the reasons are those of the greedy answer.
    Confidence and support are the shares of sampled answers that say the same: how steady the model is, not how often
    it is right.

    Args:
        run: The run folder.
        photos: Image files.
        samples: Number of sampled answers behind confidence and support.
        round: Round of the model (default: the best on val images).
        base: Ask the untuned model.
        output: Folder of the pictures (default: RUN/explained).
        trust_remote_code: Run code that came with the run's model. Read it first. The run folder's own settings do not
            decide this.

    Example:
        >>> explained = seewhy.explain("runs/birds", ["photo.png"], samples=2)
        >>> explained[0].image, explained[0].label
        ('photo.png', None)
    """
    from seewhy import explanation

    return explanation.explain(
        run, photos, samples=samples, round=round, base=base, output=output, trust_remote_code=trust_remote_code
    )


def chat(
    run: str,
    *,
    door: Door = THIS_MACHINE,
    samples: Count = 8,
    round: int | None = None,
    trust_remote_code: bool | None = None,
) -> None:
    """Open a page on which anyone shows a photo, asks, and sees what the models of a run say of it, and why.

    Models answer side by side, token by token. Each reason comes with its support and an overlay of where the model
    looks. The page listens on this machine alone, under an address with a secret, until Ctrl-C; it loads nothing from
    elsewhere. It needs the extra `pages`.

    Args:
        run: The run folder.
        door: Where the page is opened, and what it takes.
        samples: Number of sampled answers behind confidence and support.
        round: Round of the model that is asked first (default: the best on val images).
        trust_remote_code: Run code that came with the run's model. Read it first. The run folder's own settings do not
            decide this.

    Example:
        >>> door = seewhy.Door(port=7860)
        >>> seewhy.chat("runs/birds", door=door)  # doctest: +SKIP
        Chat with runs/birds: http://127.0.0.1:7860/9nAVPjSMnYPAxGpgsm7GHA/
    """
    from seewhy.pages.chat import chat

    chat(run, door, samples=samples, round=round, trust_remote_code=trust_remote_code)


def serve(
    run: str,
    *,
    door: Door = API_DOOR,
    samples: Count = 8,
    round: int | None = None,
    base: bool = False,
    trust_remote_code: bool | None = None,
) -> None:
    """Answer over HTTP what a photo shows and why, with the best model of a run.

    POST an image to /explain: JSON comes back, with label, confidence, reasons and their boxes. There are /docs,
    /openapi.json, /health and /metrics. It listens on this machine alone and wants a token, until Ctrl-C. It needs the
    extra `pages`.

    Args:
        run: The run folder.
        door: Where it listens, and what it takes.
        samples: Number of sampled answers behind confidence and support.
        round: Round of the model (default: the best on val images).
        base: Ask the untuned model.
        trust_remote_code: Run code that came with the run's model. Read it first. The run folder's own settings do not
            decide this.

    Example:
        >>> door = seewhy.Door(port=8000)
        >>> seewhy.serve("runs/birds", door=door)  # doctest: +SKIP
        runs/birds (round 1) answers at: http://127.0.0.1:8000/9nAVPjSMnYPAxGpgsm7GHA/
    """
    from seewhy.pages.serve import serve

    serve(run, door, samples=samples, round=round, base=base, trust_remote_code=trust_remote_code)


def review(run: str, *, reviewer: str = "", verdicts: str | None = None, door: Door = THIS_MACHINE) -> None:
    """Open a page on which people say which selections of a run are right, most useful first.

    For each train image it shows the concepts of the class with what was selected, its score and the descriptions that
    spoke for it. Verdicts are appended to verdicts.jsonl beside the concept bank; the run obeys them when it is started
    again, and makes anew only what they touch. Test and val images are marked by the whole bank, which measures and
    never trains. It needs the extra `pages`.

    Args:
        run: The run folder.
        reviewer: Name that verdicts are given under, to begin with.
        verdicts: File of the verdicts (default: that of the run).
        door: Where the page is opened, and what it takes.

    Example:
        >>> door = seewhy.Door(port=7861)
        >>> seewhy.review("runs/birds", reviewer="Ada", door=door)  # doctest: +SKIP
        Review of runs/birds: http://127.0.0.1:7861/9nAVPjSMnYPAxGpgsm7GHA/
    """
    from seewhy.pages.review import review

    review(run, door, reviewer=reviewer, verdicts=verdicts)


def audit(run: str) -> "Audit":
    """Show what became training data, by round and class.

    It counts what was accepted and why the rest was not, how similar the answers are, which classes are taught little
    but their name, and which concepts are always or never selected. An unfinished run is audited as far as it has come.
    The audit is also written to RUN/audit.json.

    Args:
        run: The run folder.

    Example:
        >>> audit = seewhy.audit("runs/birds")
        >>> [taught.round for taught in audit.rounds]
        [1]
    """
    from seewhy.run.evaluation import write_audit

    return write_audit(run)


def trace(run: str, example_id: str) -> dict[str, Any]:
    """Show where one training example came from.

    It lists its descriptions, its concepts with scores, every round's candidates with what became of them, and the
    answers that were trained on.

    Args:
        run: The run folder.
        example_id: Id of an image ("train/Crow/0"), of one answer ("train/Crow/0/1/2": round 1, number 2) or of a copy
            of the image with a covered part ("train/Crow/0/covered/0", with `tune.covered`).

    Example:
        >>> traced = seewhy.trace("runs/birds", "train/Crow/0")
        >>> traced["label"]
        'Crow'
    """
    from seewhy.report.trace import trace

    return trace(run, example_id)


def faithfulness(
    run: str,
    *,
    split: Split | None = None,
    images: Count = 120,
    arms: Sequence[str] | None = None,
    trust_remote_code: bool | None = None,
    round: int | None = None,
    reasons: Count = 2,
) -> "Faithfulness":
    """Measure whether the reasons depend on the image: change the evidence and see whether they change.

    Drawings of the field guide are drawn with one attribute changed or hidden; in any image the patches are covered to
    which a reason is attributed, or another class's image is shown; and where true boxes are known, it is measured
    whether the attribution points into them. Each test has a control. The result, with the answers before and after,
    is also written to RUN/faithfulness.json.

    Args:
        run: The run folder.
        split: Images to test on (default: the run's own).
        images: Maximum number of images, spread over the classes.
        arms: Arms whose last model is tested, 'base' among them (default: rounds, and lge if there is one).
        trust_remote_code: Run code that came with the run's model. Read it first. The run folder's own settings do not
            decide this.
        round: Round of the models (default: the last).
        reasons: Number of reasons of an image that are tested.

    Example:
        >>> measured = seewhy.faithfulness("runs/birds", images=2, reasons=1)
        >>> measured.split, measured.images
        ('test', 2)
    """
    from seewhy.proof.faithfulness import faithfulness as measure

    return measure(
        run, split=split, images=images, round=round, arms=arms, reasons=reasons, trust_remote_code=trust_remote_code
    )


def general(
    run: str,
    *,
    split: Split | None = None,
    images: Count = 96,
    arms: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    lmms_eval: str | None = None,
    lmms_model: str | None = None,
    include_path: str | None = None,
) -> "Ability":
    """Measure what tuning has cost in general ability.

    The base and each round's model answer questions about attributes, open and yes/no, and describe: drawings with the
    shipped base, or the run's own images where the data set marks every attribute (WBCAtt). With `tasks`,
    lmms-eval measures benchmarks of the base and the last model instead. The result is also written to
    RUN/general.json.

    Args:
        run: The run folder.
        split: Images to test on (default: the run's own).
        images: Maximum number of drawings of each kind, or of images.
        arms: Arms whose last model is tested, 'base' among them (default: rounds, and lge if there is one).
        tasks: Benchmarks of lmms-eval.
        lmms_eval: Command that starts lmms-eval, from whatever environment it is installed in.
        lmms_model: Name in lmms-eval of the class that loads the models.
        include_path: Folder of tasks for lmms-eval, beside its own.

    Example:
        >>> measured = seewhy.general("runs/birds", images=2)
        >>> list(measured.drawings.models)
        ['base', 'round-1']
    """
    from seewhy.proof import ability

    if tasks is None:
        return ability.general(run, split=split, images=images, arms=arms)
    return ability.benchmarks(run, tasks, command=lmms_eval, kind=lmms_model, include=include_path, arms=arms)


def judge(
    run: str, service: "Service", *, round: str = "last", limit: Count | None = None, budget: Budget = UNLIMITED
) -> "Judgement | None":
    """Let a language model judge what a run's models answered on the evaluated split.

    It judges whether an answer explains itself (EE) and how well its reasons agree with the expert's concepts (CS). The
    result also says how far the judge agrees with the figures that need none. Answers are kept in RUN/judge/, the
    figures are written to RUN/judge.json. An answer without a verdict is in no figure; it is counted, with the reason.

    Args:
        run: The run folder.
        service: The language model.
        round: Round of the models, controls included: a number (0 is the base), 'last' (and the base), or 'all'.
        limit: Maximum number of images: a fixed sample of the split, the same for every model.
        budget: Prices and limits.

    Returns:
        The figures, or None if only an estimate was asked for.

    Example:
        >>> service = seewhy.Service("gpt-4o", base_url=SERVER)  # "http://localhost:8000/v1" for a server of your own
        >>> judged = seewhy.judge("runs/birds", service, limit=2)
        >>> list(judged.models)
        ['base', 'round-1']
    """
    from seewhy.endpoint import Endpoint
    from seewhy.proof.judge import Judging

    judging = Judging(run, round=round, limit=limit)
    endpoint = Endpoint(service, Path(run) / "judge")
    questions = [request for of in judging.requests.values() for request in of]
    return judging.ask(endpoint, budget.prices) if _affordable(endpoint, questions, budget) else None


def export(
    run: str,
    *,
    output: str,
    round: str | None = None,
    model: Sequence[Literal["merged", "adapter"]] = ("merged",),
    data: Sequence[Literal["parquet", "trl", "llava", "sharegpt"]] = ("parquet",),
    images: bool = False,
    push_to_hub: str | None = None,
    private: bool = False,
    trust_remote_code: bool | None = None,
) -> dict[str, Any]:
    """Export the model and its training data for other tools, with cards that say how they were made.

    OUTPUT/model is loaded by pipeline("image-text-to-text", model=...), `transformers serve` and `vllm serve`;
    OUTPUT/adapter by peft, on the untuned base; OUTPUT/data by datasets, TRL, LLaVA and LLaMA-Factory. On the Hub they
    are USER/NAME, USER/NAME-adapter and USER/NAME-data. An earlier export in OUTPUT is replaced, anything else is not.

    Args:
        run: The run folder.
        output: The folder to write.
        round: A round's number, last, or best on val images (default: the round gate's best, or else the last).
        model: Forms of the model: merged, adapter, or both.
        data: Forms of the training data: parquet, trl, llava, sharegpt, or several.
        images: Copy the images into the data set too.
        push_to_hub: Upload it to the Hub, as USER/NAME.
        private: Make the Hub's repositories private.
        trust_remote_code: Run code that came with the run's model. Read it first. The run folder's own settings do not
            decide this.

    Example:
        >>> exported = seewhy.export("runs/birds", output="exported", model=["adapter"])
        >>> exported["round"]
        1
    """
    from seewhy.export.build import export_run

    return export_run(
        run, output, round=round, model=model, data=data, images=images, hub_name=push_to_hub, private=private,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
