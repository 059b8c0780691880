"""The engine `server`: the same answers as in process, or none; what it starts, it stops."""

import base64
import importlib.util
import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, ImageOps

import fake_server
from fake_server import Reply, completion, is_gone, key_of, question_of, serving
from fixtures_data import image_folder, tiny_encoder
from seewhy.cli import main
from seewhy.config import (
    DataConfig,
    DescribeConfig,
    EngineConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    SelectConfig,
    SynthesiseConfig,
    TuneConfig,
)
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import BASE
from seewhy.records import Description, Prediction, Prompt, Sampling
from seewhy.run import loop
from seewhy.run.folder import RunFolder, Stage, read_records
from seewhy.settings import load_config
from seewhy.vlm.chat import encode, open_image
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.server import process as server_process
from seewhy.vlm.server.client import ChatClient
from seewhy.vlm.server.sampler import ServerSampler, data_url, file_url
from tiny import tiny_llava

pytest.importorskip("openai", reason="the client is an extra: pip install 'seewhy[serve]'")

pytestmark = pytest.mark.server

GREEDY = Sampling(max_new_tokens=10)
DRAWN = Sampling(samples=3, temperature=1.0, max_new_tokens=10)
FAKE = f"{sys.executable} {fake_server.__file__} --port {{port}}"


