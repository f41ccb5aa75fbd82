"""The feature_audit stage: duplicates, leaks and outliers that only features show.

It finds what differs in its pixels and shows one scene: crops, small rotations, pasted captions, bursts. The
output completes that of the audit: `duplicates.parquet` has the pairs of both, and the masks of leaks mark
the leaks of both, so that whoever reads an audit can read this one. `outliers.parquet` has the images that
are unlike all others of their class.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.data.audit import duplicate_table, duplicates
from tasks.core.data.audit.duplicates import Duplicates
from tasks.core.data.audit.image_set import ImageSet
from tasks.core.data.tensors.cache import SPLITS, read_rows
from tasks.core.model.features import similar_images
from tasks.core.model.features.reading import averaged, open_features
from tasks.core.model.features.whitening import BLOCK
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Audit, FeatureAudit, Features, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import FEATURE_AUDIT
from tasks.core.workspace import Workspace

OUTLIERS = "outliers.parquet"
KIND = "similar"  # in the table of duplicates
Numbers = NDArray[np.int64]


def ingredients(tensors: TensorCache, audit: Audit, features: Features) -> Ingredients:
    """What the audit by features follows from."""
    inputs = {"tensors": tensors.digest, "audit": audit.digest, "features": features.digest}
    return FEATURE_AUDIT.ingredients(inputs, {})


def feature_audit(
    tensors: TensorCache,
    audit: Audit,
    features: Features,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> FeatureAudit:
    """Look for pairs that show the same scene within and across splits, and for outliers of a class.

    Args:
        tensors: The images.
        audit: Their audit, whose pairs are not listed again.
        features: Their features.
        workspace: Where the output is written.
        refresh: Whether to write the output again if it exists.
        progress: Called with images done.
    """

    def build(staging: Path) -> dict[str, Any]:
        return _build(staging, tensors, audit, features, progress)

    return FEATURE_AUDIT.output(ingredients(tensors, audit, features), workspace, build, refresh=refresh)


def _build(
    directory: Path, tensors: TensorCache, audit: Audit, features: Features, progress: Progress
) -> dict[str, Any]:
    image_set = ImageSet.of(tensors)
    values = _averaged_features(features)
    contents = image_set.contents(read_rows(tensors, ["split", "row", "image_id"]))
    pairs = _without(_similar(values, contents, progress), audit, image_set)
    known = {split: duplicate_table.read_leaks(audit, split) for split in SPLITS}
    leaks = {
        split: mask | known[split] for split, mask in duplicates.leaking(pairs, image_set.starts).items()
    }
    _write_pairs(directory, audit, pairs, image_set)
    for split, mask in leaks.items():
        np.save(directory / duplicate_table.leaks_of(split), mask)
    outliers = _write_outliers(directory, values, image_set)
    more = int(leaks["test"].sum() - known["test"].sum())
    return {"findings": _findings(pairs, image_set, more, outliers, tensors)}


def _averaged_features(features: Features) -> NDArray[np.float16]:
    """The features of all splits, averaged over the views: float16 (N, 1, D), 2.5 kB an image of 1,280."""
    blocks = []
    for split in SPLITS:
        values = open_features(features, split)
        for start in range(0, max(1, len(values)), BLOCK):
            block = averaged(values[start : start + BLOCK])[:, None]
            blocks.append(block.astype(np.float16))
    return np.concatenate(blocks)


def _similar(values: NDArray[np.float16], contents: Numbers, progress: Progress) -> Duplicates:
    """The pairs of similar images; one image of each content takes part."""
    _, first = np.unique(contents, return_index=True)
    first = np.sort(first)
    pairs = similar_images.similar_pairs(values[first] if len(first) < len(values) else values, progress)
    distance = pairs.distance.astype(np.float64)
    return Duplicates(first[pairs.a], first[pairs.b], distance, np.zeros(len(distance), bool), contents)


def _without(pairs: Duplicates, audit: Audit, image_set: ImageSet) -> Duplicates:
    """The pairs that the audit does not have."""
    known = _codes(*_known(audit, image_set), pairs.contents)
    new = ~np.isin(_codes(pairs.a, pairs.b, pairs.contents), known)
    return Duplicates(pairs.a[new], pairs.b[new], pairs.distance[new], pairs.exact[new], pairs.contents)


def _codes(a: Numbers, b: Numbers, contents: Numbers) -> Numbers:
    """A number for each pair of contents, whatever their order."""
    one, other = contents[a], contents[b]
    return np.minimum(one, other) * len(contents) + np.maximum(one, other)


def _known(audit: Audit, image_set: ImageSet) -> tuple[Numbers, Numbers]:
    """The numbers of the images of the audit's pairs."""
    table = duplicate_table.read(audit)
    columns = [
        pa.table({"split": table[f"split_{side}"], "row": table[f"row_{side}"]}) for side in ("a", "b")
    ]
    a, b = (image_set.numbers(column) for column in columns)
    return a, b


def _write_pairs(directory: Path, audit: Audit, pairs: Duplicates, image_set: ImageSet) -> None:
    """The pairs of the audit, then those by features, in each case the closest first."""
    found = duplicates.table(pairs, image_set.starts)
    column = found.schema.get_field_index("kind")
    found = found.set_column(column, found.schema.field("kind"), pa.array([KIND] * len(found), pa.string()))
    both = pa.concat_tables([duplicate_table.read(audit), found.sort_by("distance")])
    pq.write_table(both, directory / duplicate_table.NAME)


def _write_outliers(directory: Path, values: NDArray[np.float16], image_set: ImageSet) -> int:
    """Write the images unlike their class, the least similar first; returns their number."""
    similarity = similar_images.similarity_to_class(values, image_set.labels)
    numbers = np.flatnonzero(similar_images.outliers(similarity))
    numbers = numbers[np.argsort(similarity[numbers], kind="stable")]
    split = np.searchsorted(image_set.starts, numbers, side="right") - 1
    columns = {
        "split": pa.array(np.array(SPLITS, object)[split], pa.string()),
        "row": pa.array(numbers - image_set.starts[split], pa.int64()),
        "label": pa.array(image_set.labels[numbers], pa.int32()),
        "similarity": pa.array(similarity[numbers], pa.float32()),
    }
    pq.write_table(pa.table(columns), directory / OUTLIERS)
    return len(numbers)


def _findings(
    pairs: Duplicates, image_set: ImageSet, leaks: int, outliers: int, tensors: TensorCache
) -> list[str]:
    """One sentence for each problem, the most serious first."""
    differ = int((image_set.labels[pairs.a] != image_set.labels[pairs.b]).sum())
    show = "shows" if leaks == 1 else "show"
    images = shares.counted(tensors.test, "test image")
    findings = {
        f"{leaks:,} more of {images} {show} a scene of train or val": leaks,
        f"{shares.said(differ, 'pair', 'pairs')} of one scene with different labels": differ,
        f"{shares.said(len(pairs.a), 'more pair shows', 'more pairs show')} one scene, by features": len(
            pairs.a
        ),
        f"{shares.said(outliers, 'image is', 'images are')} unlike the others of their class": outliers,
    }
    return [sentence for sentence, count in findings.items() if count]
