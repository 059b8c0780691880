"""WBCAtt's marks as phrases, as a bank and as truth; copies of train images in test; damaged tables."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from published_sets import draw, write
from seewhy.cli import main
from seewhy.config import DataConfig
from seewhy.domain import Domain, load_domain
from seewhy.domain.check import check_data
from seewhy.domain.concepts import read_concepts
from seewhy.domain.loaders.layouts import layout_of, read_data
from seewhy.domain.loaders.wbcatt import PHRASES
from seewhy.errors import SeeWhyError
from seewhy.proof.figures import count_selected, verdict
from seewhy.records import Selection, Truth
from seewhy.settings import load_config

SHARED = next((p for d in Path(__file__).parents if (p := d / "shared/data/wbcatt").is_dir()), None)
needs_shared = pytest.mark.skipif(SHARED is None, reason="no folder shared/data/wbcatt beside or above the repository")
CONFIG = Path(__file__).parents[2] / "configs/wbcatt.yaml"

COLUMNS = (
    "img_name,label,cell_size,cell_shape,nucleus_shape,nuclear_cytoplasmic_ratio,chromatin_density,cytoplasm_vacuole,"
    "cytoplasm_texture,cytoplasm_colour,granule_type,granule_colour,granularity,path"
)
MARKS = {
    "Neutrophil": "small,round,unsegmented-band,low,densely,no,clear,light blue,small,pink,yes",
    "Monocyte": "big,irregular,unsegmented-indented,low,loosely,yes,frosted,purple blue,nil,nil,no",
}
RARE = "big,round,unsegmented-band,low,densely,no,clear,light blue,small,pink,yes"
IMAGES = {"train": 21, "val": 2, "test": 3}


def line(label: str, name: str, marks: str) -> str:
    return f"{name},{label},{marks},PBC_dataset_normal_DIB/{label.lower()}/{name}"


def make(root: Path) -> Path:
    """Make two classes, 21 train images each. Of the neutrophils one in train (4.8 %) and all in val are large."""
    for split, number in IMAGES.items():
        lines = [COLUMNS]
        for label, marks in MARKS.items():
            for i in range(number):
                is_rare = label == "Neutrophil" and (split == "val" or (split, i) == ("train", 0))
                lines.append(line(label, f"{label[:2].upper()}_{split}{i}.jpg", RARE if is_rare else marks))
                draw(root / lines[-1].rpartition(",")[2], name=lines[-1])
        write(root / f"pbc_attr_v1_{split}.csv", lines)
    return root


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    return DataConfig(source=str(make(tmp_path / "data")), noun="white blood cell")


def refused(data: DataConfig) -> str:
    with pytest.raises(SeeWhyError) as error:
        load_domain(data)
    return str(error.value)


def edit(data: DataConfig, file: str, change: Callable[[str], str]) -> None:
    path = Path(data.source) / file
    path.write_text(change(path.read_text()))


def image(data: DataConfig, name: str) -> Path:
    return next(Path(data.source).rglob(name))


def truth_of(domain: Domain, name: str) -> Truth:
    """Return the truth of the image of that name, without its ending."""
    assert domain.truth is not None
    return next(truth for example, truth in domain.truth.items() if Path(example).name == name)


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_rows_have_the_published_splits_and_labels(data: DataConfig, capsys: pytest.CaptureFixture[str]) -> None:
    assert layout_of(Path(data.source)) == "wbcatt"
    domain = load_domain(data)
    assert (domain.name, domain.labels) == ("WBCAtt", ("Monocyte", "Neutrophil"))
    assert Counter(e.split for e in domain.examples) == {split: 2 * n for split, n in IMAGES.items()}
    assert "found 42 train and 6 test images of 2 classes; the paper has 6,169" in shown(capsys)
    above = replace(data, source=str(Path(data.source).rename(Path(data.source).parent / "wbcatt").parent))
    assert load_domain(replace(above, layout="wbcatt")).fingerprint == domain.fingerprint


def test_the_bank_has_the_marks_of_one_train_image_in_twenty(data: DataConfig) -> None:
    bank = load_domain(data).concepts
    assert bank["Neutrophil"] == (
        "small cell",
        "round cell outline",
        "band-shaped nucleus",
        "wide cytoplasm around the nucleus",
        "dense chromatin",
        "clear cytoplasm",
        "light blue cytoplasm",
        "fine granules",
        "pink granules",
    )
    assert "vacuoles in the cytoplasm" in bank["Monocyte"]
    edit(data, "pbc_attr_v1_train.csv", lambda text: text.replace(MARKS["Neutrophil"], RARE, 1))
    assert load_domain(data).concepts["Neutrophil"][0] == "large cell"  # two of 21


def test_the_bank_stays_what_it_is_with_few_images_a_class(data: DataConfig) -> None:
    few, whole = load_domain(replace(data, per_class=2)), load_domain(data)
    assert few.concepts == whole.concepts
    assert Counter(example.split for example in few.examples) == {"train": 4, "val": 4, "test": 6}
    assert few.fingerprint != whole.fingerprint
    assert few.truth is not None
    assert few.truth.keys() == {example.id for example in few.examples}


def test_a_bank_of_the_users_takes_its_place(data: DataConfig, tmp_path: Path) -> None:
    concepts = write(tmp_path / "c.yaml", ["neutrophil: [pink granules, large cell]", "monocyte: [loose chromatin]"])
    domain = load_domain(replace(data, concepts=str(concepts)))
    assert dict(domain.concepts) == {"Monocyte": ("loose chromatin",), "Neutrophil": ("pink granules", "large cell")}
    assert verdict("pink granules", truth_of(domain, "NE_test0")) == "true"


def test_marks_are_truth_and_other_values_are_absent(data: DataConfig) -> None:
    domain = load_domain(data)
    small, large = truth_of(domain, "NE_test0"), truth_of(domain, "NE_val0")
    assert (verdict("small cell", small), verdict("large cell", small)) == ("true", "false")
    assert (verdict("small cell", large), verdict("large cell", large)) == ("false", "true")
    assert "vacuoles in the cytoplasm" in small.absent  # a "no" is known too
    monocyte = truth_of(domain, "MO_test0")
    assert {"agranular cytoplasm", "vacuoles in the cytoplasm", "loose chromatin"} < set(monocyte.visible)
    assert {"pink granules", "purple granules", "red granules"} < set(monocyte.absent)  # the colour of none
    assert domain.truth is not None
    assert all(set(t.visible) ^ set(t.absent) == set(PHRASES) and t.complete for t in domain.truth.values())


def test_marks_of_val_and_test_change_truth_alone(data: DataConfig) -> None:
    before = load_domain(data)
    for split in ("val", "test"):
        edit(
            data,
            f"pbc_attr_v1_{split}.csv",
            lambda text: text.replace("densely", "loosely").replace("round", "irregular"),
        )
    after = load_domain(data)
    assert after.fingerprint == before.fingerprint  # it holds the bank and no truth
    assert truth_of(after, "NE_test0").visible != truth_of(before, "NE_test0").visible


def test_test_images_with_the_bytes_of_train_or_val_are_left_out(
    data: DataConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(image(data, "NE_train3.jpg"), image(data, "NE_test1.jpg"))
    shutil.copy(image(data, "NE_val1.jpg"), image(data, "MO_test2.jpg"))
    shutil.copy(image(data, "NE_train5.jpg"), image(data, "NE_train6.jpg"))
    names = {Path(e.image).name for e in load_domain(data).examples}
    assert len(names) == 2 * sum(IMAGES.values()) - 2
    assert names.isdisjoint({"NE_test1.jpg", "MO_test2.jpg"})
    said = shown(capsys)
    assert "2 test images are copies, byte for byte, of train or val images and left out" in said
    assert "NE_test1.jpg (train has NE_train3.jpg)" in said
    assert "MO_test2.jpg (val has NE_val1.jpg, labelled Monocyte and Neutrophil)" in said
    findings = check_data(data).findings
    assert any("2 test images are copies" in finding.message for finding in findings)
    assert not any(finding.kind == "copies across splits" for finding in findings)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text.replace("small,round", "tiny,round", 1), "line 3: cell_size 'tiny' is none of big, small"),
        (lambda text: text.replace(",Neutrophil,", ",Neutrophli,", 1), "line 2: label 'Neutrophli' is none of"),
        (
            lambda text: text.replace("NE_train2.jpg", "NE_train1.jpg"),
            "is listed in pbc_attr_v1_train.csv line 3 already",
        ),
        (lambda text: text.replace("chromatin_density", "chromatin", 1), "lacks the column 'chromatin_density'"),
        (lambda text: text + "NE_train0.jpg,Neutrophil,big\n", "line 44: 'path' is empty"),
        (lambda text: text.replace("neutrophil/NE_train4", "../../NE_train4"), "leads out of the data folder"),
        (lambda text: text + f'"{"x" * 200_000}"\n', "line 44 cannot be read"),
    ],
)
def test_a_damaged_table_names_file_and_line(data: DataConfig, change: Callable[[str], str], expected: str) -> None:
    edit(data, "pbc_attr_v1_train.csv", change)
    told = refused(data)
    assert "pbc_attr_v1_train.csv" in told
    assert expected in told


@pytest.mark.parametrize("split", IMAGES)
def test_a_missing_table_names_where_to_get_it(data: DataConfig, split: str) -> None:
    missing = Path(data.source) / f"pbc_attr_v1_{split}.csv"
    missing.unlink()
    told = refused(replace(data, layout="wbcatt"))
    assert f"{missing} is not there" in told
    assert "https://github.com/apple2373/wbcatt" in told


def test_missing_images_are_counted(data: DataConfig) -> None:
    image(data, "NE_train3.jpg").unlink()
    told = refused(data)
    assert "1 of 52 listed images are not there, the first is PBC_dataset_normal_DIB/neutrophil/NE_train3.jpg" in told
    assert "https://data.mendeley.com/datasets/snkd93bnjr" in told


def test_no_image_at_all_is_told_and_not_a_missing_bank(data: DataConfig) -> None:
    shutil.rmtree(Path(data.source) / "PBC_dataset_normal_DIB")
    told = refused(data)
    assert "52 of 52 listed images are not there" in told
    assert "concept bank" not in told


def test_the_test_table_alone_is_read_to_measure_on(data: DataConfig, tmp_path: Path) -> None:
    bank = tmp_path / "c.yaml"
    write(bank, [f"{label}: [{', '.join(phrases)}]" for label, phrases in load_domain(data).concepts.items()])
    for split in ("train", "val"):
        (Path(data.source) / f"pbc_attr_v1_{split}.csv").unlink()
    alone = replace(data, concepts=str(bank))
    measured = load_domain(alone, to_train=False)
    assert {e.split for e in measured.examples} == {"test"}
    assert verdict("large cell", truth_of(measured, "NE_test0")) == "false"
    assert "no train image" in refused(alone)
    assert "set data.concepts" in refused(data)


def test_the_configuration_reads_it_and_data_check_passes(data: DataConfig, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config(CONFIG, ["--data.source", data.source])
    assert (config.data.layout, config.data.noun, config.data.concepts) == ("wbcatt", "white blood cell", None)
    assert load_domain(config.data).questions.noun == "white blood cell"
    assert main(["data", "check", str(CONFIG), "--data.source", data.source]) == 0
    assert "0 errors" in capsys.readouterr().out


@pytest.fixture(scope="module")
def shared() -> Domain:
    assert SHARED is not None
    return load_domain(DataConfig(source=str(SHARED), noun="white blood cell"))


@needs_shared
def test_shared_images_by_split_and_class(shared: Domain) -> None:
    assert SHARED is not None
    splits = Counter(e.split for e in shared.examples)
    assert splits == {"train": 6169, "val": 1030, "test": 1514}  # 8,719 listed, six of test are copies
    train = Counter(e.label for e in shared.split("train"))
    assert train == {"Neutrophil": 1984, "Eosinophil": 1876, "Monocyte": 829, "Basophil": 744, "Lymphocyte": 736}
    notes = read_data(DataConfig(source=str(SHARED))).notes
    assert "found 6,169 train and 1,520 test images of 5 classes; the paper has 6,169, 3,099 and 5" in notes[0]
    assert "6 test images are copies" in notes[1]
    pairs = {
        "BA_786369": "BA_225540",
        "BA_80990": "BA_381452",
        "BA_858229": "BA_435917",
        "EO_890163": "EO_918881",
        "MO_145357": "MO_997225",
        "EO_225902": "BNE_191112",
    }
    kept = {Path(e.image).stem for e in shared.examples}
    for test, other in pairs.items():
        assert f"{test}.jpg (" in notes[1]
        assert f"has {other}.jpg" in notes[1]
        assert (test in kept, other in kept) == (False, True)
    assert "has BNE_191112.jpg, labelled Eosinophil and Neutrophil" in notes[1]


@needs_shared
def test_shared_bank_is_the_listed_one(shared: Domain) -> None:
    assert SHARED is not None
    assert dict(shared.concepts) == dict(read_concepts(SHARED / "concepts.yaml")[0])


@needs_shared
def test_shared_truth_of_images_in_train(shared: Domain) -> None:
    assert truth_of(shared, "BNE_7323").visible == (
        "large cell",
        "round cell outline",
        "band-shaped nucleus",
        "wide cytoplasm around the nucleus",
        "dense chromatin",
        "clear cytoplasm",
        "light blue cytoplasm",
        "fine granules",
        "pink granules",
    )
    assert "irregular cell outline" in truth_of(shared, "BNE_7323").absent
    assert "irregular cell outline" in truth_of(shared, "BNE_7938").visible


@needs_shared
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_list_is_right_for_63_percent_of_its_phrases(shared: Domain, split: str) -> None:
    """Every phrase selected: the share of them that the image shows."""
    assert shared.truth is not None
    right = of = 0
    for example in shared.split(split):
        whole = [Selection(example.id, concept, score=1.0, selected=True) for concept in shared.concepts[example.label]]
        both, selected, _, listed = count_selected(whole, shared.truth[example.id])
        assert selected == listed == len(whole)
        right, of = right + both, of + selected
    assert right / of == pytest.approx(0.635, abs=0.005)
