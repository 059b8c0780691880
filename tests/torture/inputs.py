"""What is fuzzed: each kind of file, text or reply that somebody else may send, and what the package does with it."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from openai import OpenAI
from PIL import Image

from fixtures_data import CONCEPTS, tiny_encoder
from made_up_runs import compared, item, metrics, mistakes, pair
from seewhy.config import DataConfig, RunConfig
from seewhy.domain.concepts import fit_concepts, load_concepts
from seewhy.domain.image_index import ImageIndex
from seewhy.domain.images import image_size, inspect_image, load_image
from seewhy.domain.labels import LabelMatcher
from seewhy.domain.loaders.layouts import read_data
from seewhy.domain.loaders.llava import load_replay
from seewhy.domain.loaders.truth import load_truth
from seewhy.domain.questions import Questions
from seewhy.domain.verdicts import read_verdicts
from seewhy.endpoint import Endpoint, Request, Service, fields_of, system, user
from seewhy.errors import SeeWhyError
from seewhy.method.encoder import Encoder
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Description, Example
from seewhy.report.page import write_page
from seewhy.results_json import ResultsFile, find_usable
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import RunFolder, Stage
from seewhy.run.storage import decode_shard, encode_shard, weights_digest
from seewhy.settings import known_settings, load_config
from seewhy.vlm.model import VisionLanguageModel
from tiny import tiny_llava
from torture.mutants import ODD_TEXTS, as_json, as_json_lines, as_yaml, damaged, edited, files

Use = Callable[[bytes, Path], Any]
"""Hand an input to the package; the folder is empty and the input's own."""


@dataclass(frozen=True)
class Target:
    """One kind of input."""

    inputs: Callable[[], st.SearchStrategy[bytes]]
    use: Use


def _written(folder: Path, name: str, payload: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(payload)
    return path


# Settings.


def _settings() -> st.SearchStrategy[bytes]:
    document = json.loads(json.dumps(asdict(RunConfig(output="run"))))
    return files(document, as_yaml) | st.text(alphabet="&*!|>-:[]{}#?%@ \nab1", max_size=40).map(str.encode)


def _use_settings(payload: bytes, folder: Path) -> None:
    load_config(_written(folder, "run.yaml", payload))


def _options() -> st.SearchStrategy[bytes]:
    values = st.sampled_from(ODD_TEXTS) | st.text(max_size=12) | edited([1, "a", {"b": None}]).map(json.dumps)
    given = st.tuples(st.sampled_from(sorted(known_settings())), values)
    return given.map(lambda pair: f"{pair[0]}\n{pair[1]}".encode(errors="surrogatepass"))


def _use_options(payload: bytes, folder: Path) -> None:
    name, _, value = payload.decode(errors="surrogatepass").partition("\n")
    load_config(_written(folder, "run.yaml", b""), [f"--{name}={value}"])


# Data.


def _use_bank(payload: bytes, folder: Path) -> None:
    bank, _ = fit_concepts(load_concepts(_written(folder, "bank.yaml", payload)), list(CONCEPTS))
    LabelMatcher(tuple(CONCEPTS), bank.aliases).mentions("This is a Fish Crow.")


def _bank() -> st.SearchStrategy[bytes]:
    document = {**CONCEPTS, "Crow": {"concepts": ["black wings"], "aliases": ["carrion crow"]}}
    return files(document, as_yaml) | files(document, as_json)


def _use_questions(payload: bytes, folder: Path) -> None:
    Questions.for_noun("bird", _written(folder, "questions.yaml", payload))


def _questions() -> st.SearchStrategy[bytes]:
    return files({"describe": ["What colour is it?"], "name": ["What is it?"], "explain": ["Why?"]}, as_yaml)


ROWS = [
    {"image": "a.png", "label": "Crow", "split": "train", "group": "1"},
    {"image": "b/a.png", "label": "Fish Crow", "split": "test", "group": "2"},
]


def _data(folder: Path, name: str, payload: bytes, **more: Any) -> None:
    for image in ("a.png", "b/a.png"):
        _written(folder, image, b"")
    read_data(DataConfig(source=str(_written(folder, name, payload)), noun="bird", **more))


def _as_csv(document: Any) -> bytes:
    out, rows = io.StringIO(), [row for row in document if isinstance(row, dict)] if isinstance(document, list) else []
    writer = csv.DictWriter(out, list(ROWS[0]), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode(errors="surrogatepass")


@cache
def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue().to_pybytes()


def _columns() -> st.SearchStrategy[bytes]:
    """Parquet tables with columns of odd types."""

    def write(columns: Mapping[str, Any]) -> bytes:
        sink = pa.BufferOutputStream()
        try:
            pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), sink)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            return b"PAR1"
        return sink.getvalue().to_pybytes()

    cells = [["a.png", "b/a.png"], [1, 2], [b"a", b"\xff"], [{"bytes": None, "path": "/etc/passwd"}] * 2, [[1], []],
             [None, None], [float("nan"), 1.0], ["train", "test"]]  # fmt: skip
    column = st.sampled_from(cells)
    return st.fixed_dictionaries({"image": column, "label": column, "split": column}, optional={"group": column}).map(
        write
    )