def telling(folder: Path, seed: int = 0) -> Path:
    """A tiny LLaVA whose answers depend on image and question."""
    vlm = VisionLanguageModel.load(tiny_llava(folder.with_name(f"{folder.name} at first")), device="cpu")
    torch.manual_seed(seed)
    for parameter in vlm.model.model.language_model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    vlm.save(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return telling(tmp_path_factory.mktemp("models") / "birds")


@pytest.fixture(scope="module")
def vlm(model: Path) -> VisionLanguageModel:
    return VisionLanguageModel.load(model, device="cpu")


@pytest.fixture
def load(model: Path) -> Callable[[], BatchSampler]:
    return lambda: BatchSampler(VisionLanguageModel.load(model, device="cpu"), 4)


@pytest.fixture
def prompts(tmp_path: Path) -> list[Prompt]:
    made = []
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (5, 40, 32, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(path := tmp_path / f"{number}.png")
        made += [Prompt(f"{number}/{text}", str(path), text) for text in ("Name it.", "Why?")]
    return [*made, Prompt("text alone", "", "Say yes.")]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "server" / "log.txt"


def opened(url: str) -> Image.Image:
    """The image behind a data or file URL."""
    if url.startswith("file://"):
        return open_image(unquote(urlsplit(url).path))
    return Image.open(BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))


class Oracle:
    """Answers as some model does in this process: `models` gives the one of a name. `mistake` changes a question."""

    def __init__(self, models: Callable[[str], VisionLanguageModel]) -> None:
        self.models = models
        self.lock = threading.Lock()
        self.asked: list[Mapping[str, Any]] = []
        self.mistake: Callable[[str, Image.Image | None], tuple[str, Image.Image | None]] = lambda text, image: (
            text,
            image,
        )
        self.extra_tokens = 0

    def __call__(self, body: Mapping[str, Any], _headers: object) -> Reply:
        with self.lock:
            self.asked.append(body)
            question, url = question_of(body)
            vlm = self.models(body["model"])
            question, image = self.mistake(question, opened(url) if url else None)
            sampler = BatchSampler(vlm, 4, lambda _path: image)  # pyright: ignore[reportArgumentType]
            sampling = Sampling(body.get("n", 1), body["temperature"], body["top_p"], body["max_tokens"])
            (texts,) = sampler.sample([Prompt("", url and "image", question)], sampling, body["seed"])
            length = encode(vlm, question, image)["input_ids"].shape[1]
            return completion(body, *texts, usage={"prompt_tokens": length + self.extra_tokens})


@pytest.fixture
def oracle(vlm: VisionLanguageModel) -> Oracle:
    return Oracle(lambda _name: vlm)


@pytest.fixture
def running(oracle: Oracle) -> Iterator[EngineConfig]:
    with serving(oracle) as url:
        yield EngineConfig(kind="server", base_url=url, timeout=600, retries=0)


@pytest.mark.parametrize("image", ["data", "file"])
def test_greedy_equals_in_process(load, model, log, running, prompts, image):
    expected = load().sample(prompts, GREEDY, 0)
    with ServerSampler(load, model, replace(running, image=image), log) as sampler:
        assert sampler.sample(prompts, GREEDY, 0) == expected
        assert sampler.sample([], GREEDY, 0) == []
    assert len({text for (text,) in expected}) > 3
    assert not (log.parent / "images").exists()


def test_the_same_call_gives_the_same_texts(load, model, log, running, oracle, prompts):
    with ServerSampler(load, model, running, log) as sampler:
        first = sampler.sample(prompts, DRAWN, 7)
        begun = len(oracle.asked)
        assert sampler.sample(prompts, DRAWN, 7) == first
        assert sampler.sample(prompts, DRAWN, 8) != first
    assert len(oracle.asked) - begun == 2 * len(prompts), "checked once, and asked for all samples at once"
    assert [len(texts) for texts in first] == [3] * len(prompts)


def test_the_weights_are_let_go_before_the_server_is_asked(load, model, log, running, prompts, oracle):
    loaded = []

    def noted() -> BatchSampler:
        loaded.append(load())
        return loaded[-1]

    devices = []
    oracle.mistake = lambda text, image: (devices.append(loaded[0].vlm.device.type), (text, image))[1]
    with ServerSampler(noted, model, running, log) as sampler:
        sampler.sample(prompts, GREEDY, 0)
        assert sampler.rejected_text("A crow. <image>") == "holds '<image>', a marker of the model"
        assert sampler.rejected_text("A crow.") is None
    assert set(devices) == {"meta"}
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("mistake", "extra", "problem"),
    [
        (lambda text, image: (f"USER: {text} ASSISTANT".replace(":", ""), image), 0, "it counts"),
        (lambda text, image: (text, image), 1, "it counts"),
        (lambda text, image: (text, image and ImageOps.invert(image)), 0, "its greedy answer is another one"),
    ],
    ids=["template", "begun twice", "image"],
)
def test_a_difference_stops_the_run_before_anything_is_sampled(
    load, model, log, running, oracle, prompts, mistake, extra, problem
):
    oracle.mistake, oracle.extra_tokens = mistake, extra
    with pytest.raises(SeeWhyError, match=f"(?s)does not answer as .*{problem}.*in process: .*the server: .*template"):
        ServerSampler(load, model, running, log).sample(prompts, DRAWN, 0)
    ours = [body for body in oracle.asked if body["max_tokens"] == DRAWN.max_new_tokens]
    assert all(body["temperature"] == 0 for body in ours)


def test_other_weights_are_noticed(load, model, log, running, oracle, prompts, tmp_path):
    other = VisionLanguageModel.load(telling(tmp_path / "other", seed=1), device="cpu")
    oracle.models = lambda _name: other
    with pytest.raises(SeeWhyError, match="its greedy answer is another one"):
        ServerSampler(load, model, running, log).sample(prompts, DRAWN, 0)


def test_a_marker_in_a_prompt_is_refused(load, model, log, running):
    with ServerSampler(load, model, running, log) as sampler, pytest.raises(SeeWhyError, match="prompt a holds '</s>'"):
        sampler.sample([Prompt("a", "", "Name </s> it.")], GREEDY, 0)


def test_a_model_under_another_name(load, model, log, running, oracle, prompts):
    with ServerSampler(load, model, replace(running, served_name="birds"), log) as sampler:
        sampler.sample(prompts[:1], GREEDY, 0)
    assert {body["model"] for body in oracle.asked} == {"birds"}


