"""Which split an image belongs to, and its place there: both follow from its content and a salt.

A growing folder never moves an old image to another split, and exact copies always fall together.
"""

import hashlib

TEST_FRACTION = 0.2  # of a source without test images


def fraction(salt: str, identity: str) -> float:
    """A number in [0, 1), uniform over images, fixed for an image.

    Args:
        salt: Makes independent numbers out of one identity.
        identity: The SHA-256 of the image's content.
    """
    digest = hashlib.sha256(f"{salt}:{identity}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48  # exact in a float


def choose(identity: str, split: str, has: frozenset[str], val_fraction: float) -> str:
    """The split of an image.

    Args:
        identity: The SHA-256 of its content.
        split: What its source says; "" if the source has no splits.
        has: The splits that the source has.
        val_fraction: Share of the train images that is held out where the source has no val.
    """
    if split in ("val", "test"):
        return split
    if "test" not in has and fraction("plumbline test", identity) < TEST_FRACTION:
        return "test"
    if "val" not in has and fraction("plumbline val", identity) < val_fraction:
        return "val"
    return "train"


def order(identity: str) -> float:
    """Sort by this, then by identity and path, for a fixed order that is random with respect to class."""
    return fraction("plumbline order", identity)
