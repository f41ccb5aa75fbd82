import hashlib
import json
from pathlib import Path

import pytest

from tasks.core.errors import FormatError, RegistryError, UsageError
from tasks.core.registry import final_models, layout, listing, registry, retention
from tasks.core.registry.log import append, read, record_end
from tasks.core.registry.promotion import decisions
from tasks.core.stage.handles import FinalModel, ModelVersion
from tasks.core.stage.stages import TRAIN_ON_ALL


def publish(fake, name: str) -> ModelVersion:
    facts = {"classes": list(fake.classes), "shape": list(fake.shape), "seed": 0}
    return registry.publish(
        fake.trained(name), fake.evaluation(name, skill=2.0), "animals", facts, fake.workspace, who="ann"
    )


def test_publish_version_has_all_files(fake) -> None:
    version = publish(fake, "one")
    assert version.version == "v0001"
    assert sorted(path.name for path in version.directory.iterdir()) == [
        "labels.txt",
        "manifest.json",
        "model.keras",
        "model_card.md",
    ]
    assert (version.directory / "model.keras").read_text() == "one"
    facts = version.manifest["facts"]
    assert facts["evaluation"] == fake.evaluation("one", skill=2.0).digest
    assert facts["metrics"]["accuracy"]["value"] == fake.evaluation("one", skill=2.0).accuracy
    assert registry.resolve("animals", "v0001", fake.workspace) == version


def test_publish_same_model_keeps_its_version(fake) -> None:
    assert publish(fake, "one") == publish(fake, "one")
    assert publish(fake, "two").version == "v0002"
    assert [version.version for version in registry.versions("animals", fake.workspace)] == ["v0001", "v0002"]


def test_publish_evaluation_of_another_model_raises(fake) -> None:
    with pytest.raises(RegistryError, match="of another model"):
        registry.publish(fake.trained("one"), fake.evaluation("two", 2.0), "animals", {}, fake.workspace)
    assert registry.versions("animals", fake.workspace) == []


def test_publish_exports_are_part_of_the_version(fake) -> None:
    model = fake.trained("one"), fake.evaluation("one", skill=2.0), "animals"
    facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
    with pytest.raises(RegistryError, match="exports would be of another model"):
        registry.publish(*model, facts, fake.workspace, exported=fake.exported("two"))
    version = registry.publish(*model, facts, fake.workspace, exported=fake.exported("one"))
    assert sorted(path.name for path in (version.directory / "exports").iterdir()) == [
        "certificate.json",
        "model.onnx",
    ]
    assert version.manifest["facts"]["exports"] == ["onnx"]
    (version.directory / "exports" / "model.onnx").write_text("another")
    with pytest.raises(RegistryError, match="not what was published"):
        registry.resolve("animals", "v0001", fake.workspace)


def test_publish_profile_is_part_of_the_version(fake) -> None:
    model = fake.trained("one"), fake.evaluation("one", skill=2.0), "animals"
    facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
    with pytest.raises(RegistryError, match="profile would be of another model"):
        registry.publish(*model, facts, fake.workspace, profiled=fake.profiled("two"))
    version = registry.publish(*model, facts, fake.workspace, profiled=fake.profiled("one"))
    assert version.manifest["facts"]["profile"] == {"split": "val", "images": 2}
    assert "profile/profile.parquet" in version.manifest["files"]
    assert "compared with 2 val images" in (version.directory / registry.CARD).read_text()


def test_resolve_accepts_version_number_and_alias(fake) -> None:
    publish(fake, "one")
    two = publish(fake, "two")
    registry.promote("animals", "v0002", fake.workspace, who="ann", why="good")
    for name in ("v0002", "2", "champion"):
        assert registry.resolve("animals", name, fake.workspace) == two
    with pytest.raises(RegistryError, match="no model v0007"):
        registry.resolve("animals", "v0007", fake.workspace)
    with pytest.raises(RegistryError, match="no published model"):
        registry.resolve("plants", "champion", fake.workspace)
    with pytest.raises(RegistryError, match="no model"):
        registry.resolve("animals", "../animals/v0001", fake.workspace)


@pytest.mark.parametrize("name", ["", "..", ".x", "a/b"])
def test_versions_invalid_dataset_name_raises(fake, name: str) -> None:
    with pytest.raises(UsageError, match="folder's name"):
        registry.versions(name, fake.workspace)


