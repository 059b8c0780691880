"""Every setting of a run. The string under a field is its help text, its type gives the allowed range.

The defaults are our preset; `settings.py` has the paper's and reads settings from YAML and the command line. A
component receives the values it needs or its group of settings, never the whole `RunConfig`.

A setting marked THROUGHPUT changes where, how fast and in how much memory something is computed, but no output, so it
may change between two starts of the same run. Any other change makes the stages stale that depend on it (`decisive`).
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt, restricted_number_type

from seewhy.words import masked, remember_secrets_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_INFINITY = float("inf")


def _float(name: str, *limits: tuple[str, float]) -> Any:
    return restricted_number_type(name, float, list(limits))


Count = Annotated[int, PositiveInt, "a whole number, at least 1"]
CountOrZero = Annotated[int, NonNegativeInt, "a whole number, at least 0"]
Rounds = Annotated[
    int, restricted_number_type("Rounds", int, [(">=", 0), ("<=", 1000)]), "a whole number, at least 0 and at most 1000"
]
Rank = Annotated[
    int, restricted_number_type("Rank", int, [(">=", 1), ("<=", 8192)]), "a whole number, at least 1 and at most 8192"
]
Alpha = Annotated[
    int,
    restricted_number_type("Alpha", int, [(">=", 1), ("<=", 65536)]),
    "a whole number, at least 1 and at most 65536",
]
Seed = Annotated[
    int,
    restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)]),
    "a whole number, at least 0 and below 4294967296",
]
Port = Annotated[
    int, restricted_number_type("Port", int, [(">=", 0), ("<=", 65535)]), "a whole number, at least 0 and at most 65535"
]
Finite = Annotated[float, _float("FiniteFloat", (">", -_INFINITY), ("<", _INFINITY)), "a finite number"]
Positive = Annotated[float, _float("FinitePositiveFloat", (">", 0), ("<", _INFINITY)), "a number above 0"]
NonNegative = Annotated[float, _float("FiniteNonNegativeFloat", (">=", 0), ("<", _INFINITY)), "a number, at least 0"]
Share = Annotated[float, ClosedUnitInterval, "a number from 0 to 1"]
PositiveShare = Annotated[float, _float("PositiveShare", (">", 0), ("<=", 1)), "a number above 0 and at most 1"]
LearningRate = Annotated[
    float, _float("LearningRate", (">=", 1e-9), ("<=", 1)), "a number from 1e-9 to 1; a smaller one moves no weight"
]

SELF = "self"
"""The value of `tune.replay` that stands for the untuned model's own answers."""

THROUGHPUT = {"throughput": True}
"""Metadata of a field whose value changes no output of a run."""
ADDED = {"added": True}
"""Metadata of a field that older runs have not recorded: at its default it makes none of their stages stale."""


@dataclass(frozen=True)
class DataConfig:
    """The data set and its concept bank."""

    source: str = "fieldguide"
    """Where the images are: an image folder (train/ val/ test/<class>/*), a table (.csv, .jsonl or .parquet with the
    columns image, label and split), the unpacked folder of a published data set, or 'fieldguide' for the built-in
    drawings."""
    concepts: str | None = None
    """Concept bank: a YAML or JSON file of class -> phrases. The field guide, CUB-200-2011 and WBCAtt bring their
    own."""
    noun: str = "bird"
    """What the images show, as the questions name it: 'bird', 'leaf', 'chest X-ray'."""
    questions: str | None = None
    """YAML file with more wordings of each kind of question (describe, simple, explain, cot); {noun} stands for the
    noun."""
    truth: str | None = None
    """JSONL file of what is visible in each image, where that is known. It is used to measure, never to train."""
    verdicts: str | None = field(default=None, metadata=ADDED)
    """JSONL file of what people said in `seewhy review`. Of train images they correct the selection, of other images
    they measure. Null: verdicts.jsonl beside the concept bank, or in the run folder if the data bring their own
    bank."""
    layout: Literal[
        "auto",
        "folder",
        "table",
        "cub200",
        "dogs",
        "fgvc",
        "pld",
        "ham10000",
        "chest_xray",
        "wbcatt",
        "research",
        "hub",
    ] = "auto"
    """How the source is organised. 'auto' detects it, except PLD and Chest X-ray, which look like image folders.
    'research' is the JSON of the paper's code; 'hub' is a Hugging Face data set, owner/name or a folder (`pip install
    'seewhy[data]'`)."""
    val_share: Share = 0.0
    """Share of each class's train images to use as val images, beside those that the data has. A hash of the image's
    name decides, so the same images are always chosen."""
    per_class: Count | None = field(default=None, metadata=ADDED)
    """Maximum number of train images to use of each class, for a first try or to see what few images teach; null uses
    all. They are drawn by a hash of the image's name after val_share has taken its share, so 5 are part of 10, and the
    same images are always chosen. Val and test images stay."""
    label_column: str | None = None
    """Column to learn from a Hugging Face data set that has several label columns."""


