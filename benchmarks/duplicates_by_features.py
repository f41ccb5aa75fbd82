"""Duplicates that the audit finds by pixels and by features, among copies planted in a folder of photos.

python benchmarks/duplicates_by_features.py --dataset PHOTOS [--copies 60] [--label-errors 0.05]

Copies of photos are added: recompressed (JPEG quality 30 to 60), shifted by a sixteenth of a side, mirrored,
cropped to 80 % of each side, rotated by 5 degrees, with a caption over 14 % of the height, and the next frame
of a burst (moved, a little closer, darker or brighter, with noise). The folder is not changed. The threshold
of the features was chosen on other kinds of copies (tasks/core/model/features/similar_images.py). "Others"
are pairs that were not planted: true ones of the folder and false ones; the picture shows the closest of
them, to count by eye. Foreign photos of another folder can be planted, too, as outliers.

With --label-errors, a share of the labels is made wrong, and counted among the label issues of train, val and
test, from cross-validated predictions by features.
"""

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.planted_copies import plant
from tasks.core.config import EmbedSettings, NormalizeSettings, SourceSettings
from tasks.core.data.audit import audit, duplicate_table
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import SPLITS, open_split, read_rows
from tasks.core.metrics.labels import confident_learning
from tasks.core.model.features import embed, feature_audit, reading
from tasks.core.model.transfer import head
from tasks.core.operations import environment
from tasks.core.stage.handles import Audit, Features, RawDataset, TensorCache
from tasks.core.workspace import Workspace

BACKBONE = "efficientnet-lite0"
SIDE = 110  # pixels of an image in the picture
Pairs = dict[frozenset[str], str]  # the kind, by the paths of both images


def prepared(
    photos: Path, workspace: Workspace, corrections: Path | None = None
) -> tuple[RawDataset, TensorCache]:
    raw = acquire.acquire(SourceSettings(str(photos), corrections=corrections), workspace)
    return raw, normalize.normalize(raw, NormalizeSettings(), workspace)


def features_of(raw: RawDataset, tensors: TensorCache, workspace: Workspace) -> Features:
    return embed.embed(raw, tensors, EmbedSettings(BACKBONE), workspace)


def paths_of(tensors: TensorCache) -> dict[tuple[str, int], str]:
    rows = read_rows(tensors, ["split", "row", "path"]).to_pylist()
    return {(row["split"], row["row"]): row["path"] for row in rows}


def pairs_of(audited: Audit, tensors: TensorCache) -> Pairs:
    """All pairs of an audit, in their order."""
    paths = paths_of(tensors)
    return {
        frozenset(paths[pair[f"split_{side}"], pair[f"row_{side}"]] for side in "ab"): pair["kind"]
        for pair in duplicate_table.read(audited).to_pylist()
    }


def is_planted(pair: frozenset[str], planted: dict[str, dict[str, str]]) -> bool:
    """Whether both images come from one photo, or are near to such: copies of photos of one pair, too."""
    originals = {copy: photo for copies in planted.values() for copy, photo in copies.items()}
    return len({originals.get(path, path) for path in pair}) == 1


def show_duplicates(
    by: dict[str, Pairs], planted: dict[str, dict[str, str]], foreign: int, listed: list[str]
) -> None:
    """The table of what was found."""
    print(f"\n{'':24}" + "".join(f"{name:>12}" for name in by))
    for kind, copies in planted.items():
        found = [np.mean([frozenset(pair) in pairs for pair in copies.items()]) for pairs in by.values()]
        print(f"{kind:24}" + "".join(f"{share:12.1%}" for share in found))
    others = [sum(not is_planted(pair, planted) for pair in pairs) for pairs in by.values()]
    print(f"{'others, in pairs':24}" + "".join(f"{count:12,}" for count in others))
    if foreign:
        found_foreign = sum("foreign-" in path for path in listed)
        print(
            f"outliers: {found_foreign} of {foreign} foreign photos, and {len(listed) - found_foreign} others"
        )


