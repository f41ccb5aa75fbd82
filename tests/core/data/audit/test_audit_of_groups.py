"""What the audit says of groups, and of signs of groups in data without them."""

import re
import shlex
import zlib
from pathlib import Path

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.audit import audit as audit_stage
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.stage.handles import Audit
from tasks.core.workspace import Workspace
from tests.core.data.grouping.test_groups import patient_folder, photo_taken, tensors_of
from tests.support.sample_files import encoded, noise, put


def audited(root: Path, workspace: Workspace, group_by: str | None = None) -> Audit:
    raw = acquire.acquire(SourceSettings(str(root)), workspace)
    tensors = normalize.normalize(raw, NormalizeSettings(group_by=group_by), workspace)
    return audit_stage.audit(tensors, workspace, raw)


def proposed(audit: Audit) -> str:
    """The proposed option as a shell would read it."""
    return shlex.split(audit.findings[0].partition("--group-by ")[2])[0]


def test_names_of_patients_are_found_and_the_proposal_keeps_them_apart(
    tmp_path: Path, workspace: Workspace
) -> None:
    root = patient_folder(tmp_path / "scans", patients=40)
    audit = audited(root, workspace)
    assert re.match(
        r"\d+ of \d+ test images have names of series that train or val have images of, too \(such as p",
        audit.findings[0],
    )
    assert proposed(audit) == r"(p\d+)_\d+"
    grouped = audited(root, workspace, proposed(audit))
    assert not [finding for finding in grouped.findings if "--group-by" in finding]
    tensors = tensors_of(root, workspace, group_by=proposed(audit))
    train, val, test = tensors.groups
    assert grouped.findings[-1] == (
        f"test: {tensors.test} images of {test} groups, val: {tensors.val} images of {val} groups, "
        f"train: {tensors.train} images of {train} groups"
    )
    assert audit_stage.read_figures(grouped)["groups"] == {"train": train, "val": val, "test": test}


def test_bursts_are_found_by_their_time(tmp_path: Path, workspace: Workspace) -> None:
    root = tmp_path / "bursts"
    for number in range(160):
        content = photo_taken(f"2024:05:01 12:{number // 4:02}:00", str(number % 4))
        put(root / "ab"[(number // 4) % 2] / f"IMG_{number:04}.jpg", content)
    audit = audited(root, workspace)
    assert "were taken in the same second by the same camera as images in train or val" in audit.findings[0]
    assert proposed(audit) == "time-gap=1"
    assert not [finding for finding in audited(root, workspace, "time-gap=1").findings if "same" in finding]


def test_few_groups_are_a_plain_warning(tmp_path: Path, workspace: Workspace) -> None:
    """p001 and p003 are test by the hash of their names, p002 is val, p000 is train."""
    root = tmp_path / "scans"
    for number in range(32):  # each patient has images of both classes
        name = f"{'ab'[number // 4 % 2]}/p{number % 4:03}_{number:02}.png"
        put(root / name, encoded(noise(number, 8, 8)))
    findings = audited(root, workspace, r"(p\d+)_").findings
    assert (
        "test has only 2 groups and val has only 1 group: results are as uncertain as so few groups make "
        "them, however many images"
    ) in findings


def test_group_that_holds_a_whole_class_is_named(tmp_path: Path, workspace: Workspace) -> None:
    root = patient_folder(tmp_path / "scans", patients=30)
    for number in range(12):
        put(root / "rare" / f"p900_{number}.png", encoded(noise(5000 + number, 8, 8)))
    findings = audited(root, workspace, r"(p\d+)_").findings
    assert "all images of the class rare (p900) are of one group: it is in one split only" in findings


def test_splits_of_the_source_that_part_a_group_are_named(tmp_path: Path, workspace: Workspace) -> None:
    root = tmp_path / "scans"
    for split, patients in (("train", range(20)), ("val", range(20, 26)), ("test", range(25, 32))):
        for patient in patients:
            for number in range(3):
                name = f"{split}/{'ab'[number % 2]}/p{patient:03}_{number}{split[0]}.png"
                put(root / name, encoded(noise(zlib.crc32(name.encode()), 8, 8)))
    findings = audited(root, workspace, r"(p\d+)_").findings
    assert findings[0].startswith("1 group has images in test and in train or val")
    assert findings[0].endswith(": p025")
