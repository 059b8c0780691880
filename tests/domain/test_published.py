"""The paper's data sets, each from a small tree in its official layout."""

import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from published_sets import PUBLISHED, draw, write, write_concepts
from seewhy.config import DataConfig
from seewhy.domain import load_domain, load_image
from seewhy.domain.labels import LabelMatcher
from seewhy.domain.loaders.layouts import layout_of, read_data
from seewhy.domain.loaders.published import (
    ALIASES,
    DIAGNOSES,
    DOGS,
    aircraft_label,
    leaf_aliases,
    leaf_label,
    photograph_of,
)
from seewhy.errors import SeeWhyError

NAMES = list(PUBLISHED)


@pytest.fixture
def data(request: pytest.FixtureRequest, tmp_path: Path) -> DataConfig:
    """The stand-in of the set that the test names, with concepts for its classes."""
    name = request.param
    source = PUBLISHED[name].make(tmp_path / "data")
    concepts = write_concepts(tmp_path / "concepts.yaml", PUBLISHED[name].labels)
    return DataConfig(source=str(source), concepts=str(concepts), layout=name)


every_set = pytest.mark.parametrize("data", NAMES, indirect=True)


def refused(data: DataConfig) -> str:
    with pytest.raises(SeeWhyError) as error:
        load_domain(data)
    return str(error.value)


@every_set
def test_the_official_layout_is_read(data: DataConfig, capsys: pytest.CaptureFixture[str]) -> None:
    expected = PUBLISHED[data.layout]
    domain = load_domain(data)
    assert domain.labels == expected.labels
    sizes = Counter(example.split for example in domain.examples)
    assert (sizes["train"], sizes["val"], sizes["test"]) == expected.sizes
    assert all(Path(domain.path(example)).is_file() for example in domain.examples)
    note = " ".join(capsys.readouterr().err.split())
    assert f"found {expected.sizes[0]} train and {expected.sizes[2]} test images" in note
    assert "the paper has" in note


@every_set
def test_the_folder_above_will_do_and_moves_nothing(data: DataConfig) -> None:
    above = replace(data, source=str(Path(data.source).parent))
    if data.layout in ("cub200", "fgvc", "chest_xray"):
        assert load_domain(above).fingerprint == load_domain(data).fingerprint
    else:
        assert PUBLISHED[data.layout].home in refused(above)


@pytest.mark.parametrize("name", ["cub200", "dogs", "fgvc", "ham10000"])
def test_index_files_tell_the_layout(name: str, tmp_path: Path) -> None:
    assert layout_of(PUBLISHED[name].make(tmp_path)) == name


@every_set
def test_a_partial_download_names_what_is_missing(data: DataConfig) -> None:
    missing = Path(data.source) / PUBLISHED[data.layout].index
    shutil.rmtree(missing) if missing.is_dir() else missing.unlink()
    told = refused(data)
    assert f"{missing} is not there" in told
    assert PUBLISHED[data.layout].home in told
    assert "unpack it again" in told


@pytest.mark.parametrize("data", ["cub200", "dogs", "fgvc", "ham10000"], indirect=True)
def test_listed_images_that_are_missing_are_counted(data: DataConfig) -> None:
    images = sorted(Path(data.source).rglob("*.jpg"))
    for image in images[:2]:
        image.unlink()
    told = refused(data)
    assert f"2 of {len(images)} listed images are not there" in told
    assert images[0].name in told or images[1].name in told
    assert PUBLISHED[data.layout].home in told


