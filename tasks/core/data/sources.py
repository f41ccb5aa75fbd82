"""Where images can come from: known datasets, declared as data, and a person's own folders.

The next known dataset is one more entry of `KNOWN`.
"""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from tasks.core.config import SourceSettings
from tasks.core.data.form import Form
from tasks.core.errors import UsageError


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded.

    Args:
        name: The name under which it is kept.
        urls: Addresses of the very same bytes, the preferred one first.
        bytes: Its size.
        sha256: 64 hexadecimal digits.
    """

    name: str
    urls: tuple[str, ...]
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Known:
    """A dataset that Plumbline knows by name.

    Args:
        name: What a person types and what models and tables are filed under.
        kind: The reader that understands its files: "digits", "cifar".
        form: Classes, shape and, for archives, members.
        files: What to download; empty for bundled data.
    """

    name: str
    kind: str
    form: Form
    files: tuple[RemoteFile, ...] = ()


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

KNOWN = {
    known.name: known
    for known in (
        Known(name="digits", kind="digits", form=Form(classes=tuple("0123456789"), shape=(8, 8, 1))),
        Known(
            name="cifar10",
            kind="cifar",
            form=Form(
                classes=CIFAR10,
                shape=(32, 32, 3),
                members=(
                    *((f"cifar-10-batches-bin/data_batch_{n}.bin", "train") for n in range(1, 6)),
                    ("cifar-10-batches-bin/test_batch.bin", "test"),
                ),
            ),
            files=(
                RemoteFile(
                    name="cifar-10-binary.tar.gz",
                    urls=(
                        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
                        # The official address; 50-85 kB/s since June 2026 (pytorch/vision#9536).
                        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                    ),
                    bytes=170_052_171,
                    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                ),
            ),
        ),
    )
}


def find(dataset: str) -> Known | Path:
    """What a `dataset` argument means: a known name comes first, then a path.

    Raises:
        UsageError: Neither a known name nor an existing folder.
    """
    if dataset in KNOWN:
        return KNOWN[dataset]
    path = Path(dataset).expanduser()
    if path.is_dir():
        return path.resolve()
    if "/" in dataset or path.exists():
        raise UsageError(
            f"{dataset} is not a folder of images",
            expected="a folder with <class>/* or {train,val,test}/<class>/*",
            found="a file" if path.exists() else "nothing at this path",
            todo=f"give an existing folder, or one of the known datasets: {', '.join(KNOWN)}",
        )
    close = difflib.get_close_matches(dataset.lower(), KNOWN, cutoff=0.5)
    raise UsageError(
        f'There is no dataset "{dataset}"',
        expected=f"one of {', '.join(KNOWN)}, or the path of a folder of images",
        found="neither a known name nor a folder",
        done="nothing was started",
        todo=f"did you mean {' or '.join(close)}?" if close else "",
    )


def name_of(folder: Path) -> str:
    """A folder's name as it can be filed: lower case letters, digits, "." "_" and "-".

    >>> name_of(Path("/data/My Photos (2024)"))
    'my-photos-2024'
    """
    slug = re.sub(r"[^a-z0-9._-]+", "-", folder.name.lower()).strip("-._")
    return slug or "folder"


def check(source: SourceSettings) -> None:
    """Refuse what cannot be before anything starts; looks at paths, reads no file.

    Raises:
        UsageError: Unknown dataset, missing folder, or an archive that is missing or makes no sense.
    """
    found = find(source.dataset)
    if source.archive is None:
        if source.archive_sha256 is not None:
            raise UsageError("--archive-sha256 says what --archive must be, but there is no --archive")
        return
    if isinstance(found, Path) or not found.form.members:
        raise UsageError(
            f"--archive cannot be used with {source.dataset}",
            expected=f"one of {', '.join(known.name for known in KNOWN.values() if known.form.members)}",
            found="a folder of images" if isinstance(found, Path) else "a bundled dataset without an archive",
        )
    if not source.archive.expanduser().is_file():
        raise UsageError(f"The archive {source.archive} is not there", expected="an existing file")
    if source.archive_sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", source.archive_sha256):
        raise UsageError(
            "--archive-sha256 is not a SHA-256",
            expected="64 hexadecimal digits",
            found=source.archive_sha256,
        )
