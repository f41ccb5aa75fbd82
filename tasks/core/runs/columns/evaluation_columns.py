"""The columns of the table `evaluations`, but the run and the evaluation."""

import pyarrow as pa

from tasks.core.metrics.declared import declarations

SPLIT = "evaluated"  # of the rows of an evaluation in the tables of val and test images

COLUMNS: list[tuple[str, pa.DataType, str]] = [
    ("started", pa.timestamp("us", tz="UTC"), "when the evaluation started, UTC"),
    ("version", pa.string(), "version of the model"),
    ("model_sha256", pa.string(), "SHA-256 of its `model.keras`"),
    ("data", pa.string(), "the images as they were named: a path, an address or a known dataset"),
    ("parameters", pa.string(), "JSON: the parameters of the command"),
    ("raw", pa.string(), "digest of the listing of the images"),
    ("tensors", pa.string(), "digest of the images as the model takes them"),
    ("source_images", pa.int64(), "number of images of the source, or of the asked split"),
    ("images", pa.int64(), "number of images that were scored"),
    ("groups", pa.int64(), "number of groups of these images; null without groups"),
    ("unknown_images", pa.int64(), "left out: images of classes that the model does not know"),
    ("unknown_classes", pa.string(), "JSON: number of these images by class"),
    ("trained_images", pa.int64(), "left out: images that the model was trained on"),
    ("val_images", pa.int64(), "left out: images that choices of its training were made on"),
    ("unusable_images", pa.int64(), "left out: images that cannot be read, or have no or two labels"),
    ("own_test_images", pa.int64(), "scored: test images of the model's own run"),
    ("shared_group_images", pa.int64(), "scored: images of groups that the model has seen"),
    ("not_checked", pa.string(), "why it could not be checked what the model has seen; null if it was"),
    *((name, pa.float64(), meaning) for name, meaning in declarations.columns()),
    ("calibration_error", pa.float64(), "expected calibration error, 0..1"),
    ("own_accuracy", pa.float64(), "accuracy on the test images of the model's own run, 0..1"),
    ("report", pa.string(), "path of the report, relative to the workspace"),
    ("stages", pa.string(), "JSON: for each stage its digest, state, seconds, cpu_seconds"),
    ("flow_run_id", pa.string(), "Prefect's id of the flow run"),
    ("git_commit", pa.string(), "commit of the code; null outside a git checkout"),
]
