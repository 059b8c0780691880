"""What somebody may plant in a model, an encoder, a data set or a run folder that is sent to a reader.

Each attack touches a file when its code runs, or is after the words of a private file. The first test shows that the
planted code would run where it is loaded as such.
"""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from PIL import Image

from fixtures_data import image_folder, tiny_encoder
from killed import contents
from seewhy import api
from seewhy.config import DataConfig, TuneConfig
from seewhy.domain.concepts import load_concepts
from seewhy.domain.loaders.hub import _refuse_outside
from seewhy.domain.loaders.layouts import read_data
from seewhy.domain.loaders.llava import load_replay
from seewhy.domain.questions import Questions
from seewhy.domain.verdicts import read_verdicts
from seewhy.errors import SeeWhyError
from seewhy.method.encoder import Encoder
from seewhy.records import Turn
from seewhy.run.checksums import SUMS, write_sums
from seewhy.settings import load_config
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.tuning import tune
from tiny import tiny_llava

SECRET = "words of a private file"
EVIL = "from pathlib import Path\nPath({sentinel!r}).touch()\nclass Evil:\n    pass\n"
JINJA = (
    "{{{{ cycler.__init__.__globals__.os.system('touch {sentinel}') }}}}",
    "{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}",
    "{{% include '{private}' %}}",
)


class Planted:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.sentinel,))