def _research() -> st.SearchStrategy[bytes]:
    return files([{"id": "1", "img_path": "a.png", "label": "Crow"}, {"image": "b/a.png", "label": ["Crow"]}], as_json)


def _replay() -> st.SearchStrategy[bytes]:
    says = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A bird."}]
    return files([{"id": "1", "image": "a.png", "conversations": says}, {"conversations": says[::-1]}], as_json)


def _use_replay(payload: bytes, folder: Path) -> None:
    _written(folder, "a.png", b"")
    load_replay(_written(folder, "replay.json", payload))


EXAMPLES = [Example("train/Crow/a", "a.png", "0" * 64, "Crow", "train")]


def _truth() -> st.SearchStrategy[bytes]:
    row = {"example_id": "train/Crow/a", "visible": ["black wings"], "hidden": ["orange legs"], "absent": [],
           "boxes": {"black wings": [0, 0, 5, 5]}, "complete": True}  # fmt: skip
    return files([row, {"image": "a.png", "visible": []}], as_json_lines)


def _use_truth(payload: bytes, folder: Path) -> None:
    load_truth(_written(folder, "truth.jsonl", payload), EXAMPLES, folder, CONCEPTS["Crow"])


def _verdicts() -> st.SearchStrategy[bytes]:
    from seewhy.domain.verdicts import new_verdict

    image = {"image": "a.png", "sha256": "0" * 64}
    lines = [
        new_verdict("Ann", "concept", "right", **image, concept="black wings").line(),
        new_verdict("Ben", "label", "wrong", **image, label="Crow").line(),
    ]
    return files([json.loads(line) for line in lines], lambda rows: as_json_lines(rows) + b"\n")


def _use_verdicts(payload: bytes, folder: Path) -> None:
    read_verdicts(_written(folder, "verdicts.jsonl", payload))


# Images.

FORMATS = {"png": {}, "jpeg": {}, "webp": {}, "gif": {}, "bmp": {}, "tiff": {"compression": "tiff_lzw"}, "ppm": {},
           "tga": {}, "pcx": {}, "ico": {}, "jpeg2000": {}, "avif": {}}  # fmt: skip


@cache
def pictures() -> tuple[bytes, ...]:
    """A small picture in each format that this Pillow writes."""
    found, picture = [], Image.linear_gradient("L").resize((24, 20)).convert("RGB")
    for name, options in FORMATS.items():
        out = io.BytesIO()
        try:
            picture.save(out, name, **options)
        except (KeyError, OSError, ValueError):  # this Pillow was built without the format
            continue
        found.append(out.getvalue())
    for mode in ("P", "RGBA", "I;16", "LA", "1"):
        out = io.BytesIO()
        picture.convert("L").convert(mode).save(out, "png")
        found.append(out.getvalue())
    return tuple(found)


def _use_image(payload: bytes, folder: Path) -> None:
    path = _written(folder, "a.png", payload)
    _all(lambda: load_image(path), lambda: inspect_image(path), lambda: image_size(path))


# Run folders.

NOWHERE = DataConfig(source="nowhere", concepts="bank.yaml", noun="bird")
DESCRIBE = Stage("describe", {"describe": {"temperature": 1.0}})


