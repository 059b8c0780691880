"""The parts of an export that need no model: stacked adapters, rows, cards, the Hub."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import RepoUrl
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from seewhy.errors import SeeWhyError
from seewhy.export import build, card
from seewhy.export.card import Plain, escape, literal, render
from seewhy.export.dataset import Taught, holds_placeholder, llava_row, sharegpt_row, trl_row, write_forms
from seewhy.export.model import stack, stacked_config

ROW = Taught(
    "train/Crow/0/1/0", "train/Crow/0", 1, "explain", "train/Crow/0.png", "ab", "Crow", ("black wings",),
    "Which bird is this?", "A Crow.", "sampled", 0.5, "the best of 2",
)  # fmt: skip


def adapter(seed: int, rank: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "m.lora_A.weight": torch.randn(rank, 6, generator=generator),
        "m.lora_B.weight": torch.randn(5, rank, generator=generator),
        "projector.weight": torch.randn(2, 2, generator=generator),
    }


def test_stacked_adapters_add_up() -> None:
    parts = [adapter(seed, 3) for seed in range(3)]
    stacked = stack(parts)
    assert stacked["m.lora_A.weight"].shape == (9, 6)
    whole = stacked["m.lora_B.weight"] @ stacked["m.lora_A.weight"]
    torch.testing.assert_close(whole, sum(p["m.lora_B.weight"] @ p["m.lora_A.weight"] for p in parts))
    torch.testing.assert_close(stacked["projector.weight"], parts[-1]["projector.weight"])


@pytest.mark.parametrize(
    "other",
    [{"m.lora_A.weight": torch.zeros(3, 6)}, {**adapter(0, 3), "m.lora_magnitude_vector": torch.zeros(5)}],
)
def test_adapters_that_do_not_add_up_are_refused(other: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"same weights|no plain LoRA"):
        stack([other] * 2 if "m.lora_magnitude_vector" in other else [adapter(0, 3), other])


def test_the_scale_stays() -> None:
    one = {"r": 4, "lora_alpha": 8, "peft_type": "LORA", "use_rslora": False, "use_dora": False, "rank_pattern": {}}
    stacked = stacked_config([one, one], "llava-hf/llava-1.5-7b-hf")
    assert (stacked["r"], stacked["lora_alpha"]) == (8, 16)
    assert stacked["base_model_name_or_path"] == "llava-hf/llava-1.5-7b-hf"
    for change in ({"r": 2}, {"lora_alpha": 4}):
        with pytest.raises(ValueError, match="same rank and alpha"):
            stacked_config([one, {**one, **change}], None)
    with pytest.raises(ValueError, match="only plain LoRA"):
        stacked_config([{**one, "use_rslora": True}], None)


def test_rows_in_the_forms_of_others() -> None:
    trace = {
        "id": "train/Crow/0/1/0", "example_id": "train/Crow/0", "round": 1, "kind": "explain", "sha256": "ab",
        "source": "sampled", "reason": "the best of 2",
    }  # fmt: skip
    said = {"from": "gpt", "value": "A Crow."}
    assert trl_row(ROW) == {
        "prompt": [{"role": "user", "content": "Which bird is this?"}],
        "completion": [{"role": "assistant", "content": "A Crow."}],
        "images": ["train/Crow/0.png"],
        **trace,
    }
    asked = {"from": "human", "value": "<image>\nWhich bird is this?"}
    assert llava_row(ROW) == {"image": "train/Crow/0.png", "conversations": [asked, said], **trace}
    asked = {"from": "human", "value": "<image>Which bird is this?"}
    assert sharegpt_row(ROW) == {"conversations": [asked, said], "images": ["train/Crow/0.png"], **trace}


def test_a_text_that_would_be_read_as_an_image_is_left_out(tmp_path: Path) -> None:
    odd = replace(ROW, id="train/Crow/0/1/1", answer="A Crow in an <image>.")
    assert (holds_placeholder(ROW), holds_placeholder(odd)) == (False, True)
    files = write_forms({1: [ROW, odd]}, tmp_path / "data", ("trl", "llava", "sharegpt"), root=tmp_path, images=False)
    assert files == {"trl-round-1.jsonl": 2, "llava-round-1.json": 1, "sharegpt-round-1.json": 1}
    assert [row["id"] for row in json.loads((tmp_path / "data/llava-round-1.json").read_text())] == [ROW.id]


def test_the_copies_of_an_image_cost_about_one(tmp_path: Path) -> None:
    noise = torch.randint(0, 256, (50_000,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (tmp_path / "train" / "Crow").mkdir(parents=True)
    (tmp_path / ROW.image).write_bytes(noise.numpy().tobytes())
    rows = [replace(ROW, id=f"train/Crow/0/1/{n}", score=None) for n in range(8)]
    write_forms({1: rows}, tmp_path / "data", ("parquet",), root=tmp_path, images=True)
    path = tmp_path / "data" / "round-1.parquet"
    assert path.stat().st_size < 2 * 50_000
    read = pq.read_table(path).to_pylist()
    assert [row["image"]["bytes"] for row in read] == [noise.numpy().tobytes()] * 8
    assert read[0]["score"] is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Fish Crow", "Fish Crow"),
        ("a|b", r"a\|b"),
        ("*bold* _it_ `code`", r"\*bold\* \_it\_ \`code\`"),
        ("<script>x</script>", r"&lt;script\>x&lt;/script\>"),
        ("[x](http://a) &amp;", r"\[x\](http://a) &amp;amp;"),
        ("# head\n\n- item", r"\# head - item"),
        ("1. first", r"1\. first"),
        ("{{ 7 * 7 }}", r"\{\{ 7 \* 7 \}\}"),
        (0.5, "0.5"),
    ],
)
def test_nothing_from_data_is_markup(text: Any, shown: str) -> None:
    assert escape(text) == shown
    assert escape(Plain("*kept*")) == "*kept*"


def test_templates_escape_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "card.md").write_text("| {{ label }} | {{ code | literal }} | {{ share | percent }} |")
    monkeypatch.setattr(card, "PackageLoader", lambda package: __import__("jinja2").FileSystemLoader(tmp_path))
    shown = render("card.md", label="a|b", code='say "hi" \\ {{', share=0.125)
    assert shown == '| a\\|b | "say \\"hi\\" \\\\ {{" | 12.5 % |'
    assert eval(literal('say "hi" \\ {{')) == 'say "hi" \\ {{'


class FakeHub:
    """Takes what is pushed, or fails as it is told."""

    def __init__(self, fail: Callable[[str], Exception | None] = lambda name: None) -> None:
        self.fail = fail
        self.private: bool | None = None
        self.public: set[str] = set()
        self.uploads: list[tuple[str, str, str, bool | None]] = []

    def repo_info(self, repo_id: str, *, repo_type: str) -> Any:
        if repo_id in self.public:
            return SimpleNamespace(private=False)
        if self.private is None:
            raise RepositoryNotFoundError("no such", response=refusal(404).response)
        return SimpleNamespace(private=self.private)

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> RepoUrl:
        assert exist_ok
        if error := self.fail(repo_id):
            raise error
        self.private = private
        return RepoUrl(f"https://huggingface.co/{'datasets/' * (repo_type == 'dataset')}{repo_id}")

    def upload_folder(self, *, repo_id: str, folder_path: Path, repo_type: str, commit_message: str) -> None:
        assert (folder_path / "README.md").is_file()
        self.uploads.append((repo_id, folder_path.name, repo_type, self.private))


def refusal(status: int) -> HfHubHTTPError:
    request = httpx.Request("POST", "https://huggingface.co/api/repos/create")
    return HfHubHTTPError("Client error\nmore", response=httpx.Response(status, request=request))


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Path]:
    for part in ("model", "adapter", "data"):
        (tmp_path / "out" / part).mkdir(parents=True)
        (tmp_path / "out" / part / "README.md").touch()
    return {part: tmp_path / "out" / part for part in ("model", "adapter", "data")}


def test_each_part_goes_to_its_own_repository(parts: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeHub()
    monkeypatch.setattr(build, "HfApi", lambda: fake)
    places = build.push(parts, "ana/birds", private=True)
    assert fake.uploads == [
        ("ana/birds", "model", "model", True),
        ("ana/birds-adapter", "adapter", "model", True),
        ("ana/birds-data", "data", "dataset", True),
    ]
    assert places[2].endswith("datasets/ana/birds-data")


def test_nothing_private_is_pushed_to_a_public_repository(
    parts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even the first part stays where the last one's repository is public."""
    fake = FakeHub()
    fake.public = {"ana/birds-data"}
    monkeypatch.setattr(build, "HfApi", lambda: fake)
    with pytest.raises(SeeWhyError, match="ana/birds-data is on the Hub already and is public"):
        build.push(parts, "ana/birds", private=True)
    assert fake.uploads == []
    build.push(parts, "ana/birds", private=False)
    assert len(fake.uploads) == 3


