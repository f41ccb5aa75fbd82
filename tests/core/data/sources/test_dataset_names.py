import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest

from tasks.core.config import SourceSettings
from tasks.core.data.sources import dataset_names, resolve
from tasks.core.errors import UsageError


@pytest.mark.parametrize(
    ("source", "name"),
    [
        *[(Path("/数据/猫和狗"), "猫和狗"), (Path("/d/Кошки и Собаки"), "кошки-и-собаки")],
        *[(Path("/d/قطط وكلاب"), "قطط-وكلاب"), (Path("/d/ऋषि"), "ऋषि")],
        *[
            (Path("/d/Café (2)"), "café-2"),
            (Path("/d/แมว.csv"), "แมว"),
            (Path("/d/CON"), "con-data"),
            (Path("/d/???"), "folder"),
        ],
    ],
)
def test_names_keep_the_letters_of_every_script(source: Path, name: str) -> None:
    assert resolve.name_of(source) == name


def test_names_in_normal_forms_c_and_d_are_one() -> None:
    forms = {resolve.name_of(Path("/d") / unicodedata.normalize(form, "Für Ölé")) for form in ("NFC", "NFD")}
    assert forms == {unicodedata.normalize("NFC", "für-ölé")}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Path("/home/birds/labels.csv"), "birds-labels"),
        (Path("/home/fish/Labels.csv"), "fish-labels"),
        (Path("/home/fish/LIST.CSV"), "list"),
        (Path("/home/fish/list.tsv"), "list"),
        (Path("/home/birds/data/train"), "birds-data-train"),
        ("hf://datasets/ann/pets/plain_text", "pets-plain_text"),
        ("s3://bucket/images", "bucket-images"),
        (Path("/data"), "data"),
        (Path("/home/birds"), "birds"),
        ("https://ann:secret@example.org/pets.zip?sig=TOKEN&X-Amz-Date=1", "pets"),
    ],
)
def test_names_that_say_nothing_take_the_parents_name(source: Path | str, name: str) -> None:
    assert resolve.name_of(source) == name


def test_long_names_are_shortened_and_stay_different() -> None:
    """A table's folder is `dataset=<name>` in percent-encoding, and must be shorter than 255 bytes."""
    names = {resolve.name_of(Path("/d") / ("猫" * 70 + end)) for end in "ab"}
    assert len(names) == 2
    assert all(len(quote(name)) <= dataset_names.LONGEST for name in names)


def test_given_name_counts_and_must_be_one() -> None:
    assert resolve.dataset_name(SourceSettings(dataset="digits", name="mine")) == "mine"
    resolve.check_source(SourceSettings(name="猫-1"))
    for wrong in ("My Photos", "../up", "", "a/b", "e\N{COMBINING ACUTE ACCENT}"):
        with pytest.raises(UsageError, match="--name cannot be") as error:
            resolve.check_source(SourceSettings(name=wrong))
        assert error.value.parts["to do"].startswith("--name ")