def test_a_server_is_told_to_leave_thinking_off(model, log, running, oracle, prompts, tmp_path):
    """The switch that loading set in our template goes with each request: the server renders prompts itself."""
    thinking = shutil.copytree(model, tmp_path / "thinking")
    template = thinking / "chat_template.jinja"
    opened = "{{ '<think>\\n' }}{{ '\\n</think>\\n\\n' if enable_thinking is false }}"
    text = template.read_text().replace("%}ASSISTANT: {%", "%}ASSISTANT:{{ '<think>\\n\\n</think>\\n\\n' }}{%")
    template.write_text(text.replace("%}ASSISTANT:{% endif", "%}ASSISTANT:" + opened + "{% endif"))
    vlm = VisionLanguageModel.load(thinking, device="cpu")
    assert vlm.render("?", image=False).endswith("ASSISTANT:<think>\n\n</think>\n\n")
    oracle.models = lambda _name: vlm
    with ServerSampler(lambda: BatchSampler(vlm_again(thinking), 4), thinking, running, log) as sampler:
        sampler.sample(prompts[:2], GREEDY, 0)
    assert {str(body["chat_template_kwargs"]) for body in oracle.asked} == {"{'enable_thinking': False}"}


def vlm_again(folder: Path) -> VisionLanguageModel:
    return VisionLanguageModel.load(folder, device="cpu")


def test_exactly_the_pixels_of_the_opener_are_sent(tmp_path: Path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (17, 31, 3), dtype=np.uint8))
    for url in (data_url(image), file_url(image, tmp_path / "a folder")):
        assert np.array_equal(np.asarray(opened(url)), np.asarray(image))


@pytest.fixture
def answers(load, prompts, tmp_path) -> Path:
    """What a fake server must know to pass the parity check."""
    path = tmp_path / "answers.json"
    greedy = [text for (text,) in load().sample(prompts, GREEDY, 0)]
    urls = [data_url(open_image(prompt.image)) if prompt.image else "" for prompt in prompts]
    known = {key_of(p.text, url): text for p, url, text in zip(prompts, urls, greedy, strict=True)}
    path.write_text(json.dumps(known))
    return path


def started(answers: Path, *options: str, **settings: Any) -> EngineConfig:
    command = " ".join([FAKE, "--answers", str(answers), *options])
    return EngineConfig(kind="server", command=command, retries=0, start_timeout=300, **settings)


def test_a_server_that_dies_loses_no_finished_shard_and_leaves_no_orphan(load, model, log, answers, prompts, tmp_path):
    stage = Stage("predictions", {})
    folder = RunFolder(tmp_path / "run", seed=0, shard_size=4)
    groups = []

    def predict(sampler: ServerSampler) -> list[Prediction]:
        def work(part: Sequence[Prompt], seed: int) -> list[Prediction]:
            texts = sampler.sample(part, GREEDY, seed)
            groups.append(sampler._process.group if sampler._process else None)
            return [Prediction(p.id, p.text, text) for p, (text,) in zip(part, texts, strict=True)]

        with folder.lock():
            folder.check([stage])
            return list(folder.records(stage, Prediction, prompts, work))

    dying = started(answers, "--die-after", str(2 + 4 + 4 + 2), "--child", concurrency=1)  # in the second shard
    with ServerSampler(load, model, dying, log) as sampler:
        with pytest.raises(
            SeeWhyError, match=r"(?s)died while it was asked. Start the run again.*CUDA out of memory.*log"
        ):
            predict(sampler)
        assert is_gone(groups[0])
    written = sorted(path.name for path in (tmp_path / "run" / "stages").rglob("*.parquet*"))
    assert written == ["shard-00000.parquet"]
    with ServerSampler(load, model, started(answers), log) as sampler:
        found = predict(sampler)
    known = json.loads(answers.read_text())
    assert {one.text for one in found} == set(known.values())
    assert is_gone(groups[-1])


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_whatever_breaks_in_ends_the_server(load, model, log, answers, prompts, monkeypatch, error):
    groups = []

    def broken(self: ChatClient, *_arguments: object, **_named: object) -> None:
        groups.append(sampler._process.group if sampler._process else None)
        raise error

    sampler = ServerSampler(load, model, started(answers), log)
    monkeypatch.setattr(ChatClient, "sample", broken)
    with pytest.raises(error):
        sampler.sample(prompts, GREEDY, 0)
    assert is_gone(groups[0])


