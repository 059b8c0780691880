"""`seewhy general RUN --tasks`: how lmms-eval is called, and the real program in an environment of its own.

That environment finds torch and transformers in this one, as they are gigabytes, and gets lmms-eval without most of
what it requires (wandb, timm, opencv, ...): only what it imports to score one of its models on a task of images.
"""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seewhy.api import general
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import BASE, draw_example
from seewhy.fieldguide.world import make_species
from seewhy.proof.ability import command_line
from seewhy.run import loop
from tiny_run import tiny_run

IMPORTED = [
    "loguru", "sacrebleu", "evaluate", "tenacity", "aiohttp", "requests", "pytz", "pytablewriter", "decord",
    "filelock<3.25",
]  # fmt: skip
TASK = """
task: crowns
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function crowns.pictures
doc_to_text: !function crowns.question
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 16, temperature: 0, do_sample: false}}
process_results: !function crowns.results
metric_list:
  - {{metric: speaks_of_it, aggregation: mean, higher_is_better: true}}
"""
FUNCTIONS = """
def pictures(doc):
    return [doc["image"].convert("RGB")]

def question(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]

def results(doc, results):
    return {"speaks_of_it": float(doc["answer"] in results[0])}
"""


def test_a_cpu_is_told_and_a_gpu_is_taken_as_before() -> None:
    start, model = ["lmms/bin/python", "-m", "lmms_eval"], Path("runs/a/model")
    on_gpu = command_line(start, model, "llava_hf", ["mme", "mmstar"], Path("out"))
    assert on_gpu == [
        *start, "--model", "llava_hf", "--model_args", "pretrained=runs/a/model", "--tasks", "mme,mmstar",
        "--batch_size", "1", "--output_path", "out",
    ]  # fmt: skip
    on_cpu = command_line(start, model, "llava_hf", ["mme"], Path("out"), on_cpu=True, include="/tasks")
    assert on_cpu[6] == "pretrained=runs/a/model,device_map=cpu"
    assert on_cpu[-4:] == ["--device", "cpu", "--include_path", "/tasks"]
    with pytest.raises(SeeWhyError, match="rename the folder"):
        command_line(start, Path("a,b"), "llava_hf", ["mme"], Path("out"))


def test_a_folder_of_tasks_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SeeWhyError, match=r"--include_path: there is no folder '.*nowhere'"):
        general(str(tmp_path), tasks=["crowns"], include_path=str(tmp_path / "nowhere"))


def test_the_message_says_what_lmms_eval_needs(tmp_path: Path) -> None:
    with pytest.raises(SeeWhyError, match=r"pip install lmms-eval decord 'filelock<3\.25'"):
        general(str(tmp_path), tasks=["mme"], lmms_eval="no-such-program")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The command that starts lmms-eval 0.7.3, installed from the package index."""
    place = tmp_path_factory.mktemp("lmms")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    packages = next((place / "lib").glob("python*/site-packages"))
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "shared.pth").write_text("\n".join(shared))
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin/python"), "install", "--quiet", "--retries", "1"]
    for wanted in (["--no-deps", "lmms-eval==0.7.3"], IMPORTED):
        done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False)
        if done.returncode and "lmms-eval" in wanted[-1] and "No matching distribution" in done.stderr:
            pytest.skip("no package index with lmms-eval can be reached")
        assert done.returncode == 0, done.stderr[-2000:]
    return f"{place}/bin/python -m lmms_eval"


def write_task(folder: Path) -> None:
    """A task of four drawings of birds: the answer to a question about the crown speaks of the crown."""
    folder.mkdir()
    rows = []
    for bird in make_species()[:4]:
        draw_example(bird, "val", 0)[1].image.save(folder / "image.png")
        picture = {"bytes": (folder / "image.png").read_bytes(), "path": f"{bird.name}.png"}
        rows.append({"image": picture, "question": "What is the crown like?", "answer": "crown"})
    text = {"dtype": "string", "_type": "Value"}
    features = {"features": {"image": {"_type": "Image"}, "question": text, "answer": text}}
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps({"info": features})})
    pq.write_table(table, folder / "birds.parquet")
    (folder / "crowns.yaml").write_text(TASK.format(file=folder / "birds.parquet"))
    (folder / "crowns.py").write_text(FUNCTIONS)


@pytest.mark.slow
@pytest.mark.wheel
def test_the_real_program_scores_base_and_tuned_model_on_a_cpu(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_run(
        tmp_path, train=1, test=1, base=str(BASE), tune={"learning_rate": 1e-6, "lora_rank": 2},
        evaluate={"bootstrap": 10, "consistency": False, "fluency": False},
    )  # fmt: skip
    loop.run(config)
    write_task(tmp_path / "tasks")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    found = general(config.output, tasks=["crowns"], lmms_eval=program, include_path=str(tmp_path / "tasks")).lmms_eval
    assert found is not None
    assert found.models["base"].scores == {"crowns/speaks_of_it": 1.0}
    assert found.models["round-1"].scores == {"crowns/speaks_of_it": 1.0}
    (tmp_path / "tasks" / "crowns.yaml").unlink()  # another folder of tasks: not the scores that are there
    with pytest.raises(SeeWhyError, match="left no results for these tasks"):
        general(config.output, tasks=["crowns"], lmms_eval=program, include_path=str(tmp_path / "tasks"))
