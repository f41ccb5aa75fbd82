"""Handles: what stages pass to each other. A handle names a finished directory and has a few facts about it.

`handle.py` has their base, and says what constructing one checks.
"""

from dataclasses import dataclass
from typing import Any

from tasks.core import shares
from tasks.core.config import Fit
from tasks.core.stage.handle import Handle as Handle
from tasks.core.storage import hashing

UNUSED_FILES = "unused_files"  # the ingredient of a listing that names the files that are no images


@dataclass(frozen=True)
class RawDataset(Handle):
    """The source images: a verified archive, or a listing of a folder with the SHA-256 of each file.

    Args:
        dataset: The name under which models, tables and reports are stored.
        format: The reader: "digits", "cifar", "idx", "folder" or "parquet".
        root: Where the images are: relative to the workspace for archives, absolute for folders, empty for
            bundled data.
        images: Number of images in all splits.
        unused_files: Number of files that are no images, each named in `quarantine.parquet`.
    """

    dataset: str
    format: str
    root: str
    images: int
    unused_files: int = 0

    @property
    def images_digest(self) -> str:
        """The digest that the listing would have without files that are no images.

        These files decide no tensor: a note or a video beside the photos must not train a model again.
        """
        record = self.manifest["ingredients"]
        inputs = {name: digest for name, digest in record["inputs"].items() if name != UNUSED_FILES}
        return hashing.digest_of(record | {"inputs": inputs})

    def __str__(self) -> str:
        unused = f", {self.unused_files:,} other files" if self.unused_files else ""
        return f"{self.dataset}: {self.images:,} images{unused}"


@dataclass(frozen=True)
class TensorCache(Handle):
    """Decoded images of one shape as uint8 arrays, split into train, val and test.

    Args:
        dataset: As in `RawDataset`.
        classes: Class names; a label is an index into them.
        shape: Height, width and channels of an image.
        train, val, test: Number of images in each split.
        quarantined: Number of images that were left out.
        fit: How images of other proportions became `shape`: "crop", "pad" or "stretch".
        groups: Number of groups in train, val and test; empty where the data have no groups.
        grey_bits: Bits of the grey values of images that have more than 8.
    """

    dataset: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    train: int
    val: int
    test: int
    quarantined: int
    fit: str = "crop"
    groups: tuple[int, ...] = ()
    grey_bits: int = 16

    @property
    def grey_facts(self) -> dict[str, int]:
        """The fact of a model's manifest that says how grey values of more than 8 bits are read."""
        return {"grey_bits": self.grey_bits} if self.grey_bits != 16 else {}

    def __str__(self) -> str:
        height, width, channels = self.shape
        counts = f"{self.train:,} train, {self.val:,} val, {self.test:,} test"
        aside = f", {self.quarantined:,} set aside" if self.quarantined else ""
        groups = f" in {' + '.join(f'{count:,}' for count in self.groups)} groups" if self.groups else ""
        return f"{counts} images of {height}x{width}x{channels}{groups}, {len(self.classes)} classes{aside}"


@dataclass(frozen=True)
class Audit(Handle):
    """The audit of a tensor cache: duplicates, leaks and outliers.

    Args:
        findings: One sentence per finding, for the console.
    """

    findings: tuple[str, ...]

    def __str__(self) -> str:
        if not self.findings:
            return "nothing unusual"
        more = len(self.findings) - 1
        return self.findings[0] + (f", and {more} more finding{'s' if more > 1 else ''}" if more else "")


@dataclass(frozen=True)
class FeatureAudit(Audit):
    """The audit of a tensor cache, completed by features: it has the pairs and leaks of the audit, too.

    Args:
        findings: One sentence per finding by features, for the console.
    """


@dataclass(frozen=True)
class Features(Handle):
    """Features of all images by a backbone: `{train,val,test}.features.npy`, float16 (N, views, D).

    Args:
        backbone: Name of the backbone.
        images: Number of images in all splits.
        computed: How many were computed for this output; the store had the others.
    """

    backbone: str
    images: int
    computed: int

    def __str__(self) -> str:
        reused = self.images - self.computed
        known = f", {reused:,} of them known" if reused else ""
        return f"{self.backbone}, {self.images:,} images{known}"


@dataclass(frozen=True)
class Selection(Handle):
    """The recipe that `auto` has chosen: `candidates.parquet` has all that were compared.

    Args:
        recipe: The name of the recipe.
        accuracy: Its accuracy on images that no candidate had seen, 0..1.
        low, high: 95 % interval of the accuracy.
        images: Number of these images.
    """

    recipe: str
    accuracy: float
    low: float
    high: float
    images: int

    def __str__(self) -> str:
        interval = shares.interval(self.low, self.high)
        return f"{self.recipe}: {shares.percent(self.accuracy)} ({interval}) of {self.images:,} unseen images"


