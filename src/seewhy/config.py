"""Every setting of a run, described once by the string under it.

Defaults are ours, chosen on the field guide's val images where they leave the paper; `settings.py` has the paper's and
reads YAML with dotted overrides. Components receive plain arguments, never the whole configuration.

Which settings decide a run's outputs: what stages and checkpoints are held against, when a run is started again.

    Stage("round-1/model", {"tune": decisive("tune", config.tune)}, (answers, base))

A setting that is not in `THROUGHPUT` counts. One that is may be changed in the midst of a run: what is finished stays.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, get_type_hints


@dataclass(frozen=True)
class DataConfig:
    source: str = "fieldguide"
    """An image folder (train/ val/ test/<class>/*), a table (.csv, .jsonl or .parquet with columns image, label and
    split), the unpacked folder of a published data set, or 'fieldguide' for the built-in domain."""
    concepts: str | None = None
    """Concept bank: YAML or JSON, class -> phrases. The built-in domain and CUB-200-2011 bring their own."""
    noun: str = "bird"
    """What the images show, as the questions call it: 'bird', 'leaf', 'chest X-ray'."""
    questions: str | None = None
    """YAML with more wordings a kind (describe, simple, explain, cot); {noun} stands for the noun."""
    truth: str | None = None
    """JSONL of what is visible in each image, where that is known. It measures; the method never reads it."""
    layout: Literal[
        "auto", "folder", "table", "cub200", "dogs", "fgvc", "pld", "ham10000", "chest_xray", "research", "hub"
    ] = "auto"
    """What the source is: 'auto' looks (PLD and Chest X-ray look like image folders and are asked for by name);
    'research' is the research code's JSON, 'hub' a Hugging Face data set: owner/name, or a folder (`pip install
    'seewhy[data]'`)."""
    val_share: float = 0.0
    """Share of each class's train images to set aside as val, beside those that the data has: chosen by a hash of
    their names, so always the same ones."""
    label_column: str | None = None
    """Which column of a Hugging Face data set is to be learnt, where it has several."""


@dataclass(frozen=True)
class EngineConfig:
    kind: Literal["in_process", "server"] = "in_process"
    """What answers questions: the model in this process, or an OpenAI-compatible server (`pip install
    'seewhy[serve]'`), which must first answer as the model in process does."""
    command: str = "vllm serve {model} --port {port} --dtype {dtype}"
    """Starts a server, once for each model. Filled in: {model}, a folder or a name on the Hub; {port}; {dtype} and
    {device}, those of the model in process; {images}, the folder of `image: file`."""
    base_url: str | None = None
    """Address of a server that already runs, up to /v1; nothing is started then. Key: environment OPENAI_API_KEY."""
    served_name: str | None = None
    """What the server calls the model, where that is not its folder or its name on the Hub."""
    port: int = 0
    """Port of a started server; 0 takes a free one."""
    concurrency: int = 16
    """Requests under way at once."""
    timeout: float = 300.0
    """Seconds to wait for one reply."""
    start_timeout: float = 900.0
    """Seconds that a started server may take until it answers."""
    retries: int = 5
    """Times that a request is sent again after 429, 5xx, a time-out or a broken connection, with growing pauses."""
    image: Literal["data", "file"] = "data"
    """Send an image's pixels in the request, or the file:// URL of a PNG of them, which the server must be allowed to
    read (vLLM: --allowed-local-media-path {images})."""


@dataclass(frozen=True)
class ModelConfig:
    name_or_path: str = "fieldguide"
    """A transformers image-text-to-text model, or 'fieldguide' for the small base that is shipped."""
    revision: str | None = None
    """Revision of the model on the Hub."""
    device: str = "auto"
    """'auto' takes a GPU where there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """'auto' is bfloat16 on a GPU and float32 on a CPU."""
    trust_remote_code: bool = False
    """Run code that comes with the model."""
    max_pixels: int | None = None
    """Scale images with more pixels than this down to it before the processor, their shape kept: a model whose tokens
    follow the size (Qwen-VL, one for 28 x 28 pixels) otherwise has thousands of them for a photograph."""
    batch_size: int = 0
    """Sequences in one generation batch; 0 is automatic: 16 on a CPU, on a GPU as many as fit, 384 at most. Where the
    memory of a GPU does not do, it is halved."""
    share_image: bool = True
    """Compute an image once for all the questions about it, in tuning and in sampling; off, once for each."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """What answers questions about images."""


@dataclass(frozen=True)
class DescribeConfig:
    prompts_per_image: int = 3
    """Different describe questions an image."""
    samples_per_prompt: int = 10
    """Descriptions sampled for each of them."""
    temperature: float = 1.0
    """Sampling temperature."""
    top_p: float = 1.0
    """Nucleus sampling mass."""
    max_new_tokens: int = 256
    """Longest description, in tokens."""


@dataclass(frozen=True)
class SelectConfig:
    encoder: str = "intfloat/e5-large"
    """A sentence-transformers model, or 'fieldguide' for the small one that is shipped."""
    prefixes: bool = True
    """Put before concepts and texts what the encoder was trained with, such as E5's 'query: ' and 'passage: '. The
    research code leaves it out."""
    temperature: float = 0.1
    """tau of InfoNCE, here and in rejection sampling."""
    rule: Literal["image", "unlisted"] = "unlisted"
    """What a concept's score is held against: the scores of its label's other concepts in the same image, as in the
    paper, or its own scores in the images of classes that do not list it."""
    threshold_std: float = 0.4
    """Rule 'image' keeps a concept above mean + threshold_std * std of its label's concepts."""
    unlisted_std: float = 2.5
    """Rule 'unlisted' keeps a concept above mean + unlisted_std * std of its scores where it is not listed."""
    minimum: int = 3
    """Never keep fewer than this many concepts."""


@dataclass(frozen=True)
class SynthesiseConfig:
    answers_per_image: int = 8
    """Question-answer pairs an image in round 1's training set; later rounds have sample.queries_per_image."""
    simple_share: float = 0.4
    """Share of simple questions (name it); the rest are explain and cot."""
    explain_share: float = 0.5
    """Share of explain questions among the rest; later rounds ask explain and cot evenly. The research code: 0.32."""
    temperature: float = 0.3
    """Sampling temperature."""
    top_p: float = 1.0
    """Nucleus sampling mass."""
    max_new_tokens: int = 128
    """Longest answer, in tokens."""
    tries: int = 3
    """Times an answer is asked for at most, until it names the label and states no concept that its class does not
    list. The paper asks once."""
    require_listed: bool = False
    """Let an answer that states a concept which its class does not list fall back to the label sentence. For concept
    banks that leave out nothing that a class shows and another class lists."""


@dataclass(frozen=True)
class AugmentConfig:
    at_most: int = 0
    """Try one to so many of the changes below, drawn for each view, each with its probability; 0 tries all of them. The
    research code draws 1 to 4 of 7."""
    flip: float = 0.5
    """Probability of a left-right flip."""
    upside_down: float = 0.0
    """Probability of an upside-down flip."""
    rotate: float = 10.0
    """Largest rotation, degrees either way."""
    rotate_share: float = 1.0
    """Probability of a rotation."""
    affine: float = 0.0
    """Probability of a turn, a shift and a zoom together."""
    affine_turn: float = 20.0
    """Largest turn of these, degrees either way."""
    affine_shift: float = 0.1
    """Largest shift of these, as a share of the image's side."""
    affine_zoom: float = 0.2
    """Largest relative change of size of these."""
    colour: float = 0.1
    """Largest relative change of brightness, contrast and saturation."""
    colour_share: float = 1.0
    """Probability of a change of colour."""
    blur: float = 0.1
    """Probability of a Gaussian blur."""
    perspective: float = 0.1
    """Largest corner shift, as a share of half the image's side."""
    perspective_share: float = 1.0
    """Probability of a change of perspective."""


@dataclass(frozen=True)
class TuneConfig:
    method: Literal["lora", "qlora", "full"] = "lora"
    """'lora' trains an adapter; 'qlora' one on a model held in 4 bits (`pip install 'seewhy[qlora]'`), for less memory;
    'full' the language model itself."""
    epochs: int = 2
    """Passes over a round's training set."""
    learning_rate: float = 1e-5
    """AdamW's peak rate."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How the rate falls to zero after its peak. The research code leaves it at the library's default, linear."""
    warmup: float = 0.05
    """Share of the steps in which the rate climbs."""
    weight_decay: float = 0.0
    """AdamW's weight decay."""
    batch_size: int = 32
    """Question-answer pairs an optimizer step; an epoch's last step has what is left."""
    micro_batch_size: int = 32
    """Pairs at a time on the device at most; gradients accumulate up to batch_size, whose pairs stay the same ones."""
    lora_rank: int = 128
    """Rank of the adapters on the language model's linear layers."""
    lora_alpha: int = 256
    """Scale of the adapters."""
    lora_dropout: float = 0.05
    """Dropout before the adapters."""
    projector: Literal["full", "frozen"] = "full"
    """Train the projector in full, or leave it."""
    vision_tower: Literal["frozen", "lora", "full"] = "frozen"
    """Leave the vision tower, adapt it (not with method 'full'), or train it in full."""
    loss_per: Literal["token", "answer"] = "token"
    """What the loss is a mean of: the tokens of all answers, as is usual, or answers, so that a bare name weighs as
    much as one with eight reasons."""
    gradient_checkpointing: bool = False
    """Save memory by computing activations twice."""
    checkpoint_steps: int = 50
    """Optimizer steps between checkpoints; a killed run resumes at the last one."""
    trackers: tuple[str, ...] = ()
    """Experiment trackers that transformers.Trainer knows (wandb, tensorboard, trackio, ...)."""
    replay: str | None = None
    """General instruction data (LLaVA-Instruct JSON) mixed in so that the model does not forget how to chat."""
    replay_ratio: float = 1.0
    """Replay examples for each domain example."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes to a training image."""


@dataclass(frozen=True)
class SampleConfig:
    queries_per_image: int = 8
    """Explain and cot questions an image."""
    samples_per_query: int = 3
    """Candidates for each of them."""
    temperature: float = 0.7
    """Sampling temperature."""
    top_p: float = 0.6
    """Nucleus sampling mass."""
    max_new_tokens: int = 196
    """Longest candidate, in tokens."""
    negatives: Literal["once", "per_class"] = "once"
    """Let a concept outside the image's own count once among the negatives of a candidate's score, or once for each
    class that lists it, as in the research code."""
    label_first: bool = True
    """Take the best of the candidates that name the label. The research code takes the best of all, and falls back to
    the label sentence where that one does not name it."""
    prefer_listed: bool = True
    """Let a candidate that states a concept which its class does not list lose to one that states none. The paper goes
    by the score alone."""
    require_listed: bool = False
    """Reject such a candidate even where all candidates of its query are such."""


@dataclass(frozen=True)
class EvaluateConfig:
    split: Literal["train", "val", "test"] = "test"
    """The split that the models are measured on."""
    max_new_tokens: int = 196
    """Longest answer, in tokens."""
    bootstrap: int = 1000
    """Resamples behind each 95 % interval."""
    consistency: bool = True
    """Measure CS: whether reasons agree with the concepts selected for the image. The untuned model describes the
    split's images for it, once for all models."""
    fluency: bool = True
    """Measure FS: the perplexity of every model's answers under the untuned one."""


@dataclass(frozen=True)
class RunConfig:
    output: str = "runs/fieldguide"
    """The run folder. Started again with the same settings, a run goes on where it stopped."""
    preset: Literal["ours", "paper"] = "ours"
    """What settings are that are given neither in the file nor on the command line: 'ours', the defaults shown here, or
    'paper', those of Shi et al. and their research code (`seewhy/settings.py`, docs/paper_map.md)."""
    rounds: int = 4
    """Rounds of tuning; all but the first learn from the model's own filtered answers."""
    start_from: Literal["previous", "base"] = "previous"
    """Tune each round's model from the round before, as in the paper, or from the untuned base anew."""
    keep_going: bool = False
    """Run all rounds whatever the validation images say, and whatever share of the bank the model has words for. Else a
    run stops after a round that is worse on them than the best so far, in accuracy or CS, by more than chance makes of
    equal rounds in 5 % of runs; without validation images it runs all."""
    minimum_support: float = 0.33
    """Stop after the descriptions where less than this share of the concept bank's phrases is in words that the
    descriptions use; `keep_going` goes on regardless."""
    controls: tuple[Literal["nl", "lge", "unfiltered", "class_level"], ...] = ()
    """Arms to train beside the method with as many answers and steps: 'nl' learns the label sentence alone, 'lge' the
    label and its class's whole list; 'unfiltered' keeps a random candidate for each query; 'class_level' takes the
    class's whole list for what is visible in each image."""
    seed: int = 0
    """Every random choice follows from it."""
    shard_size: int = 64
    """Examples a shard: what a killed run loses at most."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    describe: DescribeConfig = field(default_factory=DescribeConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    synthesise: SynthesiseConfig = field(default_factory=SynthesiseConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


if TYPE_CHECKING:
    from _typeshed import DataclassInstance

THROUGHPUT = frozenset(
    {
        "model.device",
        "model.trust_remote_code",
        "model.batch_size",
        "model.share_image",
        "model.engine.kind",
        "model.engine.command",
        "model.engine.base_url",
        "model.engine.served_name",
        "model.engine.port",
        "model.engine.concurrency",
        "model.engine.timeout",
        "model.engine.start_timeout",
        "model.engine.retries",
        "model.engine.image",
        "tune.micro_batch_size",
        "tune.gradient_checkpointing",
        "tune.checkpoint_steps",
        "tune.trackers",
    }
)
"""Settings that say where, how fast and in how much memory something is computed, and what may be run for it. A server
must answer as the model in this process does before anything is sampled from it (vlm/parity.py)."""


def decisive(group: str, settings: "DataclassInstance") -> dict[str, Any]:
    """Return the settings of a group, such as "tune", that change an output, nested as they are in the configuration;
    a group within it of which nothing is left is left out. A whole number given for a float is that float."""
    types, kept = get_type_hints(type(settings)), dict[str, Any]()
    for setting in fields(settings):
        name = f"{group}.{setting.name}"
        value: Any = getattr(settings, setting.name)
        if is_dataclass(types[setting.name]):
            if nested := decisive(name, value):
                kept[setting.name] = nested
        elif name not in THROUGHPUT:
            kept[setting.name] = float(value) if types[setting.name] is float else value
    return kept