class World:
    """A reader's machine: a private file, and what was sent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sentinel = root / "code was run"
        self.private = root / "private.txt"
        self.private.write_text(SECRET)
        Image.new("RGB", (32, 32), "red").save(root / "private.png")
        self.sent = root / "sent"

    def evil(self, folder: Path) -> None:
        (folder / "evil.py").write_text(EVIL.format(sentinel=str(self.sentinel)))

    def pickled(self, path: Path) -> None:
        torch.save({"weight": Planted(self.sentinel)}, path)

    def edit(self, path: Path, **changes: Any) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    found = World(tmp_path)
    yield found
    assert not found.sentinel.exists(), "code that was sent has run"


def test_what_is_planted_would_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pickled(tmp_path / "a.pt")
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert world.sentinel.exists()
    world.sentinel.unlink()
    exec(compile(EVIL.format(sentinel=str(world.sentinel)), "evil.py", "exec"), {})
    assert world.sentinel.exists()
    assert pickle.dumps(Planted(world.sentinel))


# Models.


def pickled_weights(world: World, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    world.pickled(folder / "pytorch_model.bin")


def a_processor_of_its_own(world: World, folder: Path) -> None:
    world.evil(folder)
    world.edit(folder / "processor_config.json", auto_map={"AutoProcessor": "evil.Evil"}, processor_class="Evil")


def a_tokenizer_of_its_own(world: World, folder: Path) -> None:
    world.evil(folder)
    named = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    world.edit(folder / "tokenizer_config.json", auto_map=named, tokenizer_class="Evil")


def an_image_processor_of_its_own(world: World, folder: Path) -> None:
    world.evil(folder)
    held = json.loads((folder / "processor_config.json").read_text())
    images = {**held.get("image_processor", {}), "auto_map": {"AutoImageProcessor": "evil.Evil"}}
    world.edit(folder / "processor_config.json", image_processor={**images, "image_processor_type": "Evil"})


def attention_from_the_hub(world: World, folder: Path) -> None:
    world.edit(folder / "config.json", attn_implementation="evil/kernel")


def attention_of_a_part_from_the_hub(world: World, folder: Path) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    world.edit(folder / "config.json", text_config={**text, "attn_implementation": "evil/kernel"})


def an_adapter_on_another_model(world: World, folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(world.root)}))


def a_template_that_is_a_link(world: World, folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.jinja").symlink_to(world.private)


MODELS = (
    pickled_weights, a_processor_of_its_own, a_tokenizer_of_its_own, an_image_processor_of_its_own,
    attention_from_the_hub, attention_of_a_part_from_the_hub, an_adapter_on_another_model, a_template_that_is_a_link,
)  # fmt: skip


@pytest.mark.parametrize("plant", MODELS, ids=lambda plant: plant.__name__)
def test_a_model_runs_no_code_and_reads_no_file_of_the_reader(world: World, plant: Callable[..., None]) -> None:
    plant(world, tiny_llava(world.sent))
    for read in (lambda: VisionLanguageModel.load(world.sent, device="cpu"),
                 lambda: VisionLanguageModel.outline(world.sent, dtype=torch.float32)):  # fmt: skip
        vlm, told = None, ""
        try:
            vlm = read()
        except SeeWhyError as error:
            told = str(error)
        assert SECRET not in told
        if vlm is not None:  # what was planted was left aside
            vlm.tokenise(vlm.render("What is it?", image=True), Image.new("RGB", (20, 10)))
            assert "evil" not in type(vlm.processor).__module__


@pytest.mark.parametrize("template", JINJA)
def test_a_chat_template_is_no_program(world: World, template: str) -> None:
    text = (tiny_llava(world.sent) / "chat_template.jinja").read_text()
    planted = template.format(sentinel=world.sentinel, private=world.private)
    (world.sent / "chat_template.jinja").write_text(planted + text)
    try:
        vlm = VisionLanguageModel.load(world.sent, device="cpu")
    except SeeWhyError:
        return
    said = vlm.render("What is it?", image=True)
    assert SECRET not in said
    assert "<class" not in said


# Encoders.


def pickled_module(world: World, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    world.pickled(folder / "pytorch_model.bin")


def a_module_of_its_own(world: World, folder: Path) -> None:
    world.evil(folder)
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([{**modules[0], "type": "evil.Evil"}]))


def a_module_of_pythons_own(world: World, folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([{**modules[0], "type": "subprocess.Popen"}]))


def a_module_elsewhere(world: World, folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([{**modules[0], "path": "../elsewhere"}]))
    tiny_encoder(world.root / "elsewhere")


def a_tokenizer_that_is_a_link(world: World, folder: Path) -> None:
    (folder / "tokenizer.json").rename(world.root / "elsewhere.json")
    (folder / "tokenizer.json").symlink_to(world.root / "elsewhere.json")


ENCODERS = (
    pickled_module, a_module_of_its_own, a_module_of_pythons_own, a_module_elsewhere, a_tokenizer_that_is_a_link,
)  # fmt: skip


@pytest.mark.parametrize("plant", ENCODERS, ids=lambda plant: plant.__name__)
def test_an_encoder_runs_no_code_and_reads_nothing_outside(world: World, plant: Callable[..., None]) -> None:
    plant(world, tiny_encoder(world.sent))
    with pytest.raises(SeeWhyError):
        Encoder(str(world.sent), "cpu")


# Checkpoints of a tuning in a received run.


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_pickled_checkpoint_is_not_loaded(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The sender knows how to make its checksums right."""
    from seewhy.vlm import tuning

    base = tiny_llava(world.sent)
    config = TuneConfig(epochs=1, batch_size=2, micro_batch_size=2, lora_rank=2, checkpoint_steps=1, learning_rate=1e-2)
    image = str(world.root / "private.png")
    turns = [Turn(str(n), image, "What is it?", "a red crest") for n in range(6)]
    folder, steps = world.root / "partial", []
    folder.mkdir()

    class Stopped(Exception):
        pass

    step = tuning._CheckpointedTrainer.training_step

    def stops(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(steps) == 2:
            raise Stopped
        steps.append(1)
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(tuning._CheckpointedTrainer, "training_step", stops)
        with pytest.raises(Stopped):
            tune(VisionLanguageModel.load(base, device="cpu"), turns, config, folder, 0)
    (checkpoint,) = folder.glob("checkpoints/checkpoint-*")
    (checkpoint / name).unlink()
    world.pickled(checkpoint / name)
    (checkpoint / SUMS).unlink()
    write_sums(checkpoint)
    tune(VisionLanguageModel.load(base, device="cpu"), turns, config, folder, 0)  # from its start
    assert f"of which {name} is not what a tuning of SeeWhy writes" in " ".join(capsys.readouterr().err.split())


# Data.


@pytest.mark.parametrize(
    "read", [load_config, load_concepts, lambda path: Questions.for_noun("bird", path)], ids=["settings", "bank", "ask"]
)
@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch {sentinel}']", "!!python/name:os.system",
                                 "!!python/object/new:os.system ['touch {sentinel}']"])  # fmt: skip
def test_yaml_makes_no_objects(world: World, read: Callable[[Path], Any], tag: str) -> None:
    world.sent.write_text(f"Crow: [{tag.format(sentinel=world.sentinel)}]\ndescribe: [a]\nseed: {tag}")
    with pytest.raises(SeeWhyError):
        read(world.sent)


ROW = {"label": "Crow", "split": "train"}


def refused(config: DataConfig) -> bool:
    try:
        return bool(read_data(config).problems)
    except SeeWhyError:
        return True


def outside(world: World) -> list[str]:
    return ["../private.png", str(world.root / "private.png"), "link.png", "there/private.png", "a/../../private.png"]


