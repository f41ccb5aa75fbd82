"""What a stage is: its name, its handle, its folder, and what decides the bytes of its outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from tasks.core.errors import FormatError
from tasks.core.stage import publish
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace

H = TypeVar("H")


@dataclass(frozen=True)
class Stage(Generic[H]):
    """A stage.

    Args:
        name: As the console, `--refresh` and the metrics tables have it.
        handle: The class of what it returns.
        folder: The folder of its outputs in the workspace; empty if it leaves no directory.
        inputs: The stages whose outputs it reads.
        role: What other stages call its output among their inputs.
        modules: Modules of `tasks.core` that do the work. They and what they import make the code hash.
        libraries: Distributions whose versions decide the output.
        option: The option that asks for it; empty if every training run has it.
        refreshable: Whether `--refresh` can ask for it.
    """

    name: str
    handle: type[H]
    folder: str = ""
    inputs: tuple[str, ...] = ()
    role: str = ""
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    option: str = ""
    refreshable: bool = True

    def ingredients(
        self,
        inputs: Mapping[str, str],
        parameters: Mapping[str, Any],
        modules: tuple[str, ...] = (),
        libraries: tuple[str, ...] = (),
    ) -> Ingredients:
        """The ingredients of one output.

        Args:
            inputs: Digests of what it reads, by role.
            parameters: JSON values.
            modules, libraries: Those that only this output needs, such as its dataset's reader.
        """
        return Ingredients(
            self.name, inputs, parameters, (*self.modules, *modules), (*self.libraries, *libraries)
        )

    def directory(self, digest: str, workspace: Workspace) -> Path:
        """Where the output of that digest lies, or would lie."""
        return workspace.root / self.folder / digest

    def output(
        self,
        ingredients: Ingredients,
        workspace: Workspace,
        build: Callable[[Path], Mapping[str, Any]],
        *,
        refresh: bool = False,
        **values: Any,
    ) -> H:
        """Build the output unless it is there, and return its handle; see `publish.publish`.

        Args:
            ingredients: What the output follows from.
            workspace: Where it is put.
            build: Writes the files into the folder that it is given and returns facts for the manifest.
                Facts named like a field of the handle become that field.
            refresh: Build it again even if it is there.
            values: Fields of the handle that are not facts.
        """
        directory = self.directory(ingredients.digest, workspace)
        manifest = publish.publish(directory, ingredients, build, refresh=refresh)
        return self._handle(manifest, directory, workspace, values)

    def finished(self, ingredients: Ingredients, workspace: Workspace) -> H | None:
        """The handle of an output that is there and whole; None if it would have to be built."""
        return self.of_digest(ingredients.digest, workspace)

    def of_digest(self, digest: str, workspace: Workspace) -> H | None:
        """The handle of the output with that digest; None if it is not there whole."""
        directory = self.directory(digest, workspace)
        if not manifests.is_complete(directory):
            return None
        return self._handle(manifests.read(directory), directory, workspace, {})

    def _handle(
        self, manifest: Mapping[str, Any], directory: Path, workspace: Workspace, values: Mapping[str, Any]
    ) -> H:
        names = {field.name for field in fields(self.handle)}  # type: ignore[arg-type]
        facts = {name: _frozen(value) for name, value in manifest["facts"].items() if name in names}
        place = {"path": workspace.relative(directory), "digest": manifest["digest"]}
        try:
            return self.handle(**{**facts, **place, **values})
        except TypeError as error:
            raise FormatError(
                f"{directory} lacks facts of the stage {self.name}",
                expected=f"the facts of a {self.handle.__name__}",
                found=f"{', '.join(sorted(facts)) or 'none'}: {error}",
                done="nothing was read",
                todo="another version of Plumbline wrote it: remove the folder; the next run makes it again",
            ) from error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
