"""The handle of class activation maps."""

from dataclasses import dataclass

from tasks.core import shares
from tasks.core.stage.handles.handle import Handle


@dataclass(frozen=True)
class Saliency(Handle):
    """Class activation maps of some test images; no files if the network has no map that is fine enough.

    Args:
        model_sha256: SHA-256 of the `model.keras` that computed them.
        layer: Name of the layer whose output the maps are of; empty without maps.
        rows, columns: Cells of a map; 0 without maps.
        images: Number of images.
        adds_up: Whether the cells of a map and the constant of its class add up to the logit.
    """

    model_sha256: str
    layer: str
    rows: int
    columns: int
    images: int
    adds_up: bool

    def __str__(self) -> str:
        if not self.layer:
            return "none: the network's maps are too coarse"
        return (
            f"{shares.counted(self.images, 'test image')}, {self.rows}x{self.columns} cells of {self.layer}"
        )
