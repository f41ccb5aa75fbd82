"""What a published file says about itself: its class names, and the images that it takes.

The same facts are in every format (docs/exports.md). They follow from the training's ingredients alone, so
that equal trainings still give byte-identical files: no date, no digest, and no version of Plumbline.
This module can be imported without TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.stage.handles import TensorCache

FORMAT = 1
KEY = "plumbline"  # under which other metadata has the description
FILE = "plumbline.json"
LABELS = "labels.txt"
# What Python's str.splitlines, and so many a reader, takes for the end of a line.
LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
ESCAPES = {
    **{ord(character): rf"\u{ord(character):04x}" for character in LINE_BREAKS},
    **{ord("\\"): r"\\", ord("\n"): r"\n", ord("\r"): r"\r"},
}


@dataclass(frozen=True)
class Description:
    """The facts that a published file has about itself.

    Args:
        dataset: Name of the dataset.
        classes: Class names; a label is an index into them.
        shape: Height, width and channels of the images that the model was trained on.
        fit: How an image of other proportions becomes that shape: "crop", "pad" or "stretch".
        recipe: Name of the recipe; empty if it is not known.
        any_size: Whether the file takes one image of any size, and fits and scales it to `shape`.
    """

    dataset: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    fit: str
    recipe: str = ""
    any_size: bool = False

    @classmethod
    def of(
        cls, tensors: TensorCache, shape: tuple[int, int, int], recipe: str = "", fit: str = ""
    ) -> "Description":
        """The description of a model that was trained on the images of tensors.

        Args:
            tensors: The tensors.
            shape: Height, width and channels of the images that the model takes.
            recipe: Name of the recipe; empty if it is not known.
            fit: How images are fitted; empty for the tensors' fit.
        """
        return cls(tensors.dataset, tensors.classes, shape, fit or tensors.fit, recipe)

    def facts(self) -> dict[str, Any]:
        """The description as JSON values."""
        height, width, channels = self.shape
        image = {
            "dtype": "uint8",
            "layout": "NHWC",
            "height": height,
            "width": width,
            "channels": channels,
            "range": [0, 255],
            "fit": self.fit,
        }
        if self.any_size:
            image |= {"batch": 1, "height": None, "width": None, "scaled_to": [height, width]}
        recipe = {"recipe": self.recipe} if self.recipe else {}
        return {
            "format": FORMAT,
            "dataset": self.dataset,
            "classes": list(self.classes),
            "input": image,
            "output": "probabilities",
            **recipe,
        }

    def input_text(self) -> str:
        """The input as a sentence."""
        height, width, channels = self.shape
        colour = "RGB" if channels == 3 else "grey"
        if self.any_size:
            return (
                f"one uint8 image (1, any, any, {channels}), {colour}, 0..255; "
                f"the model scales it to {height}x{width} and fits it by {self.fit}"
            )
        return (
            f"uint8 images (N, {height}, {width}, {channels}), {colour}, 0..255; "
            f"an image of other proportions is fitted by {self.fit}"
        )


def labels_text(classes: Sequence[str]) -> str:
    r"""The content of `labels.txt`: one class a line, in the order of the labels.

    A line break within a name is escaped, and so a backslash is doubled: the number of lines is always the
    number of classes. The JSON description has the names as they are.

    >>> labels_text(["cat", "sea\nlion"])
    'cat\nsea\\nlion\n'
    """
    return "".join(f"{name.translate(ESCAPES)}\n" for name in classes)
