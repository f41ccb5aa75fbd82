"""Which reader understands which kind of raw dataset."""

from pathlib import Path

from tasks.core.data.files import listing
from tasks.core.data.readers.array_format import ArrayFormat
from tasks.core.data.readers.arrays import ArrayReader
from tasks.core.data.readers.base import Reader
from tasks.core.data.readers.corrections import RelabelledReader
from tasks.core.data.readers.image_folder import ImageFolderReader
from tasks.core.data.readers.parquet import ParquetReader
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace

ARRAYS = ("digits", "cifar", "idx")  # read as a whole in any case, so that nothing is saved by reuse


def open_raw(raw: RawDataset) -> Reader:
    """The reader for a raw dataset's kind, its labels put right if there are corrections."""
    return RelabelledReader.of(_of_source(raw), raw)


def _of_source(raw: RawDataset) -> Reader:
    files = listing.read(raw.directory)
    root = Workspace.active().root / raw.root  # an absolute root stays as it is
    if raw.format == "folder":
        return ImageFolderReader(root, files)
    if raw.format == "parquet":
        return ParquetReader(root, files)
    form = ArrayFormat.of_json(raw.manifest["ingredients"]["parameters"]["form"])
    files_of = {Path(path).name: root / path for path in files["path"].to_pylist()}
    return ArrayReader(raw.format, form, files_of)


def libraries(kind: str) -> tuple[str, ...]:
    """Distributions whose versions decide what the reader of a kind gives."""
    extra = {
        "digits": ("scikit-learn",),
        "folder": ("simplejpeg",),
        "parquet": ("simplejpeg", "pyarrow"),
    }
    return ("numpy", "pillow", *extra.get(kind, ()))
