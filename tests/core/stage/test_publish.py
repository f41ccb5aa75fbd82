"""Publishing finished directories: once, completely, and with every damage detected."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tasks.core.errors import FormatError
from tasks.core.stage import ingredients, publish
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import manifests

ROOT = Path(__file__).resolve().parents[3]
INGREDIENTS = Ingredients("normalize", {"raw": "abc"}, {"image_size": 32})


def build(directory: Path) -> dict[str, int]:
    """Writes two small files."""
    (directory / "a.txt").write_text("one")
    (directory / "b.txt").write_text("two")
    return {"files": 2}


def test_publish_twice_builds_once(tmp_path: Path) -> None:
    calls = []

    def counting_build(directory: Path) -> dict[str, int]:
        calls.append(directory)
        return build(directory)

    first = publish.publish(tmp_path / "d", INGREDIENTS, counting_build)
    second = publish.publish(tmp_path / "d", INGREDIENTS, counting_build)
    assert len(calls) == 1
    assert first == second
    assert first["facts"] == {"files": 2}
    assert set(first["files"]) == {"a.txt", "b.txt"}
    assert first["digest"] == INGREDIENTS.digest
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_publish_when_the_build_fails_keeps_the_previous_directory(tmp_path: Path) -> None:
    publish.publish(tmp_path / "d", INGREDIENTS, build)

    def failing_build(directory: Path) -> dict[str, int]:
        (directory / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        publish.publish(tmp_path / "d", INGREDIENTS, failing_build, refresh=True)
    with pytest.raises(OSError, match="disk full"):
        publish.publish(tmp_path / "e", INGREDIENTS, failing_build)
    assert manifests.is_complete(tmp_path / "d")
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")) == ["d"]


def test_publish_after_a_killed_build_removes_its_staging_directory(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import os, signal, sys
        from pathlib import Path
        from tasks.core.stage import publish
        from tasks.core.stage.ingredients import Ingredients
        def build(directory):
            (directory / "half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        publish.publish(Path({str(tmp_path / "d")!r}), Ingredients("normalize", {{}}, {{}}), build)
    """)
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    assert len(list(tmp_path.glob(".d.*.tmp"))) == 1
    publish.publish(tmp_path / "d", INGREDIENTS, build)
    assert list(tmp_path.glob(".d.*.tmp")) == []
    assert manifests.is_complete(tmp_path / "d")


@pytest.mark.parametrize("thorough", [False, True])
def test_find_damage_reports_changed_and_missing_files(tmp_path: Path, thorough: bool) -> None:
    publish.publish(tmp_path / "d", INGREDIENTS, build)
    (tmp_path / "d" / "a.txt").write_text("onE")  # the same size: only the content differs
    assert "other content" in manifests.find_damage(tmp_path / "d", thorough=thorough)
    (tmp_path / "d" / "a.txt").unlink()
    assert "missing" in manifests.find_damage(tmp_path / "d", thorough=thorough)


def test_find_damage_of_a_large_file_with_kept_mtime_needs_thorough(tmp_path: Path) -> None:
    def build_large(directory: Path) -> dict[str, int]:
        (directory / "big").write_bytes(b"x" * (manifests.ALWAYS_HASHED_BYTES + 1))
        return {}

    publish.publish(tmp_path / "d", INGREDIENTS, build_large)
    path = tmp_path / "d" / "big"
    times = path.stat()
    path.write_bytes(b"y" * (manifests.ALWAYS_HASHED_BYTES + 1))
    assert "other content" in manifests.find_damage(tmp_path / "d")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert manifests.find_damage(tmp_path / "d") == ""
    assert "other content" in manifests.find_damage(tmp_path / "d", thorough=True)


def test_find_damage_of_a_manifest_whose_values_are_the_same_needs_thorough(tmp_path: Path) -> None:
    """Doubles are 5.6e-17 apart at 0.3, so that another last digit is the same number."""
    publish.publish(tmp_path / "d", INGREDIENTS, lambda folder: build(folder) | {"share": 0.1 + 0.2})
    path = tmp_path / "d" / "manifest.json"
    text = path.read_text()
    assert manifests.find_damage(tmp_path / "d", thorough=True) == ""
    path.write_text(text.replace("0.30000000000000004", "0.30000000000000005"))
    assert manifests.find_damage(tmp_path / "d") == ""
    assert "other bytes" in manifests.find_damage(tmp_path / "d", thorough=True)


def test_is_complete_after_a_copy_with_new_mtimes_is_true(tmp_path: Path) -> None:
    publish.publish(tmp_path / "d", INGREDIENTS, build)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (tmp_path / "d").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert manifests.is_complete(copy)


def test_read_manifest_of_unknown_format_is_refused_and_named(tmp_path: Path) -> None:
    publish.publish(tmp_path / "d", INGREDIENTS, build)
    path = tmp_path / "d" / manifests.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(FormatError, match="format 99"):
        manifests.read(tmp_path / "d")


def test_digest_changes_with_every_ingredient() -> None:
    variants = [
        INGREDIENTS,
        Ingredients("audit", {"raw": "abc"}, {"image_size": 32}),
        Ingredients("normalize", {"raw": "abd"}, {"image_size": 32}),
        Ingredients("normalize", {"raw": "abc"}, {"image_size": 33}),
        Ingredients("normalize", {"raw": "abc"}, {"image_size": 32}, modules=("tasks.core.stage.publish",)),
        Ingredients("normalize", {"raw": "abc"}, {"image_size": 32}, libraries=("numpy",)),
    ]
    assert len({variant.digest for variant in variants}) == len(variants)
    assert Ingredients("normalize", {"raw": "abc"}, {"image_size": 32}).digest == INGREDIENTS.digest


def test_changes_name_code_inputs_libraries_and_parameters() -> None:
    old = {
        "code": {"data.decode": "a", "data.rows": "c"},
        "inputs": {"raw": "1"},
        "parameters": {"learning_rate": 0.4, "epochs": 10},
        "libraries": {"numpy": "2.0"},
    }
    new = {
        "code": {"data.decode": "b", "data.rows": "c"},
        "inputs": {"raw": "2"},
        "parameters": {"learning_rate": 0.2, "epochs": 10},
        "libraries": {"numpy": "2.1"},
    }
    assert ingredients.changes(old, new) == [
        "code of data.decode changed",
        "raw changed",
        "numpy 2.0 -> 2.1",
        "learning_rate 0.4 -> 0.2",
    ]
    assert ingredients.changes(old, old) == []


def test_changes_tell_a_new_input_from_a_changed_one() -> None:
    old = {"code": {"a": "1", "b": "1"}, "inputs": {"audit": "1", "raw": "1"}, "parameters": {"k": None}}
    new = {"code": {"a": "1", "c": "1"}, "inputs": {"raw": "2", "features": "3"}, "parameters": {"k": 2}}
    assert ingredients.changes(old, new) == [
        "code of c is new",
        "code of b is not used any more",
        "audit is not read any more",
        "features is new",
        "raw changed",
        "k none -> 2",
    ]


def test_changes_a_parameter_named_format_is_no_earlier_version() -> None:
    old, new = ({"format": 2, "parameters": {"format": name}} for name in ("digits", "folder"))
    assert ingredients.changes(old, new) == ["format digits -> folder"]
