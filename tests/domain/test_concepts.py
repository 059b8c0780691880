import json
import random
from difflib import SequenceMatcher, get_close_matches
from itertools import product
from pathlib import Path

import pytest
import yaml

from seewhy.domain import concepts
from seewhy.domain.concepts import MAX_CONCEPT, ConceptBank, fit_concepts, load_concepts, unused_classes
from seewhy.domain.problems import SHOWN, Names, raise_problems, reserved_marker
from seewhy.errors import SeeWhyError


def write(folder: Path, text: str, name: str = "concepts.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_three_forms_read_alike(tmp_path: Path) -> None:
    expected = {"Crow": ("black bill", "black plumage"), "Fish Crow": ("short bill",)}
    plain = write(tmp_path, "Crow: [black bill, black  plumage]\nFish Crow:\n- short bill\n")
    assert dict(load_concepts(plain)) == expected
    long = {"Crow": {"concepts": ["black bill", "black plumage"], "aliases": ["Corvus"]}, "Fish Crow": ["short bill"]}
    bank = load_concepts(write(tmp_path, json.dumps(long), "a.json"))
    assert dict(bank) == expected
    assert bank.aliases == {"Crow": ("Corvus",)}
    research = {
        "1": {"name": "Crow", "visual_features": ["black bill", "black plumage"]},
        "2": {"name": "Fish Crow", "visual_features": ["short bill"]},
    }
    assert dict(load_concepts(write(tmp_path, json.dumps(research), "b.json"))) == expected
    assert load_concepts(plain).all_concepts == ("black bill", "black plumage", "short bill")


def test_yaml_words_and_numbers_are_text(tmp_path: Path) -> None:
    bank = load_concepts(write(tmp_path, "No: [on, 3.10]\n737: [null]\n2024-01-01: [yes]"))
    assert dict(bank) == {"No": ("on", "3.10"), "737": ("null",), "2024-01-01": ("yes",)}


def test_a_concept_of_many_classes_is_listed_once() -> None:
    assert ConceptBank({"A": ("red", "blue"), "B": ("red",)}).all_concepts == ("blue", "red")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Crow: []", "concepts of 'Crow': there are none"),
        ("Crow: [black, '  ']", "concepts of 'Crow': a concept is empty"),
        ("Crow: [black,]\nRaven:\n-", "concepts of 'Raven': a concept is empty"),
        ("Crow: [black bill, Black  bill]", "concepts of 'Crow': 'Black bill' stands there twice"),
        (f"Crow: [{'x' * (MAX_CONCEPT + 1)}]", f"'x+...' has {MAX_CONCEPT + 1} characters, more than {MAX_CONCEPT}"),
        ("Crow: ['black <image> bill']", "'black <image> bill' holds '<image>'"),
        ("Crow: ['black </s>']", "holds '</s>'"),
        ("Crow: {concepts: [black], aliases: ['<|im_start|>']}", "aliases of 'Crow': .* holds '<.im_start.>'"),
        ("Crow: {concepts: [black], aliases: ['']}", "aliases of 'Crow': the name is empty"),
        ("Crow: {concept: [black]}", r"'Crow': unknown key 'concept' \(did you mean 'concepts'\?\)"),
        ("Crow: {concepts: [black], concepts: [white]}", "'Crow': a key stands twice"),
        ("Crow: black bill", "'Crow': the concepts are no list of texts"),
        ("Crow:\n- bill: black", "'Crow': the concepts are no list of texts; .* quote"),
        ("Crow: [black]\nCrow: [white]", "concepts of 'Crow' stand twice"),
        ("- Crow", "no mapping of classes to concepts"),
        ("", "no mapping of classes to concepts"),
        ("Crow: [black", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SeeWhyError, match=rf"(?s)concepts\.yaml.*{message}"):
        load_concepts(write(tmp_path, text))


def test_json_doubles_and_numbers_are_named(tmp_path: Path) -> None:
    with pytest.raises(SeeWhyError, match="'Crow' stand twice"):
        load_concepts(write(tmp_path, '{"Crow": ["a"], "Crow": ["b"]}', "a.json"))
    with pytest.raises(SeeWhyError, match="no list of texts"):
        load_concepts(write(tmp_path, '{"Crow": [1]}', "a.json"))
    with pytest.raises(SeeWhyError, match="cannot be read"):
        load_concepts(tmp_path / "none.json")


def test_keys_find_their_class_whatever_their_spelling() -> None:
    bank = ConceptBank({"black_footed ALBATROSS": ("dark",)}, {"black_footed ALBATROSS": ("gooney",)})
    fitted, problems = fit_concepts(bank, ["Black-footed Albatross"])
    assert problems == []
    assert dict(fitted) == {"Black-footed Albatross": ("dark",)}
    assert fitted.aliases == {"Black-footed Albatross": ("gooney",)}


def test_classes_and_concepts_must_meet() -> None:
    bank = ConceptBank({"Crwo": ("black",), "Zebra": ("striped",), "Owl": ("round",), "OWL": ("big",)})
    fitted, problems = fit_concepts(bank, ["Crow", "Jay", "Owl"])
    assert problems == [
        "concepts of 'Owl' stand twice in the file, once as 'OWL'; merge them.",
        "class 'Crow' has no concepts (there are some of 'Crwo', which has no image: the same class?); add some to the "
        "concept file.",
        "class 'Jay' has no concepts; add some to the concept file.",
    ]
    assert dict(fitted) == {"Owl": ("round",)}


def test_concepts_of_classes_without_images_are_no_problem() -> None:
    bank = ConceptBank({"Crow": ("black",), "Zebra": ("striped",), "Owl": ("round",)}, {"Zebra": ("Equus",)})
    fitted, problems = fit_concepts(bank, ["crow", "Owl"])
    assert problems == []
    assert (dict(fitted), fitted.aliases) == ({"crow": ("black",), "Owl": ("round",)}, {})
    assert unused_classes(bank, ["crow", "Owl"]) == ["Zebra"]


def test_a_bank_that_matches_no_class_is_compared_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    syllables = ("ka", "lo", "mi", "ren", "tus", "vo")
    names = [
        f"{''.join(three)} {''.join(two)}" for three in product(syllables, repeat=3) for two in product("ae", "nr")
    ]
    typos = [name.replace("r", "rr", 1) + "x" for name in names]
    compared = []
    ratio = SequenceMatcher.real_quick_ratio
    monkeypatch.setattr(SequenceMatcher, "real_quick_ratio", lambda self: compared.append(1) or ratio(self))
    _, problems = fit_concepts(ConceptBank(dict.fromkeys(typos, ("a",))), names)
    assert len(compared) <= Names.COMPARED * len(names)
    told = "\n".join(problems)
    assert (
        sum(f"class '{a}' has no concepts (there are some of '{b}'," in told for a, b in zip(names, typos, strict=True))
        > 800
    )


def test_the_closest_name_is_that_of_difflib() -> None:
    rng = random.Random(0)
    words = ["black", "footed", "albatross", "crow", "fish", "red", "winged", "blackbird", "least", "tern", "yellow",
             "bellied", "flycatcher", "northern", "waterthrush", "sooty", "groove", "billed", "ani"]  # fmt: skip
    known = sorted({" ".join(rng.sample(words, rng.randint(1, 3))) for _ in range(300)})
    names, agree = Names(known), 0
    for _ in range(200):
        name = list(rng.choice(known))
        for _ in range(rng.randint(1, 3)):
            name[rng.randrange(len(name))] = rng.choice("aeioust ")
        typo = "".join(name)
        expected = get_close_matches(typo, known, n=1)
        agree += names.closest(typo) == (expected[0] if expected else None)
    assert agree >= 195
    assert Names([]).closest("crow") is None
    assert Names(["Crow"]).closest("zzz") is None


@pytest.mark.parametrize(
    "text",
    [
        *("<image>", "a </s>", "<s>", "<|im_start|>user", "[INST] x", "<<SYS>>", "USER: hi", "### Response", "<pad>"),
        *("<start_of_turn>", "\uff1c\uff5cend\uff5c\uff1e", "<|vision_pad|>", "[/INST]", "ASSISTANT :"),
    ],
)
def test_control_tokens_are_seen(text: str) -> None:
    assert reserved_marker(text)


@pytest.mark.parametrize("text", ["5 < 6 mm", "a -> b", "bill [upper]", "user: friendly", "a < b > c", "#3 wing", "<3"])
def test_ordinary_text_passes(text: str) -> None:
    assert reserved_marker(text) is None


def test_many_problems_make_one_bounded_message() -> None:
    with pytest.raises(SeeWhyError) as error:
        raise_problems("here", [f"problem {number}" for number in range(1000)])
    lines = str(error.value).splitlines()
    assert lines[0] == "here: 1000 problems."
    assert len(lines) == SHOWN + 2
    assert lines[-1] == f"- and {1000 - SHOWN} more."


@pytest.mark.parametrize(
    "text",
    [
        *(path.read_text() for path in sorted((Path(__file__).parents[2] / "configs").glob("**/*.yaml"))),
        "Crow: [black, 'it''s', \"a: b\", 1e3, no, ~, ]\nNo:\n- [a]\n- {b: c, b: d}\n737: >\n  folded\n  text\n",
        "Crow: &all [black]\nRaven: *all\n",
        "Crow: !!set {black}\n",
        "Crow: [red\tcrown]\n",
        "a: [b\n",
        "--- a\n--- b\n",
        "? [a, b]\n: c\n",
        "",
        "[" * 10_000,
    ],
)
def test_libyaml_reads_a_bank_as_pyyaml_does(text):
    def read(reader):
        try:
            return reader(text)
        except (yaml.YAMLError, RecursionError) as error:
            return str(error)

    assert read(concepts._read_yaml) == read(lambda text: concepts.load(text, concepts._TextLoader))


def test_a_bank_of_many_classes_is_read_by_libyaml(monkeypatch):
    bank = {f"class {n}": [f"concept {n}", "black bill"] for n in range(20)}
    monkeypatch.setattr(concepts, "load", None)
    assert dict(concepts._read_yaml(yaml.safe_dump(bank))) == bank