def test_resolve_changed_file_raises(fake) -> None:
    version = publish(fake, "one")
    (version.directory / "model.keras").write_text("two")
    with pytest.raises(RegistryError, match="not what was published"):
        registry.resolve("animals", "v0001", fake.workspace)
    with pytest.raises(FormatError, match="not usable"):
        ModelVersion(**version.as_dict())


def test_rows_of_damaged_versions_name_the_damage(fake) -> None:
    for name in ("one", "two", "three"):
        version = publish(fake, name)
    (version.directory / "model.keras").write_text("something else")
    (version.directory.parent / "v0002" / "manifest.json").write_text("{")
    intact, unreadable, changed = listing.model_rows(fake.workspace)
    accuracy = fake.evaluation("one", skill=2.0).accuracy
    assert (intact["version"], intact["damage"], intact["test_accuracy"]) == ("v0001", "", accuracy)
    assert "manifest.json" in unreadable["damage"]
    assert unreadable["test_accuracy"] is None
    assert "model.keras has 14 bytes instead of 5" in changed["damage"]


def test_rollback_swaps_champion_and_previous(fake) -> None:
    one, two = publish(fake, "one"), publish(fake, "two")
    assert registry.champion("animals", fake.workspace) is None
    with pytest.raises(RegistryError, match="no previous"):
        registry.rollback("animals", fake.workspace, who="ann", why="?")
    registry.promote("animals", "v0001", fake.workspace, who="ann", why="first")
    registry.promote("animals", "v0002", fake.workspace, who="ann", why="better")
    assert registry.champion("animals", fake.workspace) == two
    assert registry.aliases("animals", fake.workspace) == {"champion": "v0002", "previous": "v0001"}
    assert registry.rollback("animals", fake.workspace, who="bob", why="bad pictures") == one
    assert registry.aliases("animals", fake.workspace) == {"champion": "v0001", "previous": "v0002"}
    entries = [
        (line["action"], line["who"], line["why"]) for line in registry.history("animals", fake.workspace)
    ]
    assert entries[-3:] == [
        ("promote", "ann", "first"),
        ("promote", "ann", "better"),
        ("rollback", "bob", "bad pictures"),
    ]


def test_promote_unexpected_champion_raises(fake) -> None:
    publish(fake, "one")
    publish(fake, "two")
    registry.promote("animals", "v0001", fake.workspace, who="ann", why="first", expected_champion="")
    # Another machine that promotes the same model at the same time: it is the champion already.
    registry.promote("animals", "v0001", fake.workspace, who="bob", why="first", expected_champion="")
    with pytest.raises(RegistryError, match="in the meantime"):
        registry.promote("animals", "v0002", fake.workspace, who="ann", why="better", expected_champion="")
    registry.promote("animals", "v0002", fake.workspace, who="ann", why="better", expected_champion="v0001")
    assert registry.champion("animals", fake.workspace).version == "v0002"


def test_alias_is_set_removed_and_checked(fake) -> None:
    publish(fake, "one")
    registry.alias("animals", "kiosk", "v0001", fake.workspace, who="ann", why="the kiosk runs it")
    assert registry.resolve("animals", "kiosk", fake.workspace).version == "v0001"
    registry.alias("animals", "kiosk", None, fake.workspace, who="ann", why="closed")
    assert registry.aliases("animals", fake.workspace) == {}
    with pytest.raises(RegistryError, match="animals has no alias kiosk"):
        registry.alias("animals", "kiosk", None, fake.workspace, who="ann", why="twice")
    for name in ("champion", "previous", "v0001", "Kiosk", "a b", ""):
        with pytest.raises(RegistryError, match="cannot be an alias"):
            registry.alias("animals", name, "v0001", fake.workspace, who="ann", why="?")
    with pytest.raises(RegistryError, match="no model v0009"):
        registry.alias("animals", "kiosk", "v0009", fake.workspace, who="ann", why="?")


@pytest.mark.slow
def test_delete_and_gc_keep_versions_in_use(fake) -> None:
    for name in ("one", "two", "three", "four", "five"):
        publish(fake, name)
    registry.promote("animals", "v0001", fake.workspace, who="ann", why="good")
    with pytest.raises(RegistryError, match="in use"):
        retention.delete("animals", "v0001", fake.workspace, who="ann", why="old")
    args = {"keep": 1, "keep_versions": ["3"], "who": "ann"}
    assert retention.gc("animals", fake.workspace, **args, dry_run=True) == ["v0002", "v0004"]
    assert len(registry.versions("animals", fake.workspace)) == 5
    assert retention.gc("animals", fake.workspace, **args) == ["v0002", "v0004"]
    kept = [version.version for version in registry.versions("animals", fake.workspace)]
    assert kept == ["v0001", "v0003", "v0005"]
    retention.delete("animals", "v0005", fake.workspace, who="ann", why="odd")
    assert publish(fake, "six").version == "v0006"
    with pytest.raises(RegistryError, match="no model v0005"):
        retention.delete("animals", "v0005", fake.workspace, who="ann", why="again")