@pytest.mark.parametrize("layout", ["table", "research", "replay", "folder"])
def test_a_data_set_names_no_image_outside_of_it(world: World, layout: str) -> None:
    world.sent.mkdir()
    (world.sent / "link.png").symlink_to(world.root / "private.png")
    (world.sent / "there").symlink_to(world.root)
    for number, name in enumerate(outside(world)):
        if layout == "folder":
            if name != "link.png":
                continue
            (world.sent / "train/Crow").mkdir(parents=True)
            (world.sent / "link.png").rename(world.sent / "train/Crow/link.png")
            config = DataConfig(source=str(world.sent), noun="bird")
        elif layout == "table":
            (world.sent / f"{number}.jsonl").write_text(json.dumps({**ROW, "image": name}))
            config = DataConfig(source=str(world.sent / f"{number}.jsonl"), noun="bird")
        elif layout == "research":
            (world.sent / "x-train.json").write_text(json.dumps([{"id": "1", "img_path": name, "label": "Crow"}]))
            config = DataConfig(source=str(world.sent / "x-train.json"), noun="bird", layout="research")
        else:
            says = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A bird."}]
            (world.sent / "r.json").write_text(json.dumps([{"id": "1", "image": name, "conversations": says}]))
            with pytest.raises(SeeWhyError):
                load_replay(world.sent / "r.json")
            continue
        assert refused(config)


def test_a_saved_data_set_reads_no_table_outside_of_it(world: World) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=[SECRET])})
    rows = {"image": [str(world.root / "private.png")], "label": [0]}
    private = datasets.Dataset.from_dict(rows, features=features)
    private.save_to_disk(str(world.root / "mine"))
    private.to_parquet(str(world.root / "mine.parquet"))
    (arrow,) = (world.root / "mine").glob("*.arrow")
    shutil.copytree(world.root / "mine", world.sent)
    (world.sent / arrow.name).unlink()
    world.edit(world.sent / "state.json", _data_files=[{"filename": f"../mine/{arrow.name}"}])
    with pytest.raises(SeeWhyError, match="not in the data set"):
        read_data(DataConfig(source=str(world.sent), noun="bird", layout="hub"))
    for number, where in enumerate(("../mine.parquet", str(world.root / "mine.parquet"), "file://" + str(world.root))):
        folder = world.root / f"readme-{number}"
        folder.mkdir()
        named = {"configs": [{"config_name": "default", "data_files": [{"split": "train", "path": where}]}]}
        front = yaml.safe_dump(named)
        for name, card in (
            ("README.md", f"---\n{front}---\n"), ("README.md", f"\n---\n---x: 1\n{front}---\n"),
            (".huggingface.yaml", front),
        ):  # fmt: skip
            (folder / name).write_text(card)
            with pytest.raises(SeeWhyError, match="not in the data set"):
                read_data(DataConfig(source=str(folder), noun="bird", layout="hub"))
            (folder / name).unlink()


def test_a_rule_in_a_readme_is_no_card(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("Birds\n---\nNo: yaml: here [\n---\n")
    _refuse_outside("birds", [], [tmp_path / "README.md"], REGEX_YAML_BLOCK)


# Run folders.


def test_a_verdict_on_a_file_of_the_readers_counts_for_nothing(world: World) -> None:
    sha256 = hashlib.sha256((world.root / "private.png").read_bytes()).hexdigest()
    line = {"id": "1", "who": "Eve", "when": "2026-11-27T22:14:02+00:00", "kind": "label", "verdict": "wrong",
            "image": "../../private.png", "sha256": sha256, "label": "Crow"}  # fmt: skip
    world.sent.write_text(json.dumps(line) + "\n")
    from seewhy.domain.corrections import strangers

    root = image_folder(world.root / "data", train=1, test=1)
    from seewhy.domain.domain import load_domain

    domain = load_domain(DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird"))
    assert strangers(read_verdicts(world.sent), domain.examples)[0] == 1


def test_words_of_a_received_run_are_no_markup_of_its_page(world: World) -> None:
    from made_up_runs import item, metrics

    world.sent.mkdir()
    script = "<script>document.location='//evil'</script><img src=x onerror=alert(1)>"
    card = {**item("a.png", script), "image": "a.png"}
    (world.sent / "metrics.json").write_text(json.dumps(metrics(arms=True)))
    (world.sent / "gallery.json").write_text(json.dumps({"cards": [card]}))
    (world.sent / "config.yaml").write_text(f"output: run\n# {script}\n")
    page = api.report(str(world.sent), heatmaps=False).read_text()
    assert script not in page
    assert "&lt;script&gt;document.location" in page
    assert SECRET.encode() not in b"".join(contents(world.sent).values())
