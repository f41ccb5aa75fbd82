"""Handles: constructing one checks its directory, `unchecked` does not."""

from pathlib import Path

import pytest

from tasks.core.errors import FormatError
from tasks.core.stage import publish
from tasks.core.stage.handles import Exports, Handle, RawDataset, TrainedModel
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace

INGREDIENTS = Ingredients("normalize", {"raw": "abc"}, {})
MODEL = {"model_sha256": "0" * 64, "recipe": "fast", "epochs": 3.0, "val_accuracy": 0.5}


def published(workspace: Workspace) -> Handle:
    """A published directory with one file, as a handle."""
    path = f"tensors/{INGREDIENTS.digest}"

    def build(directory: Path) -> dict[str, int]:
        (directory / "a.txt").write_text("one")
        return {"files": 1}

    publish.publish(workspace.root / path, INGREDIENTS, build)
    return Handle(path, INGREDIENTS.digest)


def test_handle_of_a_published_directory_reads_its_manifest(workspace: Workspace) -> None:
    handle = published(workspace)
    assert handle.directory == workspace.root / handle.path
    assert handle.manifest["facts"] == {"files": 1}
    assert Handle(**handle.as_dict()) == handle


def test_handle_of_a_changed_file_is_refused(workspace: Workspace) -> None:
    handle = published(workspace)
    (handle.directory / "a.txt").write_text("two")
    with pytest.raises(FormatError, match="is not usable") as raised:
        Handle(handle.path, handle.digest)
    assert "other content" in raised.value.parts["found"]


def test_handle_with_another_digest_is_refused(workspace: Workspace) -> None:
    handle = published(workspace)
    with pytest.raises(FormatError, match="is not usable") as raised:
        Handle(handle.path, "0123456789abcdef")
    assert handle.digest in raised.value.parts["found"]


def test_unchecked_without_a_directory_constructs_the_handle(workspace: Workspace) -> None:
    raw = RawDataset.unchecked(
        path="raw/0", digest="0", dataset="digits", format="digits", root="", images=1797
    )
    assert str(raw) == "digits: 1,797 images"
    assert raw.directory == workspace.root / "raw" / "0"
    assert not workspace.root.exists()


def test_unchecked_of_a_published_directory_equals_the_checked_handle(workspace: Workspace) -> None:
    handle = published(workspace)
    assert Handle.unchecked(**handle.as_dict()) == handle


def test_unchecked_sets_fields_that_were_left_out_to_their_defaults() -> None:
    trained = TrainedModel.unchecked(path="training/0", digest="0", **MODEL)
    assert (trained.resumed, trained.temperature, trained.replicas) == ("", 1.0, 1)
    assert trained.as_dict()["recipe"] == "fast"


@pytest.mark.parametrize("fields", [{"path": "exports/0"}, {"path": "p", "digest": "d", "colour": "red"}])
def test_unchecked_with_a_missing_or_unknown_field_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(TypeError):
        Exports.unchecked(**fields)


def test_unchecked_handle_cannot_be_changed() -> None:
    handle = Handle.unchecked(path="tensors/0", digest="0")
    with pytest.raises(AttributeError):
        handle.path = "tensors/1"
