"""Handles of models: trained, trained on all images, published."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tasks.core import shares
from tasks.core.config import Fit
from tasks.core.stage.handles.handle import Handle
from tasks.core.storage import manifests


@dataclass(frozen=True)
class Model(Handle):
    """A directory with `model.keras`.

    The model maps uint8 images of shape (N, H, W, C) to float32 probabilities of shape (N, classes).

    Args:
        model_sha256: SHA-256 of `model.keras`.
    """

    model_sha256: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that it takes."""
        height, width, channels = self.manifest["facts"]["shape"]
        return height, width, channels

    @property
    def fit(self) -> Fit:
        """How an image of other proportions becomes that shape."""
        return Fit.of(self.manifest["facts"])

    @property
    def grey_bits(self) -> int:
        """Bits of the grey values of images that have more than 8."""
        return int(self.manifest["facts"].get("grey_bits", 16))


@dataclass(frozen=True)
class TrainedModel(Model):
    """The output of training: `model.keras`, `history.parquet` and `weights.npz`.

    A training for a comparison of recipes also has `held_out.probabilities.npy`.

    Args:
        recipe: The name of the recipe.
        epochs: Epochs trained; 0 for a linear classifier of features.
        val_accuracy: Accuracy on the validation images, 0..1.
        resumed: How the training was resumed from a checkpoint, as text; empty if it was not.
        temperature: The model divides its logits by it; 1 for none.
        calibration: Why it has that temperature or none; empty for a model of an earlier version.
        replicas: Number of devices that trained it together.
        precision: The Keras name of the precision of the training; see `tasks.core.model.devices.device`.
        device: "CPU", or the name of the GPU.
    """

    HISTORY: ClassVar = "history.parquet"
    HELD_OUT: ClassVar = "held_out.probabilities.npy"

    recipe: str
    epochs: float
    val_accuracy: float
    resumed: str = ""
    temperature: float = 1.0
    calibration: str = ""
    replicas: int = 1
    precision: str = "float32"
    device: str = "CPU"

    def __str__(self) -> str:
        resumed = f" ({self.resumed})" if self.resumed else ""
        epochs = f", {round(self.epochs, 2):g} epoch{'s' * (self.epochs != 1)}" if self.epochs else ""
        replicas = f" on {self.replicas} replicas" if self.replicas > 1 else ""
        device = f" on {self.device}" if self.device != "CPU" else ""
        accuracy = f"val accuracy {shares.percent(self.val_accuracy)}"
        return f"{self.recipe}{epochs}{replicas}{device}, {accuracy}{resumed}"


@dataclass(frozen=True)
class FinalModel(Model):
    """A model of all images, those of the test set too. No test score is true of it, and no gate compares it.

    Args:
        recipe: The name of the recipe.
        trained: Number of images that it was trained on.
        held_back: Number of images that decided when to stop and the temperature.
    """

    recipe: str
    trained: int
    held_back: int

    def facts(self) -> dict[str, Any]:
        """What a version says of it; JSON values."""
        return {
            "model_sha256": self.model_sha256,
            "recipe": self.recipe,
            "trained_on": "all",
            "images": self.trained,
        }

    def __str__(self) -> str:
        held_back = f", {self.held_back:,} others decided when to stop" if self.held_back else ""
        return (
            f"{self.recipe}, trained on {shares.counted(self.trained, 'image')}, test images too{held_back}"
        )


@dataclass(frozen=True)
class ModelVersion(Model):
    """A published, immutable model. The registry's aliases say whether it is the champion.

    Args:
        dataset: As in `RawDataset`.
        version: "v0001" and so on.
    """

    dataset: str
    version: str


@dataclass(frozen=True)
class AllImagesVersion(ModelVersion):
    """The model of all images that lies in a version, to be used as one; its manifest is the version's."""

    FOLDER: ClassVar = "all_images"

    @property
    def directory(self) -> Path:
        """The folder of its `model.keras`; it has no profile."""
        return super().directory / self.FOLDER

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the version."""
        return manifests.read(super().directory)