def test_nothing_is_written_for_a_public_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeHub()
    fake.public = {"ana/birds-adapter"}
    monkeypatch.setattr(build, "HfApi", lambda: fake)
    monkeypatch.setattr(build.ExportedRound, "open", lambda *_args, **_options: pytest.fail("the run was opened"))
    with pytest.raises(SeeWhyError, match="ana/birds-adapter is on the Hub already and is public"):
        build.export_run("run", str(tmp_path / "out"), model=["adapter"], data=[], hub_name="ana/birds", private=True)
    assert not (tmp_path / "out").exists()


def test_a_repository_that_turns_out_public_once_it_is_created(
    parts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that the token did not show before."""

    class Hub(FakeHub):
        def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> RepoUrl:
            self.public.add(repo_id)
            return super().create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=exist_ok)

    fake = Hub()
    monkeypatch.setattr(build, "HfApi", lambda: fake)
    with pytest.raises(SeeWhyError, match="is public"):
        build.push(parts, "ana/birds", private=True)
    assert fake.uploads == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (refusal(401), "did not accept the token. Log in with `hf auth login`"),
        (refusal(403), "did not accept the token"),
        (refusal(500), "Client error."),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE forbids it"),
        (httpx.ConnectError("no route to host"), "no route to host."),
    ],
)
def test_what_cannot_be_pushed_stays(
    parts: dict[str, Path], monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    monkeypatch.setattr(build, "HfApi", lambda: FakeHub(lambda name: error if name.endswith("-adapter") else None))
    with pytest.raises(SeeWhyError) as raised:
        build.push(parts, "ana/birds", private=False)
    assert message in str(raised.value)
    assert f"The export stays in {parts['model'].parent}" in str(raised.value)
    assert "ana/birds is uploaded" in str(raised.value)


@pytest.mark.parametrize("name", ["a/b/c", "ana/", "ana birds", "ana/" + "x" * 97])
def test_names_that_the_hub_would_refuse(name: str) -> None:
    with pytest.raises(SeeWhyError, match="no USER/NAME"):
        build.check_name(name)
    build.check_name("ana/birds")
