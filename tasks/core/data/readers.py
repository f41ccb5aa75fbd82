"""Which reader understands which kind of raw dataset."""

from pathlib import Path

from tasks.core.data import listing
from tasks.core.data.arrays import Arrays
from tasks.core.data.corrections import Corrected
from tasks.core.data.files import Folder, Shards
from tasks.core.data.form import Form
from tasks.core.data.reader import Reader
from tasks.core.handles import RawDataset
from tasks.core.workspace import Workspace

ARRAYS = ("digits", "cifar", "idx")  # read as a whole in any case, so that nothing is saved by reuse


def open_raw(raw: RawDataset) -> Reader:
    """The reader for a raw dataset's kind, its labels put right if there are corrections."""
    return Corrected.of(_of_source(raw), raw)


def _of_source(raw: RawDataset) -> Reader:
    files = listing.read(raw.directory)
    root = Workspace.active().root / raw.root  # an absolute root stays as it is
    if raw.kind == "folder":
        return Folder(root, files)
    if raw.kind == "parquet":
        return Shards(root, files)
    form = Form.of_json(raw.manifest["ingredients"]["parameters"]["form"])
    files_of = {Path(path).name: root / path for path in files["path"].to_pylist()}
    return Arrays(raw.kind, form, files_of)


def libraries(kind: str) -> tuple[str, ...]:
    """Distributions whose versions decide what the reader of a kind gives."""
    extra = {
        "digits": ("scikit-learn",),
        "folder": ("simplejpeg",),
        "parquet": ("simplejpeg", "pyarrow"),
    }
    return ("numpy", "pillow", *extra.get(kind, ()))
