"""`plumbline doctor` over every file of a workspace: a flipped bit, a truncation, a deletion of each, a
folder in its place.

Exceptions, which decide nothing:

- lock files: they are empty;
- `models/<dataset>/card_notes.md`: people edit it, and a missing one is written again;
- a deleted record in `results/`: the next run finds the output without it.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.core.data.files import file_stats
from tasks.core.data.files.file_hashes import Hashes
from tasks.core.model.features.feature_store import FeatureStore
from tasks.core.operations.doctor import diagnostics
from tasks.core.operations.doctor.finding import Finding
from tasks.core.registry import registry
from tasks.core.runs import tables
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace
from tests.core.registry.promotion.test_promotion import promote
from tests.support.fake_outputs import FakeOutputs
from tests.support.run_cli import Plumbline

DAMAGES = ("flip", "truncate", "delete", "folder")
NOTES = "card_notes.md"


def problems(workspace: Workspace) -> list[Finding]:
    return [finding for finding in diagnostics.check_files(workspace) if finding.fix]


def damage(path: Path, kind: str) -> None:
    """Flip a bit in the middle, cut a third off, delete, or make a folder of it; time (and size) are kept."""
    content, status = bytearray(path.read_bytes()), path.stat()
    if kind in ("delete", "folder"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
        return
    content[len(content) // 2] ^= 1
    path.write_bytes(content if kind == "flip" else content[: 2 * len(content) // 3])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def is_exception(path: Path, kind: str) -> bool:
    return path.name == NOTES or (path.parent.name == "results" and kind == "delete")


def damages(workspace: Workspace) -> Iterator[tuple[Path, str]]:
    """Each damage, done for the time of one iteration."""
    files = [
        path
        for path in sorted(workspace.root.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    ]
    for path in files:
        content, status = path.read_bytes(), path.stat()
        for kind in DAMAGES:
            if not is_exception(path, kind):
                damage(path, kind)
                yield path, kind
                if path.is_dir():
                    path.rmdir()
                path.write_bytes(content)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def assert_each_damage_is_named(workspace: Workspace) -> int:
    assert problems(workspace) == []
    count = 0
    for path, kind in damages(workspace):
        count += 1
        texts = [finding.found for finding in problems(workspace)]
        named = (path.name, path.parent.name, path.name.removeprefix(".").removesuffix(".end"))
        assert any(name in text for text in texts for name in named), (path, kind, texts)
    return count


@pytest.fixture
def filled(fake: FakeOutputs, tmp_path: Path) -> Workspace:
    """A workspace with outputs, versions, decisions, tables, remembered hashes and features."""
    fake = fake.with_fields(images=50)
    promote(fake, "one", 1.0)
    promote(fake, "two", 1.0, champion_evaluation=fake.evaluation("one", 1.0), seed=5)
    tables.append("runs", "animals", "r1", pd.DataFrame([{"test_accuracy": 0.9}]), fake.workspace)
    (tmp_path / "photos").mkdir()
    photo = tmp_path / "photos" / "a"
    photo.write_text("a")
    os.utime(photo, (1e9, 1e9))
    hashes = Hashes(photo.parent, fake.workspace)
    hashes.compute(file_stats.stats_table(photo.parent, [file_stats.file_stat("a", "", "", photo.stat())]))
    hashes.remember()
    FeatureStore(fake.workspace.root / "features" / "0123456789abcdef").add(
        ["a"], np.ones((1, 2), np.float16)
    )
    return fake.workspace


@pytest.mark.slow
def test_doctor_names_each_damage_of_each_file(filled: Workspace) -> None:
    assert assert_each_damage_is_named(filled) >= 3 * 40


def test_fix_mends_what_can_be_made_again(filled: Workspace) -> None:
    """All but models: afterwards only published versions are damaged, and each of them still is."""
    for path in sorted(filled.root.rglob("*")):
        if path.is_file() and not path.name.endswith(".lock") and "models" not in path.parts:
            damage(path, "flip")
    model = filled.models / "animals" / "v0001" / "model.keras"
    damage(model, "flip")
    damage(filled.models / "animals" / "aliases.json", "truncate")
    before = model.read_bytes()
    assert diagnostics.mend(filled)
    assert model.read_bytes() == before
    assert [finding.found for finding in problems(filled)] == [
        manifests.find_damage(model.parent, thorough=True)
    ]
    assert registry.aliases("animals", filled) == {"champion": "v0001"}
    assert tables.read("runs", filled).empty
    assert len(list((filled.metrics / "runs" / "dataset=animals").glob("_r1.parquet.damaged"))) == 1


def test_fix_goes_on_with_the_intact_lines_of_a_damaged_log(filled: Workspace) -> None:
    registry.promote("animals", "v0002", filled, who="ann", why="by hand")
    damage(filled.models / "animals" / "log.jsonl", "truncate")
    assert any("goes on with" in finding.fix for finding in problems(filled))
    diagnostics.mend(filled)
    assert problems(filled) == []
    assert registry.aliases("animals", filled) == {"champion": "v0002", "previous": "v0001"}
    assert registry.history("animals", filled)[-1]["action"] == "repair"
    assert len(list((filled.models / "animals").glob("log.jsonl.damaged-*"))) == 1
    registry.rollback("animals", filled, who="ann", why="back")
    assert registry.aliases("animals", filled)["champion"] == "v0001"


def test_doctor_names_leftovers_called_copy_and_directories_without_a_manifest(filled: Workspace) -> None:
    copy = filled.root / "downloads" / "abc" / "x.tar.gz.copy"
    copy.parent.mkdir(parents=True)
    copy.write_text("half")
    (filled.models / "animals" / "v0002" / "manifest.json").unlink()
    findings = [finding.found for finding in diagnostics.check_files(filled)]
    assert any("v0002" in text and "not a finished output" in text for text in findings)
    assert f"removed {filled.relative(copy)}" in diagnostics.mend(filled)
    assert (filled.models / "animals" / "v0002").exists()


@pytest.mark.stress
def test_doctor_names_each_damage_of_a_finished_run_and_the_next_run_is_right(plumbline: Plumbline) -> None:
    """Each damage is named. The run after all files of a folder are damaged ends as before, or is refused."""
    plumbline.ok("--epochs", "2")
    workspace = Workspace.open(plumbline.workspace)
    champion = registry.champion("digits", workspace)
    assert champion is not None
    count = assert_each_damage_is_named(workspace)
    print(f"found {count} of {count}")
    assert count > 200
    kept = plumbline.workspace.parent / "kept"
    shutil.copytree(workspace.root, kept)
    for folder in sorted(path.name for path in kept.glob("[!.]*")):
        for kind in DAMAGES:
            shutil.rmtree(workspace.root)
            shutil.copytree(kept, workspace.root)
            for path in sorted((workspace.root / folder).rglob("*")):
                if path.is_file() and not path.name.endswith(".lock"):
                    damage(path, kind)
            done = plumbline.train("--epochs", "2", "--refresh", "label_issues")
            text = done.stdout + done.stderr
            assert "Traceback" not in text, (folder, kind, text)
            if done.returncode == 0 and folder != "models":
                after = registry.champion("digits", workspace)
                assert after is not None
                assert after.model_sha256 == champion.model_sha256, (folder, kind)