@every_set
def test_the_wrong_layout_is_refused_with_a_remedy(data: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = refused(replace(data, source=str(tmp_path / "empty")))
    assert PUBLISHED[data.layout].home in told
    assert "is no folder" in refused(replace(data, source=data.concepts or ""))
    assert "There is no folder or table" in refused(replace(data, source=str(tmp_path / "none")))


@every_set
def test_val_is_taken_from_train_alone_and_always_the_same(data: DataConfig, tmp_path: Path) -> None:
    whole = read_data(data).rows
    shared = replace(data, val_share=0.34)
    rows = read_data(shared).rows
    moved = {row.image for row in rows if row.split == "val"} - {row.image for row in whole if row.split == "val"}
    assert moved
    assert moved < {row.image for row in whole if row.split == "train"}
    assert [r.image for r in rows if r.split == "test"] == [r.image for r in whole if r.split == "test"]
    for label in PUBLISHED[data.layout].labels:
        assert any(row.label == label and row.split == "train" for row in rows)
    elsewhere = PUBLISHED[data.layout].make(tmp_path / "elsewhere" / "data")
    assert [(r.image, r.split) for r in read_data(replace(shared, source=str(elsewhere))).rows] == [
        (r.image, r.split) for r in rows
    ]


@every_set
def test_few_train_images_a_class_are_taken_after_val(data: DataConfig) -> None:
    shared = replace(data, val_share=0.34)
    whole, rows = read_data(shared).rows, read_data(replace(shared, per_class=1)).rows
    assert [row for row in rows if row.split != "train"] == [row for row in whole if row.split != "train"]
    train = [row for row in rows if row.split == "train"]
    assert sorted(row.label for row in train) == sorted({row.label for row in whole if row.split == "train"})
    assert set(train) <= set(whole)


@pytest.mark.parametrize("data", ["ham10000", "chest_xray"], indirect=True)
def test_intervals_are_over_lesions_and_patients(data: DataConfig) -> None:
    domain = load_domain(data)
    ids = [example.id for example in domain.split("test")]
    clusters = domain.clusters(ids)
    assert clusters is not None
    assert len(set(clusters)) < len(ids)


@pytest.mark.parametrize("data", ["ham10000", "chest_xray", "pld"], indirect=True)
def test_no_lesion_patient_or_leaf_is_in_two_splits(data: DataConfig) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for row in read_data(replace(data, val_share=0.3)).rows:
        assert row.group
        splits[row.group].add(row.split)
    assert {len(found) for found in splits.values()} == {1}


@pytest.mark.parametrize("data", ["cub200", "dogs"], indirect=True)
def test_copies_in_published_splits_are_told_and_kept(data: DataConfig, capsys: pytest.CaptureFixture[str]) -> None:
    rows = read_data(data).rows
    train = next(row for row in rows if row.split == "train")
    test = next(row for row in rows if row.split == "test")
    shutil.copy(Path(data.source) / train.image, Path(data.source) / test.image)
    assert len(load_domain(data).examples) == len(rows)
    assert "is the same image as" in " ".join(capsys.readouterr().err.split())


def test_images_of_other_modes_are_read(tmp_path: Path) -> None:
    """Stanford Dogs has a PNG with transparency under the name of a JPEG."""
    source = PUBLISHED["dogs"].make(tmp_path)
    images = sorted((source / "Images").rglob("*.jpg"))
    colours = Image.open(images[0])
    for path, (mode, kind) in zip(
        images, (("RGBA", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("L", "JPEG")), strict=False
    ):
        colours.convert(mode).save(path, kind)
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(images[4], "PNG")
    concepts = write_concepts(tmp_path / "c.yaml", PUBLISHED["dogs"].labels)
    domain = load_domain(DataConfig(str(source), str(concepts)))
    assert {load_image(domain.path(example)).mode for example in domain.examples} == {"RGB"}


def test_ham10000_halves_each_diagnosis(tmp_path: Path) -> None:
    rows = read_data(DataConfig(str(PUBLISHED["ham10000"].make(tmp_path)))).rows
    for label in PUBLISHED["ham10000"].labels:
        halves = Counter(row.split for row in rows if row.label == label)
        assert abs(halves["train"] - halves["test"]) <= 4  # images of the largest lesion


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("HAM_1,ISIC_0024306,xx,histo,60,male,back", "dx 'xx' is none of akiec"),
        ("HAM_mel00001,ISIC_0024307,nv,histo,60,male,back", "lesion HAM_mel00001 has the diagnoses 'mel' and 'nv'"),
        (",ISIC_0024307,nv,histo,60,male,back", "'image_id' or 'lesion_id' is missing"),
    ],
)
def test_bad_lines_of_ham10000_are_named(tmp_path: Path, line: str, message: str) -> None:
    source = PUBLISHED["ham10000"].make(tmp_path)
    with (source / "HAM10000_metadata.csv").open("a") as file:
        file.write(line + "\n")
    told = "\n".join(read_data(DataConfig(str(source))).problems)
    assert message in told
    assert "HAM10000_metadata.csv line 42" in told
    write(source / "HAM10000_metadata.csv", ["lesion_id,image_id", "a,b"])
    with pytest.raises(SeeWhyError, match="lacks the column 'dx'"):
        read_data(DataConfig(str(source)))


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    source = PUBLISHED["fgvc"].make(tmp_path)
    write(source / "data/images_variant_test.txt", [])
    assert "FGVC-Aircraft has no test image here" in "\n".join(read_data(DataConfig(str(source))).problems)


