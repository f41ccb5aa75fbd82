"""The table of the stages, and which modules each stage's code hash covers.

`stage_modules.json` is a golden file: a module that enters or leaves a stage's code hash is a visible
decision, since it decides after which changes the stage runs again for every user. After such a decision:

    python tests/core/stage/test_stages.py
"""

import json
from pathlib import Path

import pytest

from tasks.core.data.readers.factory import READERS
from tasks.core.errors import UsageError
from tasks.core.stage import code_hash, stage_lookup, stages
from tasks.core.stage.stages import PARTS, STAGES, RefreshName

GOLDEN = Path(__file__).with_name("stage_modules.json")


def covered() -> dict[str, list[str]]:
    """By stage, and by reader for the normalize stage, the modules in the code hash."""
    modules = {stage.name: stage.modules for stage in (*STAGES, *PARTS) if stage.modules}
    readers = {f"normalize, {name}": reader.modules for name, reader in READERS.items()}
    return {name: list(code_hash.hashes(*names)) for name, names in (modules | readers).items()}


def test_code_hash_covers_the_modules_of_the_golden_file() -> None:
    assert covered() == json.loads(GOLDEN.read_text())


def test_code_hash_of_every_stage_has_its_declared_modules() -> None:
    for stage in (*STAGES, *PARTS):
        hashed = code_hash.hashes(*stage.modules)
        assert {name.removeprefix("tasks.core.") for name in stage.modules} <= set(hashed)


@pytest.mark.parametrize("boundary", code_hash.NOT_INGREDIENTS)
def test_boundary_names_modules_that_exist(boundary: str) -> None:
    path = code_hash.ROOT.joinpath("tasks", "core", *boundary.split("."))
    assert path.is_dir() or path.with_suffix(".py").is_file()


def test_stages_read_only_stages_before_them() -> None:
    names: list[str] = []
    for stage in STAGES:
        assert set(stage.inputs) <= set(names), stage.name
        names.append(stage.name)
    assert len(set(names)) == len(names)


def test_refresh_names_are_the_refreshable_stages() -> None:
    assert [name.value for name in RefreshName] == [
        *("all", "download", "normalize", "audit", "embed", "feature_audit", "select", "train", "evaluate"),
        *("cross_predict", "cross_validate", "train_on_all", "label_issues", "profile", "saliency", "export"),
        "report",
    ]


def test_by_name_takes_a_role_and_refuses_what_is_no_stage() -> None:
    assert stage_lookup.by_name("evaluate champion") is stages.EVALUATE
    with pytest.raises(UsageError, match="suspect"):
        stage_lookup.by_name("suspect")


def test_maker_of_names_the_stage_of_an_input() -> None:
    assert stage_lookup.maker_of("tensors") == "normalize"
    assert stage_lookup.maker_of("epochs") == ""


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(covered(), indent=1) + "\n")