def test_a_server_that_knows_another_model_is_ended(load, model, log, answers, prompts, monkeypatch):
    processes = []
    start = server_process.start
    monkeypatch.setattr(server_process, "start", lambda *a, **k: processes.append(found := start(*a, **k)) or found)
    answers.write_text("{}")
    with pytest.raises(SeeWhyError, match="I do not know"):
        ServerSampler(load, model, started(answers), log).sample(prompts, GREEDY, 0)
    assert is_gone(processes[0][0].group)


def test_it_starts_again_after_it_was_closed(load, model, log, answers, prompts):
    sampler = ServerSampler(load, model, started(answers), log)
    first = sampler.sample(prompts, GREEDY, 0)
    sampler.close()
    assert sampler.sample(prompts, GREEDY, 0) == first
    sampler.close()
    assert log.read_text().count("$ ") == 2


@pytest.mark.slow
def test_a_run_through_a_server(tmp_path: Path, oracle: Oracle, running: EngineConfig, monkeypatch: pytest.MonkeyPatch):
    """Every model of the run is asked through the server, by its folder; another kind of engine makes them stale."""
    root = image_folder(tmp_path)
    base = telling(root / "model")
    config = RunConfig(
        output=str(root / "run"),
        rounds=1,
        minimum_support=0.0,  # random weights say nothing
        shard_size=5,
        data=DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird"),
        model=ModelConfig(name_or_path=str(base), device="cpu", batch_size=8, engine=running),
        describe=DescribeConfig(prompts_per_image=2, samples_per_prompt=2, max_new_tokens=8),
        select=SelectConfig(encoder=str(tiny_encoder(root / "encoder"))),
        synthesise=SynthesiseConfig(answers_per_image=2, max_new_tokens=8),
        tune=TuneConfig(epochs=1, learning_rate=1e-2, batch_size=4, micro_batch_size=4, lora_rank=4),
        evaluate=EvaluateConfig(max_new_tokens=8, bootstrap=50),
    )
    models: dict[str, VisionLanguageModel] = {}
    oracle.models = lambda name: models.setdefault(name, VisionLanguageModel.load(name, device="cpu"))
    closed = []
    close = ServerSampler.close
    monkeypatch.setattr(ServerSampler, "close", lambda self: (closed.append(self._model), close(self))[1])
    loop.run(config)
    tuned = str((root / "run" / "stages" / "round-1" / "model" / "model").absolute())
    assert models.keys() == {str(base), tuned}
    assert closed[0] == str(base)
    assert closed[-1] == tuned
    here = replace(config, model=replace(config.model, engine=EngineConfig()))
    with pytest.raises(SeeWhyError, match=r"model\.engine\.kind"):
        loop.run(here)
    other = replace(here, output=str(root / "in process"), rounds=0)
    loop.run(other)
    predictions = [read_records(Path(c.output), "base/predictions-test", Prediction) for c in (config, other)]
    assert predictions[0] == predictions[1]