@dataclass(frozen=True)
class EngineConfig:
    """What answers questions about images."""

    kind: Literal["in_process", "server"] = field(default="in_process", metadata=ADDED)
    """What answers questions: the model in this process, or an OpenAI-compatible server (`pip install
    'seewhy[serve]'`). A server is first checked to answer as the model in this process does."""
    command: str = field(default="vllm serve {model} --port {port} --dtype {dtype}", metadata=THROUGHPUT)
    """Command that starts a server for one model. Filled in: {model} (a folder or a name on the Hub), {port}, {dtype}
    and {device} (those of the model in this process), and {images} (the folder used by `image: file`)."""
    base_url: str | None = field(default=None, metadata=THROUGHPUT)
    """Address of a server that already runs, up to and with /v1; none is started then. The key is read from the
    environment variable OPENAI_API_KEY."""
    served_name: str | None = field(default=None, metadata=THROUGHPUT)
    """Name of the model on that server, where it is not the model's folder or its name on the Hub."""
    port: Port = field(default=0, metadata=THROUGHPUT)
    """Port of a started server; 0 takes a free one."""
    concurrency: Count = field(default=16, metadata=THROUGHPUT)
    """Number of requests sent at the same time."""
    timeout: Positive = field(default=300.0, metadata=THROUGHPUT)
    """Seconds to wait for one reply."""
    start_timeout: Positive = field(default=900.0, metadata=THROUGHPUT)
    """Seconds to wait for a started server to answer."""
    retries: CountOrZero = field(default=5, metadata=THROUGHPUT)
    """How often a request is repeated after status 429 or 5xx, a time-out or a broken connection, with growing
    pauses."""
    image: Literal["data", "file"] = field(default="data", metadata=THROUGHPUT)
    """Send the image's pixels in the request ('data'), or the file:// URL of a PNG ('file'), which the server must be
    allowed to read (vLLM: --allowed-local-media-path {images})."""

    def __post_init__(self) -> None:
        for text in (self.command, self.base_url or ""):
            remember_secrets_of(text)


@dataclass(frozen=True)
class ModelConfig:
    """The model that is tuned."""

    name_or_path: str = "fieldguide"
    """An image-text-to-text model of transformers: a folder or a name on the Hub. 'fieldguide' is the small one that is
    shipped with SeeWhy, 'cells' that of white blood cells, which `python -m tools.cells_base` makes."""
    revision: str | None = None
    """Revision of the model on the Hub: a branch, tag or commit."""
    device: str = field(default="auto", metadata=THROUGHPUT)
    """Device that computes, 'cuda' or 'cpu'. 'auto' takes a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights. 'auto' is bfloat16 on a GPU and float32 on a CPU."""
    trust_remote_code: bool = field(default=False, metadata=THROUGHPUT)
    """Run Python code that comes with the model. Read it first."""
    max_pixels: Count | None = field(default=None, metadata=ADDED)
    """Scale larger images down to this many pixels before the processor, keeping their shape. Needed for photographs
    with models whose number of image tokens follows the size (Qwen-VL: one for 28 x 28 pixels)."""
    tiles: bool = field(default=True, metadata=ADDED)
    """Give the model, beside the whole image, the tiles that its processor cuts it into. False is for a CPU: a SmolVLM
    then sees 64 tokens instead of more than a thousand, and less detail. Other models have no such choice."""
    batch_size: CountOrZero = field(default=0, metadata=THROUGHPUT)
    """Number of sequences generated at the same time. 0 is automatic: 16 on a CPU, and on a GPU as many as fit, at most
    384. A number that a GPU's memory has no room for is halved."""
    share_image: bool = field(default=True, metadata=THROUGHPUT)
    """Compute each image once for all questions about it, in tuning and in sampling. If false: once for each
    question."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """What answers questions about images."""


@dataclass(frozen=True)
class DescribeConfig:
    """Step 1: the model describes the images."""

    prompts_per_image: Count = 3
    """Number of different describe questions for each image."""
    samples_per_prompt: Count = 10
    """Number of descriptions sampled for each question."""
    temperature: NonNegative = 1.0
    """Sampling temperature; 0 takes the most likely token."""
    top_p: PositiveShare = 1.0
    """Nucleus sampling: share of the probability mass that tokens are drawn from."""
    max_new_tokens: Count = 256
    """Maximum length of a description, in tokens."""


SelectionRule = Literal["image", "unlisted", "said"]


@dataclass(frozen=True)
class SelectConfig:
    """Step 2: select the concepts that the descriptions support."""

    encoder: str = "intfloat/e5-large"
    """Text encoder: a sentence-transformers model, or 'fieldguide' for the small one that is shipped with SeeWhy."""
    prefixes: bool = True
    """Put the prefixes before concepts and texts that the encoder was trained with, such as E5's 'query: ' and
    'passage: '. The paper's code does not."""
    temperature: Positive = 0.1
    """tau of InfoNCE, here and in rejection sampling."""
    rule: SelectionRule = "unlisted"
    """What a concept's score is compared with: 'image', as in the paper, the scores of its class's other concepts in
    the same image; 'unlisted', its own scores in images of classes that do not list it. 'said' scores a concept by the
    share of the image's descriptions that say it in a clause, and needs no other images."""
    threshold_std: Finite = 0.4
    """Rule 'image' keeps concepts that score above mean + threshold_std * std of their class's concepts."""
    unlisted_std: Finite = 2.5
    """Rule 'unlisted' keeps concepts that score above mean + unlisted_std * std of their scores where unlisted."""
    said_share: PositiveShare = field(default=0.3, metadata=ADDED)
    """Rule 'said' keeps concepts that at least this share of the image's descriptions say."""
    minimum: CountOrZero = 3
    """Never keep fewer than this many concepts."""