def test_variants_and_manufacturers_must_meet(tmp_path: Path) -> None:
    source = PUBLISHED["fgvc"].make(tmp_path)
    makers = source / "data/images_manufacturer_test.txt"
    write(makers, makers.read_text().splitlines()[1:])
    told = "\n".join(read_data(DataConfig(str(source))).problems)
    assert "images_variant_test.txt line 1: image 0000006 is not in images_manufacturer_test.txt" in told


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    source = PUBLISHED["dogs"].make(tmp_path)
    (source / "train_list.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut off")
    with pytest.raises(SeeWhyError, match=r"train_list\.mat is no list of Stanford Dogs"):
        read_data(DataConfig(str(source)))


def test_the_size_of_the_full_set_needs_no_note() -> None:
    from seewhy.domain.loaders import Row, Split

    def rows(split: Split, count: int) -> list[Row]:
        return [Row(f"{split}{n}", f"breed {n % 120}", split, "") for n in range(count)]

    assert DOGS.size_notes([*rows("train", 12_000), *rows("test", 8_580)]) == []
    (note,) = DOGS.size_notes([*rows("train", 11_999), *rows("test", 8_580)])
    assert "found 11,999 train and 8,580 test images of 120 classes; the paper has 12,000, 8,580 and 120" in note


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("maker", "variant", "label"),
    [
        ("Boeing", "707-320", "Boeing 707-320"),
        ("Boeing", "Boeing 717", "Boeing 717"),
        ("Airbus", "A300B4", "Airbus A300B4"),
        ("ATR", "ATR-42", "ATR-42"),
        ("British Aerospace", "BAE-125", "BAE-125"),
        ("British Aerospace", "Hawk T1", "British Aerospace Hawk T1"),
        ("Bombardier Aerospace", "Global Express", "Bombardier Global Express"),
        ("Cirrus Aircraft", "SR-20", "Cirrus SR-20"),
        ("Dassault Aviation", "Falcon 2000", "Dassault Falcon 2000"),
        ("Douglas Aircraft Company", "DC-3", "Douglas DC-3"),
        ("Gulfstream Aerospace", "Gulfstream IV", "Gulfstream IV"),
        ("Lockheed Corporation", "C-130", "Lockheed C-130"),
        ("Lockheed Martin", "F-16A/B", "Lockheed Martin F-16A/B"),
        ("McDonnell Douglas", "DC-9-30", "McDonnell Douglas DC-9-30"),
        ("de Havilland", "DHC-8-100", "de Havilland DHC-8-100"),
    ],
)
def test_labels_of_aircraft(maker: str, variant: str, label: str) -> None:
    assert aircraft_label(maker, variant) == label


def test_the_variant_alone_names_an_aircraft(tmp_path: Path) -> None:
    source = PUBLISHED["fgvc"].make(tmp_path)
    concepts = write_concepts(tmp_path / "c.yaml", PUBLISHED["fgvc"].labels)
    matcher = load_domain(DataConfig(str(source), str(concepts))).matcher
    assert matcher.is_correct("It is a 737-300.", "Boeing 737-300")
    assert not matcher.is_correct("It is a Boeing 737-400.", "Boeing 737-300")


def test_the_users_aliases_come_before_the_data_sets_own(tmp_path: Path) -> None:
    source = PUBLISHED["fgvc"].make(tmp_path)
    concepts = write_concepts(tmp_path / "c.yaml", ["BAE 146-200", "Boeing 737-300"])
    with concepts.open("a") as file:
        file.write("Douglas DC-3: {concepts: [low wing, tail wheel, radial engines], aliases: [Dakota, 737-300]}\n")
    matcher = load_domain(DataConfig(str(source), str(concepts))).matcher
    for name in ("Dakota", "DC-3", "737-300", "Douglas DC-3"):
        assert matcher.names(f"This is a {name}.") == {"Douglas DC-3"}