@dataclass(frozen=True)
class CrossValidation(Handle):
    """Scores over all images, each predicted by a model that has not seen it.

    `leaderboard.parquet` has each recipe, `predictions.parquet` each image.

    Args:
        recipe: The recipe that was scored; "auto" if it was chosen anew in each fold.
        accuracy: 0..1.
        low, high: 95 % interval of the accuracy; groups count as groups.
        images: Number of images.
        groups: Number of groups of images that belong together; an image alone is one.
        folds: Number of folds.
        final_recipe: The recipe that all images choose: that of the model of all images.
        notes: What limits the score, a sentence each.
    """

    recipe: str
    accuracy: float
    low: float
    high: float
    images: int
    groups: int
    folds: int
    final_recipe: str
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """What a version says of it; JSON values."""
        names = ("recipe", "accuracy", "low", "high", "images", "groups", "folds", "digest")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        interval = shares.interval(self.low, self.high)
        return f"{self.recipe}: {shares.percent(self.accuracy)} ({interval}) of all {self.images:,} images"


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
        return f"{self.recipe}, trained on {self.trained:,} images, test images too{held_back}"


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
class Predictions(Handle):
    """A model's probabilities for a tensor cache: `{val,test}.probabilities.npy`, float32 (N, classes).

    Cross-validated predictions are in `train.probabilities.npy`.

    Args:
        model_sha256: SHA-256 of the `model.keras` that computed them; empty if there were several models.
        tensors: Digest of the tensor cache.
        other_classes: Classes that only the model knows; their probabilities follow those of the tensors'.
    """

    model_sha256: str
    tensors: str
    other_classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"probabilities of the images of tensors {self.tensors}"


@dataclass(frozen=True)
class Profile(Handle):
    """Statistics of a model's validation images, with which later images are compared.

    The files are `profile.parquet`, one row per image, and `embedding.npz`.

    Args:
        model_sha256: SHA-256 of the `model.keras` that computed them.
        split: The split of the images: "val".
        images: Number of images.
    """

    model_sha256: str
    split: str
    images: int

    def __str__(self) -> str:
        return f"statistics of {self.images:,} {self.split} images, to compare later ones with"


@dataclass(frozen=True)
class Exports(Handle):
    """A model in other formats, and `certificate.json`: how each file was verified on the test images.

    Args:
        model_sha256: SHA-256 of the `model.keras` that was exported.
        passed: Formats that were verified; their files are in the directory.
        refused: Formats whose answers differed by more than their tolerance; they have no file.
    """

    model_sha256: str
    passed: tuple[str, ...]
    refused: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{', '.join(self.passed)} certified" if self.passed else ""]
        parts += [f"{', '.join(self.refused)} NOT published" if self.refused else ""]
        return "; ".join(filter(None, parts))


@dataclass(frozen=True)
class Evaluation(Handle):
    """The scores of a model's predictions.

    Args:
        predictions: Path of the `Predictions`, relative to the workspace.
        model_sha256: SHA-256 of the `model.keras` that was scored.
        tensors: Digest of the tensor cache that it was scored on.
        accuracy, macro_f1, log_loss: Scores on the test images.
        images: Number of test images.
    """

    predictions: str
    model_sha256: str
    tensors: str
    accuracy: float
    macro_f1: float
    log_loss: float
    images: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_also(self.predictions)  # which later stages read, too

    def __str__(self) -> str:
        accuracy = f"test accuracy {shares.percent(self.accuracy)}"
        return f"{accuracy} on {self.images:,} images, macro-F1 {self.macro_f1:.3f}"


@dataclass(frozen=True)
class LabelIssues(Handle):
    """A table of images whose label is probably wrong.

    Args:
        counts: Number of these images by split.
        expected_wrong: Estimated number of wrong labels among them; None in outputs of earlier versions.
    """

    counts: dict[str, int]
    expected_wrong: float | None = None

    def __str__(self) -> str:
        parts = [f"{count:,} {split}" for split, count in self.counts.items()]
        return f"labels in doubt: {', '.join(parts)}{self._expected}"

    @property
    def _expected(self) -> str:
        listed = sum(self.counts.values())
        if self.expected_wrong is None or not listed:
            return ""
        if self.expected_wrong < 0.5:
            return "; no more than the model's mistakes explain"
        return f"; about {self.expected_wrong:,.0f} of the {listed:,} wrong"


@dataclass(frozen=True)
class Decision:
    """What the gate decided and the registry did. It has no directory, so it checks nothing.

    Args:
        version: The challenger's version.
        champion: The champion's version after the decision; empty if there is none.
        promoted: Whether the challenger is the champion now.
        verdict: The decision as text.
        evidence: The numbers that it is based on; JSON values.
        champion_changed: Whether another run changed the champion before this model was compared with it.
    """

    version: str
    champion: str
    promoted: bool
    verdict: str
    evidence: dict[str, Any]
    champion_changed: bool = False

    def __str__(self) -> str:
        return f"{self.version}: {self.verdict}"


@dataclass(frozen=True)
class Report(Handle):
    """A run's report: `report.html` in the directory."""

    def __str__(self) -> str:
        return f"{self.directory / 'report.html'}"


@dataclass(frozen=True)
class SweepReport(Handle):
    """A sweep's report: `sweep.html`, `sweep.png` and `trials.parquet` in the directory."""

    def __str__(self) -> str:
        return f"{self.directory / 'sweep.html'}"
