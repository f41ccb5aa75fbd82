"""The base of handles: a finished directory of the workspace, checked when the handle is constructed.

Constructing a handle checks the files of the directory. When Prefect looks into its cache, it constructs the
handle from JSON and counts an exception as a cache miss. So a stage whose files are missing or changed runs
again. In a workspace at an address, constructing a handle downloads missing files.
"""

import inspect
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from tasks.core.errors import FormatError
from tasks.core.stage import publish
from tasks.core.storage import manifests, names, verification
from tasks.core.workspace import Workspace


@dataclass(frozen=True)
class Handle:
    """A finished directory of the workspace. Constructing one hashes its files and may download them.

    Files up to 1 MiB are hashed each time, larger ones if their modification time changed; see
    `manifests.find_damage`. The path is resolved against the active workspace of the process. `unchecked`
    constructs a handle without this check.

    Args:
        path: The directory, relative to the workspace.
        digest: The digest of its ingredients; it must be the one in its manifest.

    Raises:
        FormatError: The directory is missing or damaged, or its manifest has another digest or other facts.
    """

    path: str
    digest: str

    def __post_init__(self) -> None:
        problem = names.refusal(self.path) and f"a path that {names.refusal(self.path)}"
        if problem := problem or publish.ensure_local(self.directory) or self._other_manifest():
            raise FormatError(f"{self.path} is not usable", expected=f"digest {self.digest}", found=problem)

    def check_also(self, path: str) -> None:
        """Check another directory that readers of this one need; it may be only in the workspace's store.

        Args:
            path: The directory, relative to the workspace.

        Raises:
            FormatError: It is missing or damaged.
        """
        directory = Workspace.active().root / path
        is_here = directory.is_dir() and not publish.is_manifest_only(directory)
        if publish.ensure_local(directory) if is_here else not publish.exists_anywhere(directory):
            raise FormatError(
                f"{self.path} is not usable", expected=f"{path}, unchanged", found="other files"
            )

    def _other_manifest(self) -> str:
        """How the manifest differs from this handle, such as one from a damaged result record of Prefect."""
        manifest = self.manifest
        if manifest["digest"] != self.digest:
            return f"{self.path} has digest {manifest['digest']}"
        fields = json.loads(json.dumps(self.as_dict()))
        facts = manifest["facts"]
        different = [name for name in fields if name in facts and fields[name] != facts[name]]
        return f"the manifest has another {', '.join(different)}" if different else ""

    @classmethod
    def unchecked(cls, **values: Any) -> Self:
        """Construct a handle without checking or downloading files, for tests and tools.

        Args:
            values: All fields that have no default.

        Raises:
            TypeError: A field is missing or unknown.
        """
        bound = inspect.signature(cls).bind(**values)
        bound.apply_defaults()
        handle = object.__new__(cls)
        handle.__dict__.update(bound.arguments)
        return handle

    @property
    def directory(self) -> Path:
        """The absolute path of the directory in the active workspace.

        While a stage is built from it, its large files are verified first, once in a process.

        Raises:
            DamagedOutputError: A file has other bytes than when it was written.
        """
        directory = Workspace.active().root / self.path
        verification.verify_if_required(directory)
        return directory

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest, read from its file at each access."""
        return manifests.read(self.directory)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name; the constructor accepts them."""
        return asdict(self)