def test_gc_keeps_the_champion_that_a_kept_version_was_compared_with(fake) -> None:
    """Model two was compared with model one, which has no alias any more; model three with model two."""
    versions = []
    for name in ("zero", "one", "two", "three"):
        versions.append(publish(fake, name))
        champion = versions[-2].model_sha256 if len(versions) > 1 else ""
        line = {
            "challenger": versions[-1].model_sha256,
            "champion": champion,
            "looked": bool(champion),
            "who": "",
            "why": "",
        }
        decisions.record_decision(line, {"compared": name}, "animals", fake.workspace)
    assert retention.gc("animals", fake.workspace, keep=2, who="ann") == ["v0001"]


def test_publish_after_a_killed_writer_cleans_up_and_logs(fake) -> None:
    publish(fake, "one")
    directory = fake.workspace.models / "animals"
    registry.promote("animals", "v0001", fake.workspace, who="ann", why="good")
    lines = (directory / layout.LOG).read_bytes().splitlines(keepends=True)
    # The writer was killed while it logged the promotion.
    (directory / layout.LOG).write_bytes(lines[0])
    record_end(directory / layout.LOG)
    (directory / layout.LOG).write_bytes(lines[0] + lines[1][:20])
    (directory / ".v0002.123.tmp").mkdir()
    (directory / f".{layout.ALIASES}.9.tmp").write_text("{")
    assert [line["action"] for line in registry.history("animals", fake.workspace)] == ["publish"]
    assert registry.aliases("animals", fake.workspace) == {"champion": "v0001"}
    assert publish(fake, "two").version == "v0002"
    assert [path.name for path in directory.glob(".*.tmp")] == []
    entries = [(line["action"], line["version"]) for line in registry.history("animals", fake.workspace)]
    assert entries == [("publish", "v0001"), ("promote", "v0001"), ("publish", "v0002")]


def test_aliases_unknown_format_raises(fake) -> None:
    publish(fake, "one")
    path = fake.workspace.models / "animals" / layout.ALIASES
    path.write_text(json.dumps({"format": 9, "aliases": {}}))
    with pytest.raises(RegistryError, match="unknown format"):
        registry.aliases("animals", fake.workspace)


def test_log_read_skips_an_incomplete_line(tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    append(path, {"action": "1"})
    with path.open("ab") as log:
        log.write(b'{"n": 2')
    assert read(path) == [{"action": "1"}]
    append(path, {"action": "3"})
    assert read(path) == [{"action": "1"}, {"action": "3"}]


def test_datasets_lists_datasets_with_versions(fake) -> None:
    assert registry.datasets(fake.workspace) == []
    publish(fake, "one")
    assert registry.datasets(fake.workspace) == ["animals"]


def final_of(fake, name: str) -> FinalModel:
    """A model of all images whose file has the text `name`."""

    def write(staging: Path) -> dict[str, object]:
        (staging / "model.keras").write_text(name)
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        return {"model_sha256": sha256, "recipe": "probe", "trained": 9, "held_back": 0, "trained_on": "all"}

    return TRAIN_ON_ALL.output(TRAIN_ON_ALL.ingredients({}, {"name": name}), fake.workspace, write)


def test_model_of_all_images_lies_beside_the_version(fake, workspace) -> None:
    """A version never changes: the model of a later run stays in the stage's folder."""
    first, later = final_of(fake, "first"), final_of(fake, "later")
    trained, evaluation = fake.trained("one"), fake.evaluation("one", 2.0)
    facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
    version = registry.publish(trained, evaluation, "animals", facts, workspace, final=first)
    assert (version.directory / "all_images" / "model.keras").read_text() == "first"
    record = version.manifest["facts"]["all_images"]
    assert (record["trained_on"], record["images"]) == ("all", 9)
    assert version.model_sha256 == trained.model_sha256 != record["model_sha256"]
    again = registry.publish(trained, evaluation, "animals", facts, workspace, final=later)
    assert again == version
    places = [final_models.file_of(each, "animals", version.version, workspace) for each in (first, later)]
    assert places == [version.directory / "all_images" / "model.keras", later.directory / "model.keras"]
