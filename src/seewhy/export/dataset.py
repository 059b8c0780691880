"""What a run's models were taught, in the forms that others train on; every row says where it came from.

| file | who reads it |
| --- | --- |
| `round-1.parquet` | datasets, pandas, the Hub's viewer: every column |
| `trl-round-1.jsonl` | TRL's SFTTrainer: prompt, completion, images |
| `llava-round-1.json` | LLaVA's trainer, and `tune.replay`: conversations with `<image>` |
| `sharegpt-round-1.json`, `dataset_info.json` | LLaMA-Factory: conversations with `<image>`, images |

Image paths are relative: to the folder of the images that the run was made from, or with `images=True` to the export,
which then holds copies (`images/`) and, in Parquet, the bytes.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from seewhy.domain.domain import Domain
from seewhy.method.select import selected_concepts
from seewhy.records import Answer, Selection
from seewhy.run.progress import progress
from seewhy.run.storage import ARROW_TYPES

FORMS = ("parquet", "trl", "llava", "sharegpt")
PLACEHOLDERS = ("<image>", "<video>", "<audio>")
"""What readers of LLaVA-JSON and ShareGPT replace by pixels: no text may hold it."""
_BATCH = 256
_PAGE = 2**24
"""Bytes of a Parquet page: the answers about one image stand in a row, so its copies compress to about one."""


@dataclass(frozen=True)
class Taught:
    """One training example. `image` is the path of the image's file, `concepts` what the image was taken to show."""

    id: str
    example_id: str
    round: int
    kind: str
    image: str
    sha256: str
    label: str
    concepts: tuple[str, ...]
    query: str
    answer: str
    source: str
    score: float | None
    reason: str


def taught(answers: Iterable[Answer], domain: Domain, selections: Sequence[Selection]) -> list[Taught]:
    """A round's training set with what the run knows of each image, in the run's order."""
    examples = {e.id: e for e in domain.examples}
    concepts = selected_concepts(selections)
    return [
        Taught(
            a.id, a.example_id, a.round, a.kind, (e := examples[a.example_id]).image, e.sha256, e.label,
            tuple(concepts.get(a.example_id, ())), a.query, a.text, a.source,
            None if math.isnan(a.score) else a.score, a.reason,
        )
        for a in answers
    ]  # fmt: skip


def trace_of(row: Taught) -> dict[str, Any]:
    """What every form keeps beside question and answer."""
    return {key: getattr(row, key) for key in ("id", "example_id", "round", "kind", "sha256", "source", "reason")}


def trl_row(row: Taught) -> dict[str, Any]:
    """TRL's conversational prompt and completion; the trainer puts the image before the question."""
    return {
        "prompt": [{"role": "user", "content": row.query}],
        "completion": [{"role": "assistant", "content": row.answer}],
        "images": [row.image],
        **trace_of(row),
    }


def llava_row(row: Taught) -> dict[str, Any]:
    return {"image": row.image, "conversations": _talk(f"<image>\n{row.query}", row.answer), **trace_of(row)}


def sharegpt_row(row: Taught) -> dict[str, Any]:
    return {"conversations": _talk(f"<image>{row.query}", row.answer), "images": [row.image], **trace_of(row)}


def _talk(query: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": query}, {"from": "gpt", "value": answer}]


def holds_placeholder(row: Taught) -> bool:
    return any(placeholder in text for placeholder in PLACEHOLDERS for text in (row.query, row.answer))


def write_forms(
    rounds: Mapping[int, Sequence[Taught]], target: Path, forms: Sequence[str], *, root: Path, images: bool
) -> dict[str, int]:
    """Write each round in each form to `target`; returns file -> rows. `root` is the folder of the images.

    A text with a placeholder in it is left out of LLaVA-JSON and ShareGPT, where it would be read as an image.
    """
    target.mkdir(parents=True)
    counts: dict[str, int] = {}
    for round, rows in rounds.items():
        listed = [_moved(row) for row in rows] if images else list(rows)
        safe = [row for row in listed if not holds_placeholder(row)]
        if "parquet" in forms:
            write_parquet(listed, target / f"round-{round}.parquet", root if images else None)
            counts[f"round-{round}.parquet"] = len(listed)
        if "trl" in forms:
            lines = (json.dumps(trl_row(row), ensure_ascii=False) + "\n" for row in listed)
            (target / f"trl-round-{round}.jsonl").write_text("".join(lines), encoding="utf-8")
            counts[f"trl-round-{round}.jsonl"] = len(listed)
        for form, write in (("llava", llava_row), ("sharegpt", sharegpt_row)):
            if form in forms:
                counts[f"{form}-round-{round}.json"] = len(safe)
                _write_json(target / f"{form}-round-{round}.json", safe, write)
    if "sharegpt" in forms:
        info = {f"round_{round}": _llama_factory(f"sharegpt-round-{round}.json") for round in rounds}
        (target / "dataset_info.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    if images:
        copy_images(sorted({row.image for rows in rounds.values() for row in rows}), root, target / "images")
    return counts


def _moved(row: Taught) -> Taught:
    return Taught(**{**asdict(row), "image": f"images/{row.image}", "concepts": row.concepts})


def _write_json(path: Path, rows: Sequence[Taught], write: Callable[[Taught], dict[str, Any]]) -> None:
    text = json.dumps([write(row) for row in rows], ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def _llama_factory(file: str) -> dict[str, Any]:
    """The entry of a file in LLaMA-Factory's dataset_info.json."""
    columns = {"messages": "conversations", "images": "images"}
    return {"file_name": file, "formatting": "sharegpt", "columns": columns}


def copy_images(images: Sequence[str], root: Path, target: Path) -> None:
    with progress("copying images", total=len(images), done=0) as advance:
        for image in images:
            (target / image).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / image, target / image)
            advance(1)


def write_parquet(rows: Sequence[Taught], path: Path, root: Path | None) -> None:
    """One row an answer. With `root`, the folder in which `images/` would lie, the image's bytes are in the file."""
    schema = _schema(embedded=root is not None)
    files: dict[str, bytes] = {}

    def image(row: Taught) -> Any:
        if root is None:
            return row.image
        if row.image not in files:
            files.clear()  # the answers about one image follow one another
            files[row.image] = (root / row.image.removeprefix("images/")).read_bytes()
        return {"bytes": files[row.image], "path": row.image}

    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False, data_page_size=_PAGE) as writer:
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            columns = {name: [getattr(row, name) for row in part] for name in schema.names if name != "image"}
            columns["image"] = [image(row) for row in part]
            writer.write_table(pa.Table.from_pydict(columns, schema=schema))


def _schema(*, embedded: bool) -> pa.Schema:
    """The columns of `Taught`; embedded images are marked so that datasets and the Hub's viewer show them."""
    hints: dict[str, Any] = get_type_hints(Taught)
    types = {**ARROW_TYPES, float | None: pa.float64()}
    columns = {field.name: types[hints[field.name]] for field in fields(Taught)}
    if not embedded:
        return pa.schema(columns)
    columns["image"] = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    values = {"string": "string", "int64": "int64", "double": "float64"}
    features: dict[str, Any] = {
        name: {"_type": "Value", "dtype": values[str(kind)]} for name, kind in columns.items() if str(kind) in values
    }
    features["image"] = {"_type": "Image"}
    features["concepts"] = {"_type": "List", "feature": {"_type": "Value", "dtype": "string"}}
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})
