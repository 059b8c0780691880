"""Each export, read back by those it is for: transformers, peft, datasets, TRL, LLaVA and LLaMA-Factory's forms."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from run_folders import tree
from seewhy.cli import main
from seewhy.domain.images import image_sha256, load_image
from seewhy.domain.loaders.llava import load_replay
from seewhy.errors import SeeWhyError
from seewhy.export import card
from seewhy.export.build import RECORD, export_run
from seewhy.export.model import AdapterCheck, ExportedRound
from seewhy.records import Answer, Prediction, Prompt, Sampling
from seewhy.results import Metrics
from seewhy.results_json import decode, encode
from seewhy.run.checksums import SUMS, write_sums
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import read_records
from seewhy.run.stages import BASE
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler

pytestmark = pytest.mark.slow
FORMS = ("parquet", "trl", "llava", "sharegpt")


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "birds"
    export_run(str(run), str(output), model=("merged", "adapter"), data=FORMS, images=True)
    return output


@pytest.fixture(scope="module")
def photos(run: Path) -> list[Path]:
    return sorted((run.parent / "images" / "test").rglob("*.png"))


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    """A card's metadata and body."""
    _, metadata, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(metadata), body


def run_snippet(folder: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the card's first Python block prints, where the card lies and with a photo beside it."""
    code = re.findall(r"```python\n(.*?)```", card_of(folder)[1], re.DOTALL)[0]
    place = folder.parent / f"at-{photo.parent.name}-{folder.name}"
    shutil.copytree(folder, place)
    shutil.copyfile(photo, place / "photo.jpg")
    monkeypatch.chdir(place)
    capsys.readouterr()
    exec(compile(code, "README.md", "exec"), {"__name__": "snippet"})
    return capsys.readouterr().out.rstrip("\n")


def measured_answers(run: Path, name: str) -> dict[str, str]:
    """Photo's example id -> the greedy answer in the run's own records."""
    return {p.example_id: p.text for p in read_records(run, f"{name}/predictions-test", Prediction)}


def test_the_pipeline_of_the_card_gives_the_measured_answers(
    run: Path, exported: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = measured_answers(run, "round-2")
    for photo in photos:
        example = f"test/{photo.parent.name}/{photo.stem}"
        assert run_snippet(exported / "model", photo, monkeypatch, capsys) == expected[example]
    assert expected != measured_answers(run, "base")


def test_the_adapter_of_the_card_gives_the_measured_answers(
    run: Path, exported: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = f"test/{photos[0].parent.name}/{photos[0].stem}"
    said = run_snippet(exported / "adapter", photos[0], monkeypatch, capsys)
    assert said == measured_answers(run, "round-2")[example]
    check = json.loads((exported / "export.json").read_text())["adapter"]
    assert (check["rank"], check["rounds"]) == (8, 2)
    assert check["difference"] < 1e-5


def test_the_card_of_an_adapter_says_where_it_cannot_be_served(run: Path, exported: Path) -> None:
    """vLLM takes LoRA weights alone; the projector, trained in full, is none."""
    config = json.loads((exported / "adapter" / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["model.multi_modal_projector"]
    told = (exported / "adapter" / "README.md").read_text()
    assert r"It holds 1 module in full (`modules_to_save`: model.multi\_modal\_projector)" in told
    assert "**vLLM refuses it**" in told
    assert "--model merged" in told
    check = AdapterCheck(8, 2, 0.0, 1e-3)
    alone = card.adapter_card(ExportedRound.open(str(run), None), check, hub_name=None, hub_data=None)
    assert "vLLM" not in alone
    assert "modules_to_save" not in alone


def test_the_adapter_of_the_last_round_alone_is_another_model(run: Path, photos: list[Path], exported: Path) -> None:
    from peft import PeftModel

    def logits(adapter: Path) -> torch.Tensor:
        vlm = FinishedRun.open(run).load(BASE)
        row = vlm.tokenise(vlm.render("Which bird is this?", image=True), load_image(photos[0]))
        with torch.inference_mode():
            return PeftModel.from_pretrained(vlm.model, str(adapter)).eval()(**row).logits

    stacked, alone = logits(exported / "adapter"), logits(run / "stages/round-2/model/adapter")
    assert float((stacked - alone).abs().max()) > 0.1


def test_our_own_sampler_reads_the_merged_model(run: Path, exported: Path, photos: list[Path]) -> None:
    vlm = VisionLanguageModel.load(exported / "model", device="cpu")
    config = vlm.model.generation_config
    assert (config.do_sample, config.max_new_tokens) == (False, 24)
    prompt = read_records(run, "round-2/predictions-test", Prediction)[0].query
    said = BatchSampler(vlm, 4, load_image).sample(
        [Prompt(str(p), str(p), prompt) for p in photos], Sampling(max_new_tokens=24), 0
    )
    assert {text for (text,) in said} <= set(measured_answers(run, "round-2").values())


def test_the_card_says_first_what_the_model_is_not_to_be_used_for(run: Path) -> None:
    finished = ExportedRound.open(str(run), "2")

    def written(**last: float) -> str:
        metrics = encode(finished.metrics)
        metrics["base"]["ee"] = 0.82
        for figures in metrics["rounds"]:
            figures |= {"ee": 0.9, "fallback_share": 0.1}
        metrics["rounds"][1] |= last
        return card.model_card(replace(finished, metrics=decode(Metrics, metrics)), hub_name=None, hub_data=None)

    collapsed = written(ee=0.02, fallback_share=0.96)
    warning = collapsed.index("> **Do not use the reasons of this model.** It gives a reason in 2.0 % of its answers")
    assert collapsed.index("\n# ") < warning < collapsed.index("## Intended use")
    assert "more sample.samples" in collapsed
    assert "Do not use the reasons" not in written(ee=0.9)


def test_the_model_card(run: Path, exported: Path) -> None:
    metadata, body = card_of(exported / "model")
    assert metadata["library_name"] == "transformers"
    assert metadata["pipeline_tag"] == "image-text-to-text"
    assert "base_model" not in metadata  # it is not on the Hub
    (result,) = metadata["model-index"][0]["results"]
    figures = json.loads((run / "metrics.json").read_text())["rounds"][1]
    accuracy = next(m for m in result["metrics"] if m["type"] == "accuracy")
    assert accuracy["value"] == figures["accuracy"]
    assert accuracy["args"]["confidence_interval_95"] == figures["accuracy_interval"]
    assert "NL, round 2" in body
    assert "| Red-crested Finch | 3 | red crest; white belly with spots; eye ring |" in body
    assert "9 train, 3 test images" in body
    assert "lora_rank: 4" in body
    assert "Whether its reasons are true of an image has not been measured" in body
    assert "Round 2: 18 answers" in body


def test_no_export_tells_where_it_was_made(run: Path, exported: Path) -> None:
    texts = [p for p in exported.rglob("*") if p.suffix in {".md", ".json", ".jsonl", ".jinja"}]
    assert len(texts) > 10
    assert [p for p in texts if str(run.parent) in p.read_text(encoding="utf-8")] == []
    assert str(run.parent).encode() not in (exported / "data" / "round-1.parquet").read_bytes()


def test_parquet_rows_can_be_traced_and_hold_the_images(run: Path, exported: Path) -> None:
    rows = pq.read_table(exported / "data" / "round-2.parquet").to_pylist()
    answers = {a.id: a for a in read_records(run, "round-2/answers", Answer)}
    assert [row["id"] for row in rows] == list(answers)
    for row in rows:
        answer = answers[row["id"]]
        assert (row["query"], row["answer"], row["source"]) == (answer.query, answer.text, answer.source)
        assert row["reason"] == answer.reason
        assert row["image"]["bytes"] == (exported / "data" / row["image"]["path"]).read_bytes()
        assert row["sha256"] == image_sha256(exported / "data" / row["image"]["path"])
    assert all(len(row["concepts"]) >= 3 for row in rows if row["source"] == "sampled")
    assert main(["trace", str(run), rows[0]["id"]]) == 0


def test_datasets_shows_the_images(exported: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = str(exported / "data" / "round-1.parquet")
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert len(rows) == 27
    assert rows[0]["image"].size == (36, 40)
    by_name = datasets.load_dataset(str(exported / "data"), "round-2", split="train", cache_dir=str(tmp_path))
    assert len(by_name) == 18


def test_trl_takes_a_step(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trl = pytest.importorskip("trl", reason="trl is not installed (pip install 'seewhy[bench]')")
    code = re.findall(r"```python\n(.*?)```", card_of(exported / "data")[1], re.DOTALL)[0]
    monkeypatch.chdir(exported / "data")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    found: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), found)
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "sft"), max_steps=1, per_device_train_batch_size=2, max_length=None, use_cpu=True,
        report_to="none", save_strategy="no", bf16=False, logging_steps=1, disable_tqdm=True,
        gradient_checkpointing=False,
    )  # fmt: skip
    trainer = trl.SFTTrainer(model=str(exported / "model"), args=settings, train_dataset=found["rows"])
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 1
    assert 0 < losses[0] < 20
    example = next(iter(trainer.get_train_dataloader()))
    assert example["pixel_values"].shape[0] == 2
    learnt = trainer.processing_class.tokenizer.decode(example["labels"][0][example["labels"][0] != -100])
    assert learnt.strip().removesuffix("</s>").strip() in {row["completion"][0]["content"] for row in found["rows"]}


def check_conversation(messages: Any) -> None:
    assert [set(m) for m in messages] == [{"from", "value"}] * 2
    assert [m["from"] for m in messages] == ["human", "gpt"]
    assert messages[0]["value"].count("<image>") == 1
    assert messages[0]["value"].startswith("<image>")
    assert "<image>" not in messages[1]["value"]
    assert messages[1]["value"]


def test_llava_json(run: Path, exported: Path) -> None:
    rows = json.loads((exported / "data" / "llava-round-2.json").read_text(encoding="utf-8"))
    for row in rows:
        check_conversation(row["conversations"])
        assert (exported / "data" / row["image"]).is_file()
        assert isinstance(row["id"], str)
    turns = load_replay(exported / "data" / "llava-round-2.json")
    answers = read_records(run, "round-2/answers", Answer)
    assert [(t.query, t.answer) for t in turns] == [(a.query, a.text) for a in answers]


def test_sharegpt(exported: Path) -> None:
    info = json.loads((exported / "data" / "dataset_info.json").read_text())
    assert list(info) == ["round_1", "round_2"]
    for entry in info.values():
        assert entry["formatting"] == "sharegpt"
        rows = json.loads((exported / "data" / entry["file_name"]).read_text(encoding="utf-8"))
        for row in rows:
            check_conversation(row[entry["columns"]["messages"]])
            (image,) = row[entry["columns"]["images"]]
            assert (exported / "data" / image).is_file()


def test_without_images_paths_are_those_of_the_data_set(run: Path, tmp_path: Path) -> None:
    export_run(str(run), str(tmp_path / "out"), round="1", model=(), data=("llava", "parquet"))
    data = tmp_path / "out" / "data"
    assert {p.name for p in data.iterdir()} == {"README.md", "llava-round-1.json", "round-1.parquet"}
    source = run.parent / "images"
    assert all((source / row["image"]).is_file() for row in json.loads((data / "llava-round-1.json").read_text()))
    assert isinstance(pq.read_table(data / "round-1.parquet").to_pylist()[0]["image"], str)


def test_an_export_is_replaced_and_nothing_else_is(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    export_run(str(run), str(output), model=(), data=("trl",))
    export_run(str(run), str(output), round="1", model=(), data=("llava",))
    found = {p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file()}
    assert found == {"export.json", "data/README.md", "data/llava-round-1.json"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    (output / "data" / "notes.txt").write_text("mine")
    with pytest.raises(SeeWhyError, match=r"data/notes\.txt, which is none of it"):
        export_run(str(run), str(output), model=(), data=("trl",))
    assert (output / "data" / "notes.txt").read_text() == "mine"


def test_folders_beside_an_export_are_left_alone(run: Path, tmp_path: Path) -> None:
    for name in ("out.partial", "out.replaced", "out.partial/deep"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "chapter.tex").write_text("years")
    for _ in range(2):
        export_run(str(run), str(tmp_path / "out"), model=(), data=("trl",))
    assert len(list(tmp_path.rglob("chapter.tex"))) == 3
    assert {p.name for p in tmp_path.iterdir()} == {"out", "out.partial", "out.replaced"}


def test_an_export_into_the_current_folder_and_through_a_link(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, linked = tmp_path / "here", tmp_path / "linked"
    here.mkdir()
    linked.symlink_to(here)
    monkeypatch.chdir(here)
    for output in (".", str(linked), "../linked", "."):
        export_run(str(run), output, model=(), data=("trl",))
        assert {p.name for p in here.iterdir()} == {"export.json", "data"}
    assert linked.is_symlink()
    assert Path.cwd() == here


def test_an_export_that_fails_leaves_the_earlier_one(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    export_run(str(run), str(output), model=(), data=("trl",))
    before, rename, moved = tree(output), Path.rename, []

    def fails_at_the_third(path: Path, target: Path) -> Path:
        if ".seewhy-export-" in f"{path}{target}" and not str(target).endswith(f"new/{RECORD}"):
            moved.append(path)
            if len(moved) == 3:
                raise PermissionError("no")
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fails_at_the_third)
        with pytest.raises(PermissionError):
            export_run(str(run), str(output), round="1", model=(), data=("llava",))
    assert len(moved) > 3  # and what was moved went back
    assert tree(output) == before
    assert {p.name for p in output.iterdir()} == {"export.json", "data"}


def test_best_is_chosen_on_val_images(run: Path, tmp_path: Path) -> None:
    with pytest.raises(SeeWhyError, match="--split val` first"):
        export_run(str(run), str(tmp_path / "out"), round="best")
    rounds = [{"round": 1, "accuracy": 0.9}, {"round": 2, "accuracy": 0.9}]
    (run / "metrics-val.json").write_text(json.dumps({"base": {"split": "val"}, "rounds": rounds}))
    try:
        made = export_run(str(run), str(tmp_path / "out"), round="best", model=(), data=("trl",))
    finally:
        (run / "metrics-val.json").unlink()
    assert made["round"] == 1


def test_changed_data_are_refused(run: Path, tmp_path: Path) -> None:
    concepts = run.parent / "concepts.yaml"
    before = concepts.read_text()
    concepts.write_text(before.replace("red crest", "green crest"))
    try:
        with pytest.raises(SeeWhyError, match="no longer those that"):
            export_run(str(run), str(tmp_path / "out"))
    finally:
        concepts.write_text(before)
    assert not (tmp_path / "out").exists()


def test_a_model_that_the_adapter_does_not_make_is_refused(run: Path, tmp_path: Path) -> None:
    weights = run / "stages/round-1/model/adapter/adapter_model.safetensors"
    before = weights.read_bytes()
    shutil.copyfile(run / "stages/round-2/model/adapter/adapter_model.safetensors", weights)
    sums = weights.parents[1] / SUMS
    whole = sums.read_bytes()
    write_sums(sums.parent, re.search(r"made from (.+)", whole.decode()).group(1))  # pyright: ignore[reportOptionalMemberAccess]
    try:
        with pytest.raises(SeeWhyError, match="does not answer as the merged model does"):
            export_run(str(run), str(tmp_path / "out"), model=("adapter",), data=())
    finally:
        weights.write_bytes(before)
        sums.write_bytes(whole)
    assert list(tmp_path.iterdir()) == []