def _manifest() -> st.SearchStrategy[bytes]:
    entry = {"fingerprint": "0" * 64, "settings": {"seed": 0, "shard_size": 4, "describe": {"temperature": 1.0}},
             "inputs": {}, "shards": 1, "complete": True}  # fmt: skip
    config = json.loads(json.dumps(asdict(RunConfig(output="run", rounds=1, data=NOWHERE))))
    stages = {"describe": entry, "round-1/model": {**entry, "shards": None, "inputs": {"describe": "0" * 64}}}
    return files({"versions": {"seewhy": "0.1.0", "torch": "2"}, "config": config, "stages": stages}, as_json)


def _use_manifest(payload: bytes, folder: Path) -> None:
    run = folder / "run"
    _written(run, "manifest.json", payload)
    _written(run, "stages/describe/shard-00000.parquet", encode_shard([], Description, {"fingerprint": "0" * 64}))
    _written(run, "stages/round-1/model/model/config.json", b"{}")
    _all(
        lambda: _open(run),
        lambda: _check(run),
    )


def _open(run: Path) -> None:
    finished = FinishedRun.open(run)
    _all(
        lambda: finished.best_round, lambda: finished.arm_models(), lambda: finished.all_models(),
        lambda: finished.corrections, lambda: finished.metrics, lambda: finished.vocabulary,
        lambda: finished.adapters(1),
    )  # fmt: skip


def _check(run: Path) -> None:
    folder = RunFolder(run, seed=0, shard_size=4)
    with folder.lock():
        folder.check([DESCRIBE], config={"seed": 0}, discard_stale=True)


def _all(*uses: Callable[[], Any]) -> None:
    """Call each, whether or not one before it was refused."""
    for use in uses:
        try:
            use()
        except SeeWhyError as error:
            if not str(error).strip():
                raise


@cache
def _shard() -> bytes:
    rows = [Description(f"train/{n}", "What?", 0, f"a bird {n}") for n in range(5)]
    return encode_shard(rows, Description, {"fingerprint": "a", "items": "b"})


def _use_shard(payload: bytes, folder: Path) -> None:
    decode_shard(_written(folder, "shard-00000.parquet", payload), Description)


def _use_index(payload: bytes, folder: Path) -> None:
    index = ImageIndex(_written(folder, "images.parquet", payload))
    index.read(folder)
    index.find("a.png", None)


def _results() -> st.SearchStrategy[bytes]:
    gallery = {"cards": [item("a.png", "Crow")]}
    documents = {"metrics": metrics(arms=True), "gallery": gallery, "confusion": mistakes(pair("a.png", "Crow", "Jay")),
                 "comparison": compared()}  # fmt: skip
    return edited(documents).map(as_json)


def _use_results(payload: bytes, folder: Path) -> None:
    documents = json.loads(payload)
    run = folder / "run"
    for name, value in documents.items() if isinstance(documents, dict) else ():
        if name in ("metrics", "gallery", "confusion", "comparison"):
            _written(run, f"{name}.json", as_json(value))
    _written(run, "config.yaml", b"output: run\n")
    kinds = ResultsFile.__subclasses__()
    _all(*(lambda kind=kind, path=path: find_usable(path, kind) for path in run.glob("*.json") for kind in kinds))
    write_page(str(run), heatmaps=False)


# Models.


@cache
def _model_files() -> Mapping[str, bytes]:
    """A model's files, and below `encoder/` those of a text encoder."""
    with TemporaryDirectory() as place:
        folder = tiny_llava(Path(place))
        tiny_encoder(folder / "encoder")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _model_parts(*, encoder: bool) -> st.SearchStrategy[bytes]:
    """A file of a model with something odd in it: its name, a line end, its bytes."""
    found = {name: content for name, content in _model_files().items() if name.startswith("encoder/") == encoder}

    def odd(name: str) -> st.SearchStrategy[bytes]:
        content = found[name]
        documents = edited(json.loads(content)).map(as_json) if name.endswith(".json") else damaged(content[:2000])
        return (documents | documents | damaged(content)).map(lambda payload: name.encode() + b"\n" + payload)

    return st.sampled_from(sorted(found)).flatmap(odd)


def _use_model(payload: bytes, folder: Path) -> None:
    name, _, content = payload.partition(b"\n")
    for path, whole in _model_files().items():
        _written(folder / "model", path, content if path == name.decode() else whole)
    if name.startswith(b"encoder/"):
        Encoder(str(folder / "model/encoder"), "cpu").embed_texts(["black wings"])
        return
    vlm = VisionLanguageModel.load(folder / "model", device="cpu")
    weights_digest(folder / "model")
    vlm.tokenise(vlm.render("What is it?", image=True), Image.new("RGB", (20, 10)))


