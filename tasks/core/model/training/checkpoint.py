"""Checkpoints: whole or absent, checked on loading, the one before kept."""

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
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Everything that training goes on from.

    Args:
        step: Steps done.
        arrays: Values of the model's and the optimizer's variables, in their order.
        facts: History and running sums; JSON values.
    """

    step: int
    arrays: Sequence[NDArray[Any]]
    facts: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and forget all but the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    facts = np.frombuffer(json.dumps(checkpoint.facts).encode(), np.uint8)
    named = {f"a{number:04d}": np.asarray(array) for number, array in enumerate(checkpoint.arrays)}
    np.savez(buffer, allow_pickle=False, facts=facts, step=np.int64(checkpoint.step), **named)
    content = buffer.getvalue()
    path = folder / f"{checkpoint.step:010d}.checkpoint"
    atomic.write_bytes(path, MAGIC + hashlib.sha256(content).digest() + content)
    for old in sorted(folder.glob("*.checkpoint"))[:-KEPT]:
        old.unlink()
    for leftover in atomic.leftovers(folder):
        atomic.remove(leftover)
    return path


def latest(folder: Path) -> tuple[Checkpoint | None, list[Path]]:
    """The newest checkpoint that is whole, and the damaged ones that were passed over."""
    content, damaged = newest(folder)
    return parsed(content), damaged


def newest(folder: Path) -> tuple[bytes, list[Path]]:
    """Content of the newest checkpoint that is whole, nothing if there is none, and the damaged ones."""
    damaged: list[Path] = []
    for path in sorted(folder.glob("*.checkpoint"), reverse=True):
        raw = path.read_bytes()
        content = raw[len(MAGIC) + 32 :]
        if raw[: len(MAGIC) + 32] == MAGIC + hashlib.sha256(content).digest():
            return content, damaged
        damaged.append(path)
    return b"", damaged


def parsed(content: bytes) -> Checkpoint | None:
    """The checkpoint of a whole content; None of nothing."""
    if not content:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = [stored[name] for name in sorted(stored.files) if name.startswith("a")]
        return Checkpoint(int(stored["step"]), arrays, json.loads(stored["facts"].tobytes()))