@dataclass(frozen=True)
class SynthesiseConfig:
    """Step 3: write the answers of the first round."""

    answers_per_image: Count = 8
    """Question-answer pairs for each image in round 1's training set. Later rounds: sample.queries_per_image."""
    simple_share: Share = 0.4
    """Share of simple questions (name it); the others ask for an explanation (explain) or for reasoning first (cot)."""
    explain_share: Share = 0.5
    """Share of explain questions among those others. Later rounds ask both evenly. The paper's code: 0.32."""
    temperature: NonNegative = 0.3
    """Sampling temperature; 0 takes the most likely token."""
    top_p: PositiveShare = 1.0
    """Nucleus sampling: share of the probability mass that tokens are drawn from."""
    max_new_tokens: Count = 128
    """Maximum length of an answer, in tokens."""
    tries: Count = 3
    """Maximum number of tries for an answer that names the label and states no concept which its class does not list.
    The paper tries once."""
    require_listed: bool = False
    """Replace an answer that states a concept which its class does not list, as `fallback` says. Use it only if the
    bank lists every concept of another class that a class shows."""
    fallback: Literal["label", "reasons"] = field(default="label", metadata=ADDED)
    """What stands in for an unusable answer: the label sentence ('label', as in the paper), or, to a question that asks
    for reasons, the label sentence with the selected concepts ('reasons')."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training images."""

    at_most: CountOrZero = 0
    """Draw 1 to this many of the changes below for each view and apply each with its probability; 0 applies all of them
    so. The paper's code draws 1 to 4 of 7."""
    flip: Share = 0.5
    """Probability of a left-right flip."""
    upside_down: Share = 0.0
    """Probability of an upside-down flip."""
    rotate: NonNegative = 10.0
    """Maximum rotation, in degrees either way."""
    rotate_share: Share = 1.0
    """Probability of a rotation."""
    affine: Share = 0.0
    """Probability of an affine change: rotation, shift and zoom together."""
    affine_turn: NonNegative = 20.0
    """Maximum rotation of an affine change, in degrees either way."""
    affine_shift: Share = 0.1
    """Maximum shift of an affine change, as a share of the image's side."""
    affine_zoom: Share = 0.2
    """Maximum relative change of size of an affine change."""
    colour: Share = 0.1
    """Maximum relative change of brightness, contrast and saturation."""
    colour_share: Share = 1.0
    """Probability of a change of colour."""
    blur: Share = 0.1
    """Probability of a Gaussian blur."""
    perspective: Share = 0.1
    """Maximum shift of a corner by a change of perspective, as a share of half the image's side."""
    perspective_share: Share = 1.0
    """Probability of a change of perspective."""