PLANT_VILLAGE = """
Apple___Apple_scab|Apple___Black_rot|Apple___Cedar_apple_rust|Apple___healthy|Blueberry___healthy
Cherry_(including_sour)___Powdery_mildew|Cherry_(including_sour)___healthy
Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot|Corn_(maize)___Common_rust_|Corn_(maize)___Northern_Leaf_Blight
Corn_(maize)___healthy|Grape___Black_rot|Grape___Esca_(Black_Measles)|Grape___Leaf_blight_(Isariopsis_Leaf_Spot)
Grape___healthy|Orange___Haunglongbing_(Citrus_greening)|Peach___Bacterial_spot|Peach___healthy
Pepper,_bell___Bacterial_spot|Pepper,_bell___healthy|Potato___Early_blight|Potato___Late_blight|Potato___healthy
Raspberry___healthy|Soybean___healthy|Squash___Powdery_mildew|Strawberry___Leaf_scorch|Strawberry___healthy
Tomato___Bacterial_spot|Tomato___Early_blight|Tomato___Late_blight|Tomato___Leaf_Mold|Tomato___Septoria_leaf_spot
Tomato___Spider_mites Two-spotted_spider_mite|Tomato___Target_Spot|Tomato___Tomato_Yellow_Leaf_Curl_Virus
Tomato___Tomato_mosaic_virus|Tomato___healthy
"""
"""The class folders of New Plant Diseases and PlantVillage."""


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("This is an apple leaf with apple scab.", "Apple___Apple_scab"),
        ("Apple scab.", "Apple___Apple_scab"),
        ("A healthy bell pepper leaf", "Pepper,_bell___healthy"),
        ("bell pepper leaf with bacterial spot", "Pepper,_bell___Bacterial_spot"),
        ("bell pepper leaf with bacterial spot", "Bell Pepper___Bacterial_spot"),
        ("corn gray leaf spot", "Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot"),
        ("a corn leaf with common rust", "Corn_(maize)___Common_rust_"),
        ("Huanglongbing", "Orange___Haunglongbing_(Citrus_greening)"),
        ("tomato leaf with yellow leaf curl virus", "Tomato___Tomato_Yellow_Leaf_Curl_Virus"),
        ("tomato mosaic virus", "Tomato___Tomato_mosaic_virus"),
        ("potato late blight", "Potato___Late_blight"),
        ("black measles", "Grape___Esca_(Black_Measles)"),
    ],
)
def test_labels_of_leaves(text: str, folder: str) -> None:
    folders = {name for line in PLANT_VILLAGE.split("\n") for name in line.split("|") if name}
    assert len(folders) == 38
    matcher = LabelMatcher(sorted(map(leaf_label, folders)), leaf_aliases(folders))
    assert len(set(map(leaf_label, folders))) == 38
    assert matcher.is_correct(text, leaf_label(folder))
    assert matcher.names("late blight") == set()  # potatoes have it and tomatoes too


@pytest.mark.parametrize(
    ("file", "photograph"),
    [
        ("0A5E9323-dbad-432d-ac58-d291718345d9___FREC_Scab 3417_90deg.JPG", "0a5e9323-dbad-432d-ac58-d291718345d9"),
        ("RS_Rust 1564_flipLR.JPG", "RS_Rust 1564"),
        ("RS_Rust 1564_new30degFlipLR.JPG", "RS_Rust 1564"),
        ("RS_Rust 1564_newPixel25.JPG", "RS_Rust 1564"),
        ("RS_Rust 1564.JPG", "RS_Rust 1564"),
        ("image (1).JPG", "image (1)"),
    ],
)
def test_what_is_one_photograph_of_a_leaf(file: str, photograph: str) -> None:
    assert photograph_of(file) == photograph


@pytest.mark.parametrize("folder", ["Images", "color", "raw/color", "."])
def test_leaves_lie_in_other_folders_too(tmp_path: Path, folder: str) -> None:
    for number in range(10):
        for name in ("Bell Pepper___healthy", "Peach___Bacterial_spot"):
            draw(tmp_path / "set" / folder / name / f"image ({number}).JPG")
    rows = read_data(DataConfig(str(tmp_path / "set"), layout="pld")).rows
    assert Counter((row.label, row.split) for row in rows) == {
        ("healthy bell pepper leaf", "train"): 1,
        ("healthy bell pepper leaf", "test"): 9,
        ("peach leaf with bacterial spot", "train"): 1,
        ("peach leaf with bacterial spot", "test"): 9,
    }


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("This is a chest X-ray with pneumonia.", "chest X-ray with pneumonia"),
        ("The opacity points to pneumonia.", "chest X-ray with pneumonia"),
        ("This is a normal chest X-ray without pneumonia.", "normal chest X-ray"),
        ("There is no evidence of pneumonia.", "normal chest X-ray"),
        ("There is no pneumonia: a normal X-ray.", "normal chest X-ray"),
    ],
)
def test_answers_about_chest_x_rays(text: str, label: str) -> None:
    assert LabelMatcher(ALIASES, ALIASES).names(text) == {label}


def test_diagnoses_can_be_told_apart() -> None:
    matcher = LabelMatcher([label for label, _ in DIAGNOSES.values()], dict(DIAGNOSES.values()))
    for label, aliases in DIAGNOSES.values():
        for name in (label, *aliases):
            assert matcher.names(f"This is a {name}.") == {label}