def draw(pairs: list[frozenset[str]], folder: Path, path: Path) -> None:
    """Pairs side by side, eight in a row."""
    rows = max(1, -(-len(pairs) // 8))
    sheet = Image.new("RGB", (8 * (2 * SIDE + 6), rows * (SIDE + 4)), "white")
    for place, pair in enumerate(pairs):
        for side, name in enumerate(sorted(pair)):
            picture = Image.open(folder / name).convert("RGB").resize((SIDE, SIDE))
            sheet.paste(picture, (place % 8 * (2 * SIDE + 6) + side * SIDE, place // 8 * (SIDE + 4)))
    sheet.save(path)


def duplicates(given: argparse.Namespace, workspace: Workspace, folder: Path) -> None:
    foreign = sorted(given.foreign.glob("*/*"))[:: given.every][: given.outliers] if given.foreign else []
    planted = plant(Path(given.dataset), folder, given.copies, foreign)
    raw, tensors = prepared(folder, workspace)
    print(f"{tensors}\n{given.copies} copies of each kind")
    by_pixels, cost = timed(lambda: audit.audit(tensors, workspace))
    print(f"by pixels: {cost}")
    features, cost = timed(lambda: features_of(raw, tensors, workspace))
    print(f"embed: {cost}")
    both, cost = timed(lambda: feature_audit.feature_audit(tensors, by_pixels, features, workspace))
    print(f"by features, after embed: {cost}")
    pixel_pairs, all_pairs = pairs_of(by_pixels, tensors), pairs_of(both, tensors)
    # The pairs that pixels show too are left out of the second audit, so it is asked about all of them.
    nothing = audit_without_pairs(by_pixels, tensors, workspace)
    alone = pairs_of(feature_audit.feature_audit(tensors, nothing, features, workspace), tensors)
    paths = paths_of(tensors)
    rows = pq.read_table(both.directory / feature_audit.OUTLIERS).to_pylist()
    show_duplicates(
        {"pixels": pixel_pairs, "features": alone, "both": all_pairs},
        planted,
        len(foreign),
        [paths[row["split"], row["row"]] for row in rows],
    )
    others = [pair for pair in alone if not is_planted(pair, planted)]
    draw(others[:48], folder, given.picture)
    print(f"{given.picture} shows {min(48, len(others))} of the others, the closest first")


def audit_without_pairs(audited: Audit, tensors: TensorCache, workspace: Workspace) -> Audit:
    """An audit that has found nothing."""
    from tasks.core.stage.stages import AUDIT

    def build(staging: Path) -> dict[str, Any]:
        empty = duplicate_table.read(audited).slice(0, 0)
        pq.write_table(empty, staging / duplicate_table.NAME)
        for split in SPLITS:
            mask = np.zeros(getattr(tensors, split), bool)
            np.save(staging / duplicate_table.leaks_of(split), mask)
        return {"findings": []}

    return AUDIT.output(AUDIT.ingredients({"tensors": tensors.digest}, {"empty": True}), workspace, build)


def label_errors(given: argparse.Namespace, workspace: Workspace) -> None:
    """Wrong labels among all images, found by the predictions of five folds."""
    _, clean = prepared(Path(given.dataset), workspace)
    right = labels_by_id(clean)
    found = []
    for seed in range(given.seeds):
        path = workspace.root / f"errors.{seed}.csv"
        write_errors(path, right, clean.classes, given.label_errors, seed)
        raw, tensors = prepared(Path(given.dataset), workspace, path)
        features = features_of(raw, tensors, workspace)
        found.append(figures(tensors, features, right))
    print(f"\nlabel issues in train, val and test, {len(right):,} images, {given.seeds} draws")
    means, deviations = np.mean(found, axis=0), np.std(found, axis=0)
    names = ("wrong labels", "listed", "precision", "recall", "precision at their number")
    for name, mean, deviation in zip(names, means, deviations, strict=True):
        print(f"{name:26} {mean:8.3g} ± {deviation:.2g}")


def figures(tensors: TensorCache, features: Features, right: dict[str, str]) -> list[float]:
    """Number of wrong labels, of listed images, precision, recall, precision at the number of wrong ones."""
    values = np.concatenate([reading.averaged(reading.open_features(features, split)) for split in SPLITS])
    labels = np.concatenate([np.asarray(open_split(tensors, split).labels) for split in SPLITS])
    logits = head.fit(values, labels.astype(np.int32), len(tensors.classes)).held_out.astype(np.float64)
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    told = (exponentials / exponentials.sum(1, keepdims=True)).astype(np.float32)
    listed = confident_learning.find_issues(labels.astype(np.int64), told)
    rows = read_rows(tensors, ["split", "row", "image_id"]).to_pylist()
    ids = {(row["split"], row["row"]): row["image_id"] for row in rows}
    order = [ids[split, row] for split in SPLITS for row in range(getattr(tensors, split))]
    wrong = np.array([right[i] != tensors.classes[label] for i, label in zip(order, labels, strict=True)])
    count = int(wrong.sum())
    hits = wrong[listed]
    return [count, len(listed), hits.mean(), hits.sum() / count, hits[:count].mean()]


def labels_by_id(tensors: TensorCache) -> dict[str, str]:
    rows = read_rows(tensors, ["image_id", "class_name"]).to_pylist()
    return {row["image_id"]: row["class_name"] for row in rows}


def write_errors(
    path: Path, right: dict[str, str], classes: tuple[str, ...], share: float, seed: int
) -> None:
    """Wrong labels as corrections."""
    generator = np.random.default_rng(seed)
    ids = np.array(sorted(right))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image_id", "class_name"))
        for image_id in generator.permutation(ids)[: round(share * len(ids))]:
            others = [name for name in classes if name != right[image_id]]
            writer.writerow((image_id, others[generator.integers(len(others))]))


def timed(work: Callable[[], Any]) -> tuple[Any, str]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, f"{time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} CPU-seconds"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="a folder of photos, <class>/<photo>")
    parser.add_argument("--copies", type=int, default=60, help="planted copies of each kind")
    parser.add_argument("--foreign", type=Path, help="a folder of other photos, planted as outliers")
    parser.add_argument("--outliers", type=int, default=15, help="how many of them")
    parser.add_argument("--every", type=int, default=80, help="the step from one of them to the next")
    parser.add_argument("--label-errors", type=float, default=0.05, help="share of wrong labels; 0 for none")
    parser.add_argument("--seeds", type=int, default=5, help="draws of wrong labels")
    parser.add_argument("--picture", type=Path, default=Path("pairs.png"))
    parser.add_argument("--workspace", type=Path, help="to keep what is computed")
    given = parser.parse_args()
    environment.prepare()
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Workspace.open(given.workspace or Path(temporary) / "workspace")
        duplicates(given, workspace, Path(temporary) / "photos")
        if given.label_errors:
            label_errors(given, workspace)


if __name__ == "__main__":
    main()
