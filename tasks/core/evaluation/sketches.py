"""Sketches of test sets, which tell whether two are the same one: the 256 smallest hashes of image ids.

Two sketches tell the share of images that the sets have in common (bottom-k sketches: A. Broder, "On the
resemblance and containment of documents", 1997), exactly up to 256 images, and with a standard error of at
most 3 points beyond.
"""

from hashlib import blake2b
from typing import Any

from tasks.core.stage.handles import TensorCache

SIZE = 256

Sketch = dict[str, Any]


def sketch_of(tensors: TensorCache) -> Sketch:
    """The sketch of the test images: `images`, the number of different ones, and `smallest`, the hashes."""
    # Imported here: it brings numpy and pyarrow, 0.2 s that `plumbline models list` does not need.
    from tasks.core.data.tensors.cache import read_rows

    ids = set(read_rows(tensors, ["image_id"], "test")["image_id"].to_pylist())
    hashes = sorted(blake2b(str(image_id).encode(), digest_size=6).hexdigest() for image_id in ids)
    return {"images": len(ids), "smallest": hashes[:SIZE]}


def share_of_known(now: Sketch, before: Sketch) -> float:
    """The share of the images of one set that an earlier set has, too, 0..1, as far as sketches tell.

    Args:
        now: The sketch of the set.
        before: The sketch of the earlier one.
    """
    current, earlier = set(now["smallest"]), set(before["smallest"])
    whole = now["images"] <= SIZE and before["images"] <= SIZE
    smallest = sorted(current | earlier)[: None if whole else SIZE]
    resemblance = len(current & earlier & set(smallest)) / len(smallest)
    common = resemblance / (1 + resemblance) * (now["images"] + before["images"])
    return float(min(1.0, common / now["images"]))