# Servers.


def _replies() -> st.SearchStrategy[bytes]:
    message = {"role": "assistant", "content": '{"word": "crow"}', "refusal": None}
    document = {"id": "1", "object": "chat.completion", "created": 1_800_000_000, "model": "judge-1",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}  # fmt: skip
    contents = st.sampled_from(["{" * 20_000, "[" * 20_000, '{"word": 1}', '{"word": "\\ud800"}', "```json\n{}\n```"])
    odd = contents.map(lambda text: {**document, "choices": [{"message": {**message, "content": text}}]}).map(as_json)
    errors = files({"error": {"message": "no", "type": "a", "code": 404, "param": None}}, as_json)
    return files(document, as_json) | odd | errors


def _use_reply(payload: bytes, folder: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 + 20 * (len(payload) % 16), content=payload)

    service = Service("judge", "http://localhost:1/v1", backoff=0.0, attempts=2, concurrency=1)
    endpoint = Endpoint(service, folder / "answers")
    client = httpx.Client(transport=httpx.MockTransport(answer))
    endpoint.__dict__["_client"] = OpenAI(
        api_key="none",
        base_url=service.url,
        max_retries=0,
        http_client=client,  # type: ignore[arg-type]
    )
    request = Request("crow", (system("Answer in JSON."), user("Say crow.")), fields_of(word=str))
    try:
        endpoint.ask([request], "fuzzing")
    finally:
        client.close()


# Words.


def _texts() -> st.SearchStrategy[bytes]:
    phrases = [phrase for listed in CONCEPTS.values() for phrase in listed]
    words = st.sampled_from([*CONCEPTS, *phrases, "no", "not", "a", ",", ".", ";", "(", "without",
                             "but", "rather than", "\n", "-", "\"", "1.", "é", "\u202e", "\x00"])  # fmt: skip
    return (st.lists(words | st.text(max_size=6), max_size=30).map(" ".join) | st.text(max_size=200)).map(
        lambda text: text.encode(errors="surrogatepass")
    )


@cache
def _readers() -> tuple[LabelMatcher, StatedConcepts]:
    phrases = [phrase for listed in CONCEPTS.values() for phrase in listed]
    return LabelMatcher(tuple(CONCEPTS), {}, CONCEPTS), StatedConcepts(phrases, CONCEPTS)


def _use_text(payload: bytes, folder: Path) -> None:
    text = payload.decode(errors="surrogatepass")
    matcher, stated = _readers()
    matcher.mentions(text)
    stated(text)


TARGETS: Mapping[str, Target] = {
    "settings": Target(_settings, _use_settings),
    "options": Target(_options, _use_options),
    "bank": Target(_bank, _use_bank),
    "questions": Target(_questions, _use_questions),
    "table.csv": Target(lambda: files(ROWS, _as_csv), lambda payload, folder: _data(folder, "t.csv", payload)),
    "table.jsonl": Target(
        lambda: files(ROWS, as_json_lines), lambda payload, folder: _data(folder, "t.jsonl", payload)
    ),
    "table.parquet": Target(
        lambda: damaged(_parquet()) | _columns(), lambda payload, folder: _data(folder, "t.parquet", payload)
    ),
    "research": Target(
        _research, lambda payload, folder: _data(folder, "x-train.json", payload, layout="research")
    ),
    "replay": Target(_replay, _use_replay),
    "truth": Target(_truth, _use_truth),
    "verdicts": Target(_verdicts, _use_verdicts),
    "image": Target(lambda: st.sampled_from(pictures()).flatmap(damaged), _use_image),
    "model": Target(lambda: _model_parts(encoder=False), _use_model),
    "encoder": Target(lambda: _model_parts(encoder=True), _use_model),
    "manifest": Target(_manifest, _use_manifest),
    "shard": Target(lambda: damaged(_shard()), _use_shard),
    "index": Target(lambda: damaged(_shard()) | damaged(_parquet()), _use_index),
    "results": Target(_results, _use_results),
    "reply": Target(_replies, _use_reply),
    "text": Target(_texts, _use_text),
}  # fmt: skip
