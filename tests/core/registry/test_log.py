"""The registry's log is checked, and decides what the aliases are."""

import json

import pytest

from tasks.core.errors import RegistryError
from tasks.core.registry import layout, log, registry
from tasks.core.storage import hashing
from tests.core.registry.test_registry import publish

EXPECTED = {"champion": "v0001", "kiosk": "v0001", "previous": "v0002"}


@pytest.fixture
def animals(fake):
    """Two versions: one promoted, then the other, then rolled back; and an alias. Returns the folder."""
    publish(fake, "one")
    publish(fake, "two")
    for version in ("v0001", "v0002"):
        registry.promote("animals", version, fake.workspace, who="ann", why="good")
    registry.rollback("animals", fake.workspace, who="ann", why="bad")
    registry.alias("animals", "kiosk", "v0001", fake.workspace, who="bob", why="shop")
    registry.alias("animals", "old", "v0001", fake.workspace, who="bob", why="shop")
    registry.alias("animals", "old", None, fake.workspace, who="bob", why="shop")
    return fake.workspace.models / "animals"


def test_reason_that_is_not_utf8_is_logged_and_changes_the_alias(fake, animals) -> None:
    registry.alias("animals", "kiosk", None, fake.workspace, who="ann\udcff", why="caf\udce9 \u00e9")
    (*_, last) = registry.history("animals", fake.workspace)
    assert (last["who"], last["why"]) == ("ann\\udcff", "caf\\udce9 \u00e9")
    assert "kiosk" not in registry.aliases("animals", fake.workspace)


@pytest.mark.parametrize("damage", ["edit", "flip", "truncate", "delete", "forge"])
def test_aliases_are_rebuilt_from_the_log(fake, animals, damage, caplog) -> None:
    path = animals / layout.ALIASES
    assert registry.aliases("animals", fake.workspace) == EXPECTED
    text = path.read_text()
    if damage == "delete":
        path.unlink()
    elif damage == "forge":  # an edit that also mends the hash
        content = json.loads(text)
        content["aliases"]["champion"] = "v0002"
        path.write_text(json.dumps(hashing.sealed(content)))
    else:
        changed = {
            "edit": text.replace('"champion": "v0001"', '"champion": "v0002"'),
            "flip": text.replace("kiosk", "kioqk", 1),
            "truncate": text[:50],
        }
        path.write_text(changed[damage])
    assert registry.aliases("animals", fake.workspace) == EXPECTED
    assert "the aliases are those of log.jsonl: champion v0001" in caplog.text
    registry.alias("animals", "new", "v0002", fake.workspace, who="bob", why="shop")
    assert json.loads(path.read_bytes())["aliases"] == EXPECTED | {"new": "v0002"}


def test_alias_change_that_a_killed_writer_did_not_log_counts(fake, animals) -> None:
    lines = (animals / layout.LOG).read_bytes().splitlines(keepends=True)
    (animals / layout.LOG).write_bytes(b"".join(lines[:-1]))
    log.record_end(animals / layout.LOG)
    assert registry.aliases("animals", fake.workspace) == EXPECTED  # "old" was removed by the last change


@pytest.mark.parametrize("damage", ["flip", "line", "truncate", "delete"])
def test_damaged_log_is_refused(fake, animals, damage) -> None:
    path = animals / layout.LOG
    lines = path.read_bytes().splitlines(keepends=True)
    if damage == "delete":
        path.unlink()
    else:
        flipped = [lines[0].replace(b"v0001", b"v0003"), *lines[1:]]
        kept = {"flip": flipped, "line": lines[:-1], "truncate": [*lines[:3], lines[3][:9]]}
        path.write_bytes(b"".join(kept[damage]))
    with pytest.raises(RegistryError, match=r"log.jsonl is damaged"):
        registry.aliases("animals", fake.workspace)
    with pytest.raises(RegistryError, match=r"log.jsonl is damaged"):
        publish(fake, "three")


def test_log_of_an_earlier_version_is_read(fake, animals) -> None:
    """Its lines have no hash, and nothing records its length."""
    path = animals / layout.LOG
    path.write_text("".join(json.dumps(entry) + "\n" for entry in log.read(path)))
    log.end_path(path).unlink()
    content = json.loads((animals / layout.ALIASES).read_bytes())
    del content["sha256"]
    (animals / layout.ALIASES).write_text(json.dumps(content))
    assert registry.aliases("animals", fake.workspace) == EXPECTED
    publish(fake, "three")
    assert log.end_problem(path) == ""


def test_version_whose_manifest_was_edited_is_not_what_was_published(fake, animals) -> None:
    path = animals / "v0001" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["facts"]["classes"][0] = "another"
    del manifest["sha256"]
    for content in (manifest, hashing.sealed(manifest)):  # without a hash, or with a new one
        path.write_text(json.dumps(content))
        with pytest.raises(RegistryError, match="not what was published"):
            registry.resolve("animals", "v0001", fake.workspace)
