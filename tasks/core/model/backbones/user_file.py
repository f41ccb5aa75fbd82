"""A model file of the user as a backbone: `--backbone FILE.keras`.

The machine keeps a copy under its SHA-256, with what is known of it. So later stages and runs find the same
bytes, and the path does not matter. What the file can do is found out by loading it once (`user_model`).
"""

import json
import re
import shutil
from functools import lru_cache
from pathlib import Path

from tasks.core import workspace
from tasks.core.errors import UsageError
from tasks.core.model.backbones.declaration import Backbone, UserFile
from tasks.core.model.devices import runtime
from tasks.core.storage import atomic, hashing, lock

SUFFIX = ".keras"
MODEL, FACTS = "backbone.keras", "backbone.json"
NAME = re.compile(r"file-([0-9a-f]{16})")


def is_path(name: str) -> bool:
    """Whether a value of `--backbone` is the path of a model file."""
    return name.endswith(SUFFIX)


def is_name(name: str) -> bool:
    """Whether a backbone's name is that of a model file."""
    return NAME.fullmatch(name) is not None


def folder(checksum: str) -> Path:
    """Where this machine keeps the weights or the model of that hash."""
    return workspace.cache() / "backbones" / checksum


def declare(path: str) -> Backbone:
    """The backbone that a model file is; a copy of it is kept.

    Raises:
        UsageError: There is no such file, or it cannot be used as a backbone.
    """
    file = workspace.expanded(path).resolve()
    if not file.is_file():
        raise UsageError(f"there is no backbone {path}", expected="the path of a Keras model file")
    stat = file.stat()
    sha256 = _sha256(file, stat.st_mtime_ns, stat.st_size)
    if not (folder(sha256) / FACTS).exists():
        with lock.exclusive(folder(sha256).parent / f".{sha256}.lock"):
            _keep(file, folder(sha256))
    return recall(f"file-{sha256[:16]}")


def recall(name: str) -> Backbone:
    """The backbone of a model file that was given before.

    Args:
        name: "file-" and the first 16 digits of its SHA-256.

    Raises:
        UsageError: This machine has no copy of the file.
    """
    digits = name.removeprefix("file-")
    found = sorted(folder("").glob(f"{digits}*/{FACTS}"))
    if not found:
        raise UsageError(
            f"the model file of the backbone {name} is not on this machine",
            expected=f"a copy in {folder('')}",
            todo="give the file again with --backbone FILE",
        )
    facts = json.loads(found[0].read_bytes())
    return Backbone(
        name=name,
        module="tasks.core.model.backbones.user_model",
        weights=UserFile(MODEL, facts["bytes"], found[0].parent.name),
        image_size=facts["image_size"],
        min_image_size=facts["min_image_size"],
        max_image_size=facts["max_image_size"],
        features=facts["features"],
        trunk="",
        pass_seconds=0.0,
        licence="",
        source="A model file that the user supplied with --backbone; who trained it is not known",
        changes="None.",
    )


@lru_cache(maxsize=8)
def _sha256(file: Path, modified: int, size: int) -> str:
    """A file is hashed once in a process while its time and size stay."""
    return hashing.sha256_file(file)


def _keep(file: Path, kept: Path) -> None:
    with runtime.quiet_tensorflow():
        from tasks.core.model.backbones import user_model

    facts = user_model.facts(file)
    kept.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(kept / MODEL) as staging:
        shutil.copyfile(file, staging)
    atomic.write_bytes(kept / FACTS, json.dumps(facts | {"bytes": file.stat().st_size}).encode())