@dataclass(frozen=True)
class TuneConfig:
    """Step 4: tune the model on the answers."""

    method: Literal["lora", "qlora", "full"] = "lora"
    """What is trained of the language model: an adapter ('lora'), an adapter on weights held in 4 bits, which takes
    less memory ('qlora', `pip install 'seewhy[qlora]'`), or all weights ('full')."""
    epochs: Count = 2
    """Number of passes over a round's training set."""
    learning_rate: LearningRate = 1e-5
    """Peak learning rate of AdamW."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How the learning rate falls to zero after its peak. The paper's code uses the library's default, linear."""
    warmup: Share = 0.05
    """Share of the steps in which the learning rate rises to its peak."""
    weight_decay: NonNegative = 0.0
    """Weight decay of AdamW."""
    batch_size: Count = 32
    """Question-answer pairs in one optimizer step; the last step of an epoch takes what is left."""
    micro_batch_size: Count = field(default=32, metadata=THROUGHPUT)
    """Maximum number of pairs on the device at once. Gradients accumulate up to batch_size."""
    lora_rank: Rank = 128
    """Rank of the adapters on the language model's linear layers."""
    lora_alpha: Alpha = 256
    """Scale of the adapters: their output is multiplied by lora_alpha / lora_rank."""
    lora_dropout: Share = 0.05
    """Dropout before the adapters."""
    projector: Literal["full", "frozen"] = "full"
    """Whether the projector between vision tower and language model is trained."""
    vision_tower: Literal["frozen", "lora", "full"] = "frozen"
    """Whether the vision tower is left as it is, gets an adapter on its linear layers and convolutions (not with method
    'full'), or is trained in full. Statistics of batch normalisation stay in any case."""
    loss_per: Literal["token", "answer"] = "token"
    """Average the loss over the tokens of all answers, as is usual, or over answers, so that a bare name counts as much
    as an answer with eight reasons."""
    name_weight: Positive = field(default=1.0, metadata=ADDED)
    """Weight in an answer's loss of the tokens that name its label; the other tokens weigh 1."""
    gradient_checkpointing: bool = field(default=False, metadata=THROUGHPUT)
    """Save memory by computing activations twice."""
    checkpoint_steps: Count = field(default=50, metadata=THROUGHPUT)
    """Optimizer steps between checkpoints; a killed run resumes at the last one."""
    trackers: tuple[str, ...] = field(default=(), metadata=THROUGHPUT)
    """Experiment trackers that transformers.Trainer supports (wandb, tensorboard, trackio, ...)."""
    replay: str | None = None
    """General data to mix in, so that the model does not forget what it could do before. 'self': the untuned model's
    own descriptions of the train images, and its answers to general questions about them. Otherwise a JSON file of
    instruction data in the format of LLaVA-Instruct."""
    replay_ratio: NonNegative = 1.0
    """Number of replay examples for each example of the domain."""
    interpolate: PositiveShare = field(default=1.0, metadata=ADDED)
    """Share of a round's change of the weights that is kept (WiSE-FT): below 1 the model stays nearer to what it was,
    and loses less of what it could do. `seewhy general` shows what; too small a share loses the names."""
    covered: NonNegative = field(default=0.0, metadata=ADDED)
    """Copies of each train image in which a part is covered, so that reasons go when their evidence goes. The untuned
    model describes them, concepts are selected for them again, and answers about what can still be seen join the
    training set of every round. 0.5 makes a copy of half of the images, drawn by chance."""
    cover_area: PositiveShare = field(default=0.125, metadata=ADDED)
    """Share of a copy that is covered: one block, at a random place."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes to a training image."""


@dataclass(frozen=True)
class SampleConfig:
    """Steps 5 and 6: sample candidates and filter them, from the second round on."""

    queries_per_image: Count = 8
    """Number of explain and cot questions for each image."""
    samples_per_query: Count = 3
    """Number of candidate answers sampled for each question."""
    temperature: NonNegative = 0.7
    """Sampling temperature; 0 takes the most likely token."""
    top_p: PositiveShare = 0.6
    """Nucleus sampling: share of the probability mass that tokens are drawn from."""
    max_new_tokens: Count = 196
    """Maximum length of a candidate, in tokens."""
    negatives: Literal["once", "per_class"] = "once"
    """Whether a concept outside the image's selection counts once among the negatives of a candidate's score, or once
    for each class that lists it, as in the paper's code."""
    label_first: bool = True
    """Choose among the candidates that name the label. If false, as in the paper's code: take the best of all, and the
    label sentence (see `fallback`) if that one does not name the label."""
    prefer_listed: bool = True
    """Prefer candidates that state no concept which the class does not list. The paper uses the score alone."""
    require_listed: bool = False
    """Reject candidates that state a concept which the class does not list, even if all candidates do."""
    fallback: Literal["label", "reasons"] = field(default="label", metadata=ADDED)
    """What stands in where no candidate can be used: the label sentence ('label', as in the paper), or what the tuned
    model writes when it is told the label and the selected concepts ('reasons', with the settings of `synthesise`), and
    if that does not name the label, or states anything else, the label sentence with these concepts."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Step 8: measure the models."""

    split: Literal["train", "val", "test"] = "test"
    """The split that the models are measured on."""
    max_new_tokens: Count = 196
    """Maximum length of an answer, in tokens."""
    bootstrap: Count = 1000
    """Number of bootstrap resamples for each 95 % interval."""
    consistency: bool = True
    """Measure CS: whether the stated reasons agree with the concepts selected for the image. For this the untuned model
    describes the split's images, once for all models."""
    fluency: bool = True
    """Measure FS: the perplexity of every model's answers under the untuned model."""