@pytest.mark.slow
def test_no_secret_is_in_any_file_or_output(
    tmp_path: Path, oracle: Oracle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """A key in the command, a password in the address, the key and the Hub's token of the environment: the server
    repeats them in refusals, errors and answers."""
    in_command, in_address, in_environment = "kommando-4711", "pass-wort-0815", "umgebung 2026 key"
    of_the_hub = "no form of a token 7"
    monkeypatch.setenv("OPENAI_API_KEY", in_environment)
    monkeypatch.setenv("HF_TOKEN", of_the_hub)
    root = image_folder(tmp_path)
    base = telling(root / "model")
    models: dict[str, VisionLanguageModel] = {}
    oracle.models = lambda name: models.setdefault(name, VisionLanguageModel.load(name, device="cpu"))
    refuses, sent = True, set[str]()

    def answer(body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        sent.add(headers["Authorization"])
        held = f"--api-key {in_command}, {in_address}, {of_the_hub}"
        said = f"the key {in_environment} of {headers['Authorization']} ({held})"
        if refuses:
            return 401, {}, json.dumps({"error": {"message": f"bad: {said}"}})
        status, more, text = oracle(body, headers)
        if body["temperature"] == 1:
            reply = json.loads(text)
            reply["choices"][0]["message"]["content"] += f" {said}"
            text = json.dumps(reply)
        return status, more, text

    with serving(answer) as url:
        (root / "run.yaml").write_text(f"""
output: {root / "run"}
rounds: 1
keep_going: true
data: {{source: {root / "images"}, concepts: {root / "concepts.yaml"}, noun: bird}}
model:
  name_or_path: {base}
  device: cpu
  engine:
    kind: server
    retries: 0
    timeout: 600
    command: vllm serve {{model}} --port {{port}} --api-key {in_command}
    base_url: {url.replace("http://", f"http://joe:{in_address}@")}
describe: {{prompts_per_image: 1, samples_per_prompt: 2, max_new_tokens: 8}}
select: {{encoder: {tiny_encoder(root / "encoder")}}}
synthesise: {{answers_per_image: 1, max_new_tokens: 8}}
tune: {{epochs: 1, batch_size: 4, micro_batch_size: 4, lora_rank: 4}}
evaluate: {{max_new_tokens: 8, bootstrap: 50}}
""")
        assert main(["run", str(root / "run.yaml")]) == 1
        refuses = False
        assert main(["run", str(root / "run.yaml")]) == 0
    assert sent
    described = read_records(root / "run", "describe", Description)
    assert any("***" in d.text for d in described)
    assert main(["trace", str(root / "run"), described[0].example_id, "--json"]) == 0
    printed = capfd.readouterr()
    assert "refuses the key" in printed.err
    secrets = [in_command, in_address, in_environment, of_the_hub, *(value.partition(" ")[2] for value in sent)]
    seen = {"what was printed": printed.out + printed.err}
    for path in (path for path in (root / "run").rglob("*") if path.is_file()):
        rows = str(pq.read_table(path).to_pydict()) if path.suffix == ".parquet" else ""
        seen[str(path)] = rows + path.read_bytes().decode("utf-8", "replace")
    assert {"manifest.json", "config.yaml", "report.html", "events.jsonl"} <= {Path(name).name for name in seen}
    assert "***" in (root / "run" / "config.yaml").read_text()
    assert [(name, secret) for name, text in seen.items() for secret in secrets if secret in text] == []
    with pytest.raises(SeeWhyError, match="stands for a secret"):
        load_config(root / "run" / "config.yaml")


@pytest.mark.slow
def test_transformers_serve_answers_as_in_process(tmp_path: Path, log: Path):
    """For real: the shipped base behind the server that comes with transformers."""
    missing = [name for name in ("fastapi", "uvicorn", "requests", "typer") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"`transformers serve` is an extra (no {', '.join(missing)}): pip install 'seewhy[serve]'")
    from seewhy.fieldguide.guide import make_guide

    make_guide(tmp_path / "guide", {"test": 1})
    images = sorted((tmp_path / "guide" / "images").rglob("*.png"))[:12]
    prompts = [Prompt(path.parent.name, str(path), "What is the name of this bird? Say why.") for path in images]
    program = Path(sys.executable).with_name("transformers")
    command = f"'{program}' serve {{model}} --port {{port}} --dtype {{dtype}} --device {{device}}"
    engine = EngineConfig(kind="server", command=command, concurrency=3)

    def load() -> BatchSampler:
        return BatchSampler(VisionLanguageModel.load(BASE, device="cpu"), 12)

    sampling = Sampling(max_new_tokens=80)
    with ServerSampler(load, BASE, engine, log) as sampler:
        assert sampler.sample(prompts, sampling, 0) == load().sample(prompts, sampling, 0)
        drawn = sampler.sample(prompts[:4], Sampling(3, 1.0, 1.0, 40), 0)
        assert any(len(set(texts)) == 3 for texts in drawn)
        assert sampler._process is not None
        group = sampler._process.group
    assert is_gone(group)
