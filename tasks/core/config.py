"""What the user can set: typed, documented, and checked before anything runs.

The docstrings' Args are what `--help` and Prefect's form show: each parameter is declared and described here
once. The flows take these classes together in `tasks.orchestration.settings`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from tasks.core.addresses import concealed
from tasks.core.checked_settings import Checked, limited
from tasks.core.errors import FormatError


class Precision(StrEnum):
    """What training calculates in; weights are float32 in any, and so is the published model."""

    auto = "auto"  # bfloat16 where the device multiplies in it
    float32 = "float32"
    bfloat16 = "bfloat16"


class RecipeName(StrEnum):
    """Ways to train; `tasks.core.recipes` has what each is made of, its accuracy and its cost."""

    auto = "auto"
    probe = "probe"
    finetune = "finetune"
    textbook = "textbook"
    flash = "flash"
    fast = "fast"
    good = "good"
    better = "better"
    best = "best"


class ExportName(StrEnum):
    """Formats in which a model can go out besides `model.keras`; each is certified on the test images."""

    keras = "keras"
    saved_model = "saved-model"
    litert = "litert"
    litert_int8 = "litert-int8"
    onnx = "onnx"


class ExportInput(StrEnum):
    """What images an export takes.

    fixed: batches of images of the model's own height and width. any_size: one image of any height and width,
    which the file itself fits and scales.
    """

    fixed = "fixed"
    any_size = "any-size"


class Fit(StrEnum):
    """How an image of another proportion becomes the tensors' height and width.

    crop: what exceeds them on the longer side is cut at both ends. pad: the whole image is scaled in, and
    black is added at both ends. stretch: the whole image is scaled, and its proportions are not kept.
    """

    crop = "crop"
    pad = "pad"
    stretch = "stretch"

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Fit":
        """The fit in the facts of a manifest; older manifests have none, and mean crop.

        Raises:
            FormatError: This version does not know the fit.
        """
        fit = facts.get("fit", cls.crop)
        if fit not in list(cls):
            raise FormatError("unknown fit of the images", expected=", ".join(cls), found=str(fit))
        return cls(fit)


class PromotePolicy(StrEnum):
    """When a new model becomes champion.

    better: shown better on the same test images. not_worse: shown not worse by more than a margin.
    always: in any case. never: only a person promotes it.
    """

    better = "better"
    not_worse = "not-worse"
    always = "always"
    never = "never"


class IfRunning(StrEnum):
    """What a run does while another run of the same dataset is under way in the same workspace."""

    wait = "wait"
    drop = "drop"


# Parameters that change where and when a run happens, and nothing of what comes out.
NON_OUTPUT_PARAMETERS = (
    *("workspace", "refresh", "if_running", "time_limit", "dry_run", "overfit_batch"),
    *("runner", "workers", "address", "weights", "mlflow"),
)


@dataclass(frozen=True)
class SourceSettings(Checked):
    """Where images come from.

    Args:
        dataset: A known dataset (digits, cifar10, cifar100, mnist, fashion_mnist), a folder of images
            (<class>/* or {train,val,test}/<class>/*), a zip or tar of one, a CSV of path,label, or
            parquet files. A folder, an archive or parquet files may also be at an address (s3://...).
        archive: An archive of a known dataset to use instead of downloading it; a folder where there
            are several.
        archive_sha256: The SHA-256 that the archive must have, if it is not the official one. For a
            folder: that of what sha256sum prints for its files.
        corrections: A CSV of path (or image_id) and class_name: classes to use instead of the source's
            own, which stay as they are. The report's list of label issues is a form for it.
        name: The name under which models, runs and reports are filed. Default: that of the dataset, folder
            or file. Needed where other images have that name already.
    """

    GROUP: ClassVar[str] = "Images"

    dataset: str = "digits"
    archive: Path | None = None
    archive_sha256: str | None = None
    corrections: Path | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Keep the secrets of an address out of what is shown and stored."""
        super().__post_init__()
        object.__setattr__(self, "dataset", concealed(self.dataset))


@dataclass(frozen=True)
class NormalizeSettings(Checked):
    """How images become tensors.

    Args:
        image_size: Height and width in pixels at which the model sees the images, 8 to 512. Default: with
            a backbone its own; else the dataset's own, or for images that differ in size and for photos
            the largest of 32, 48, 64 and 96 that nine in ten fill.
        fit: How an image of another proportion becomes a square: crop (the longer side is cut at both
            ends), pad (the whole image, with black at both ends) or stretch (the whole image, its
            proportions not kept).
        val_fraction: Share of the training images held out for validation, above 0 and at most 0.5.
        max_quarantine: Share of unreadable images above which the run fails, 0 to 1.
        group_by: What keeps images together in one split and one fold: folder (below the class folder),
            time-gap=SECONDS (by EXIF), or a regular expression for the path such as '(p[0-9]+)_'.
            Default: the column group of a CSV or parquet, if any.
    """

    GROUP: ClassVar[str] = "Images"

    image_size: int | None = limited(None, 8, 512)
    fit: Fit = Fit.crop
    val_fraction: float = limited(0.1, above=0, high=0.5)
    max_quarantine: float = limited(0.01, 0, 1)
    group_by: str | None = None


@dataclass(frozen=True)
class TrainSettings(Checked):
    """How to train.

    Args:
        recipe: How to train. auto: fast for small pictures; for photos the one of probe, finetune and
            fast that is best on images it has not seen. probe: a linear classifier of a pretrained
            backbone's features, in seconds. finetune: the backbone's upper blocks are trained too. From
            scratch, cheap to accurate: flash, fast, good, better, best; textbook is the CNN of tutorials.
        backbone: The pretrained network of probe and finetune: efficientnet-lite0, efficientnetv2-b0,
            mobilenetv3-small, convnext-tiny, or for probe a .keras file of your own that makes features
            (N, D) of photos (N, H, W, 3) with pixel values of 0 to 255.
        weights: A file with the backbone's weights, for a machine without a network. It must have the
            published checksum; a copy is kept for later runs.
        budget: Minutes that auto may spend on the comparison and the training, as estimated before each
            of them starts.
        epochs: Passes over the training images; fractions are allowed. Default: the recipe's.
        batch_size: Images per training step. Default: the recipe's.
        learning_rate: Peak learning rate. Default: the recipe's.
        augment: Whether to vary the training images. Default: the recipe's.
        patience: Epochs without a better validation loss after which training stops and takes the best
            epoch's weights; 0 never stops early. Default: the recipe's.
        drop_leaks: Leave out the train and val images of which a test image is a duplicate.
        precision: What training calculates in: auto (bfloat16 where the processor or GPU multiplies in
            it, but float32 for the textbook CNN), float32 or bfloat16. Each gives another model of the
            same seed.
        seed: Everything random follows from it; the same seed gives the same model. A sweep's first seed.
    """

    GROUP: ClassVar[str] = "Training"

    recipe: RecipeName = RecipeName.auto
    backbone: str = "efficientnet-lite0"
    weights: Path | None = None
    budget: float = limited(5.0, above=0, high=10_000)
    epochs: float | None = limited(None, above=0, high=10_000)
    batch_size: int | None = limited(None, 1, 65_536)
    learning_rate: float | None = limited(None, above=0, high=1000)
    augment: bool | None = None
    patience: int | None = limited(None, 0, 10_000)
    drop_leaks: bool = False
    precision: Precision = Precision.auto
    seed: int = limited(0, 0, 2**31 - 1)


@dataclass(frozen=True)
class EmbedSettings:
    """What features are: follows from the recipe, the backbone and the image size.

    Args:
        backbone: Name of the backbone.
        image_size: Height and width of its images in pixels; None for its own.
        precision: What it calculates in.
    """

    backbone: str
    image_size: int | None = None
    precision: Precision = Precision.auto


@dataclass(frozen=True)
class PublishSettings(Checked):
    """What becomes of the model.

    Args:
        promote: When the new model becomes champion: better (shown better on the same test images),
            not-worse, always or never.
        no_loss_of: A class that must be proven to lose at most 5 points of recall before a champion is
            replaced. May be repeated.
        prove_no_loss: Ask for that proof of every class.
        no_worse_in: A column of the CSV or parquet files, such as site: the new model must not be proven
            to lose more than 5 points of accuracy on the images with one of its values. May be repeated.
        exports: Formats to publish besides model.keras, each file verified on the test images. May be
            repeated.
        export_input: What images the exports take: fixed (batches of the model's own height and width)
            or any-size (one image of any size, which the file itself fits and scales; not litert-int8).
    """

    GROUP: ClassVar[str] = "Publishing"

    promote: PromotePolicy = PromotePolicy.better
    no_loss_of: tuple[str, ...] = ()
    prove_no_loss: bool = False
    no_worse_in: tuple[str, ...] = ()
    exports: tuple[ExportName, ...] = ()
    export_input: ExportInput = ExportInput.fixed

    def proven_classes(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        """The classes of these that must be proven to lose no recall."""
        return classes if self.prove_no_loss else self.no_loss_of