@dataclass(frozen=True)
class WorkersConfig:
    """Who makes what a model makes. Every number of workers gives the same bytes (docs/scale.md)."""

    kind: Literal["ranks", "ray"] = field(default="ranks", metadata=THROUGHPUT)
    """Processes of this machine, or of the machines on which torchrun or `accelerate launch` starts them ('ranks'), or
    actors of a Ray cluster, whose nodes may come and go ('ray', `pip install 'seewhy[ray]'`)."""
    count: Count = field(default=1, metadata=THROUGHPUT)
    """Number of workers, each with a model of its own. With 'ranks' this machine starts so many processes, one for each
    GPU; 1 is this process alone. Under torchrun its own number counts."""
    gpus: NonNegative = field(default=1.0, metadata=THROUGHPUT)
    """GPUs that Ray reserves for each worker; 0 for a cluster without GPUs."""
    cpus: NonNegative = field(default=1.0, metadata=THROUGHPUT)
    """CPU cores that Ray reserves for each worker."""
    address: str = field(default="auto", metadata=THROUGHPUT)
    """Address of the Ray cluster, HOST:PORT. 'auto' is the one that this machine belongs to; 'local' starts one on this
    machine for the run."""


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run."""

    output: str = "runs/fieldguide"
    """The run folder. A run that is started again with the same settings continues where it stopped."""
    preset: Literal["ours", "paper"] = "ours"
    """Values of the settings that are not given: 'ours', the defaults shown here, or 'paper', those of Shi et al. and
    their code (docs/method.md lists both)."""
    rounds: Rounds = 4
    """Number of rounds of tuning. From the second on, the model learns from its own filtered answers."""
    start_from: Literal["previous", "base"] = "previous"
    """Model that each round tunes: the previous round's, as in the paper, or the untuned base."""
    keep_going: bool = False
    """Run all rounds. Otherwise a run stops after a round that is worse on the val images than the best so far, in
    accuracy or CS, by more than equally good rounds differ in 95 % of runs, and after the descriptions if
    `minimum_support` is not met. Without val images all rounds are run."""
    minimum_support: Share = 0.33
    """Stop after the descriptions if they contain the words of less than this share of the concept bank's phrases;
    `keep_going` continues regardless."""
    controls: tuple[Literal["nl", "lge", "unfiltered", "class_level"], ...] = ()
    """Controls to train beside the method with as many answers and steps. 'nl': the label sentence alone. 'lge': the
    label and the whole list of its class. 'unfiltered': a random candidate for each question. 'class_level': the whole
    list of the class in place of the selected concepts."""
    seed: Seed = 0
    """Seed of every random choice."""
    shard_size: Count = 64
    """Examples in one shard of output: the most that a killed run has to repeat."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    describe: DescribeConfig = field(default_factory=DescribeConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    synthesise: SynthesiseConfig = field(default_factory=SynthesiseConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)


def recorded(config: RunConfig) -> dict[str, Any]:
    """Return all settings as a run folder keeps them: without the secrets in a command or an address."""
    settings = asdict(config)
    settings["model"]["engine"] = masked(settings["model"]["engine"])
    settings["workers"] = masked(settings["workers"])
    return settings


def decisive(settings: "DataclassInstance") -> dict[str, Any]:
    """Return the settings of a group that change an output, nested as in the configuration.

    Groups of which nothing is left are left out, as are settings marked ADDED at their default. A whole number given
    for a float becomes that float, as in a manifest that is read again.
    """
    types, kept = get_type_hints(type(settings)), dict[str, Any]()
    for setting in fields(settings):
        value: Any = getattr(settings, setting.name)
        if is_dataclass(types[setting.name]):
            if nested := decisive(value):
                kept[setting.name] = nested
        elif "throughput" not in setting.metadata and not ("added" in setting.metadata and value == setting.default):
            kept[setting.name] = float(value) if types[setting.name] is float else value
    return kept
