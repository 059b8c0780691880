"""The verb that hands a run on: export."""

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from seewhy.cli.verb import Verb, trust_argument

EXPORT = """\
A run's model and training data as others take them up, each with a card that says how it was made and where it fails.

examples:
  seewhy export runs/fieldguide --output exported
  seewhy export runs/fieldguide --output exported --round best --model merged,adapter
  seewhy export runs/fieldguide --output exported --model none --data parquet,trl,llava,sharegpt --images
  seewhy export runs/fieldguide --output exported --push_to_hub USER/NAME --private

OUTPUT/model is loaded by pipeline("image-text-to-text", model=...), `transformers serve` and `vllm serve`;
OUTPUT/adapter by peft, on the untuned base; OUTPUT/data by datasets, TRL, LLaVA and LLaMA-Factory. The Hub gets them as
USER/NAME, USER/NAME-adapter and USER/NAME-data. An earlier export in OUTPUT is replaced, anything else is not.
"""


def export_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=str, help="the run folder")
    parser.add_argument("--output", type=str, required=True, help="The folder to write.")
    rounds = "A round's number, last, or best on val images (default: the round gate's best, or else the last)."
    parser.add_argument("--round", type=str, default=None, help=rounds)
    parser.add_argument("--model", type=str, default="merged", help="merged, adapter, both with a comma, or none.")
    forms = "parquet, trl, llava, sharegpt, several with commas, or none."
    parser.add_argument("--data", type=str, default="parquet", help=forms)
    parser.add_argument("--images", action="store_true", help="Copy the images into the data set too.")
    parser.add_argument("--push_to_hub", metavar="USER/NAME", type=str, default=None, help="Upload it to the Hub.")
    parser.add_argument("--private", action="store_true", help="Make the Hub's repositories private.")
    trust_argument(parser)


def export(given: Namespace) -> None:
    from seewhy.export.build import export_run

    made = export_run(
        given.run, given.output, round=given.round, model=_listed(given.model), data=_listed(given.data),
        images=given.images, hub_name=given.push_to_hub, private=given.private,
        trust_remote_code=given.trust_remote_code,
    )  # fmt: skip
    show = Console(highlight=False)
    show.print(f"Round {made['round']} of {given.run}:", markup=False)
    for file in ("model", "adapter", "data"):
        if any(name.startswith(f"{file}/") for name in made["files"]):
            show.print(f"  {given.output}/{file}", markup=False, soft_wrap=True)
    if check := made.get("adapter"):
        show.print(f"The adapter on the base gives the merged model's logits up to {check['difference']:.1g}.")
    for place in made["pushed"]:
        show.print(f"Uploaded to {place}", markup=False, soft_wrap=True)


def _listed(names: str) -> tuple[str, ...]:
    parts = [name.strip() for name in names.split(",")]
    return () if parts == ["none"] else tuple(dict.fromkeys(name for name in parts if name))


VERBS = (
    Verb(
        "export", "the model and its training data, for others", EXPORT,
        "seewhy export RUN --output FOLDER [--OPTION VALUE ...]", export_arguments, export,
    ),
)  # fmt: skip
