"""Training checkpoints: written atomically, verified by SHA-256 on loading; the previous one is kept."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.storage import atomic

MAGIC = b"plumbline-checkpoint-1\n"
KEEP_LAST = 2


@dataclass(frozen=True)
class Checkpoint:
    """The state from which training resumes.

    Args:
        step: Steps done.
        arrays: Values of the model's and the optimizer's variables, in their order.
        facts: History and running sums, as JSON values.
    """

    step: int
    arrays: Sequence[NDArray[Any]]
    facts: dict[str, Any]


def save(directory: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and delete all but the last two.

    Args:
        directory: Directory of the training's checkpoints; created if missing.
        checkpoint: State to save.

    Returns:
        Path of the new file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    facts = np.frombuffer(json.dumps(checkpoint.facts).encode(), np.uint8)
    named = {f"a{number:04d}": np.asarray(array) for number, array in enumerate(checkpoint.arrays)}
    np.savez(buffer, allow_pickle=False, facts=facts, step=np.int64(checkpoint.step), **named)
    content = buffer.getvalue()
    path = directory / f"{checkpoint.step:010d}.checkpoint"
    atomic.write_bytes(path, MAGIC + hashlib.sha256(content).digest() + content)
    for outdated in sorted(directory.glob("*.checkpoint"))[:-KEEP_LAST]:
        outdated.unlink()
    for leftover in atomic.leftovers(directory):
        atomic.remove(leftover)
    return path


def latest(directory: Path) -> tuple[Checkpoint | None, list[Path]]:
    """Load the newest intact checkpoint.

    Returns:
        The checkpoint, or None if there is none, and the paths of newer files that are damaged.
    """
    content, damaged = latest_content(directory)
    return parse(content), damaged


def latest_content(directory: Path) -> tuple[bytes, list[Path]]:
    """Read the content of the newest intact checkpoint, without parsing it.

    Returns:
        The content, empty if there is none, and the paths of newer files that are damaged.
    """
    damaged: list[Path] = []
    for path in sorted(directory.glob("*.checkpoint"), reverse=True):
        raw = path.read_bytes()
        content = raw[len(MAGIC) + 32 :]
        if raw[: len(MAGIC) + 32] == MAGIC + hashlib.sha256(content).digest():
            return content, damaged
        damaged.append(path)
    return b"", damaged


def parse(content: bytes) -> Checkpoint | None:
    """Parse the content of an intact checkpoint; None if it is empty."""
    if not content:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = [stored[name] for name in sorted(stored.files) if name.startswith("a")]
        return Checkpoint(int(stored["step"]), arrays, json.loads(stored["facts"].tobytes()))
