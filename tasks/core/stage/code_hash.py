"""Hashes of the code that decides a stage's output: the `tasks.core` modules it uses, up to a boundary."""

import hashlib
from functools import cache
from pathlib import Path

from tasks.core.stage import syntax_cache

PACKAGE = "tasks.core"
# The boundary: modules and packages that decide no byte of an output, so that a change of them makes no
# stage run again. FORMAT numbers cover how files are written, found and locked. Settings and resolved recipes
# are digested as values.
NOT_INGREDIENTS = (
    *(
        "storage",
        "stage",
        "addresses",
        "markup",
        "shares",
        "operations",
        "registry",
        "runs",
        "config",
        "checked_settings",
        "decision_settings",
        "errors",
        "process_memory",
        "progress",
        "recipes",
        "workspace",
    ),
    # The page beside the report, by its template only: its pictures come from decode and from the readers.
    "review",
    "data.readers.factory",  # each dataset's reader is named by `factory.modules`
    # Used for models of another image size than the tensors', and named by the stages then.
    *("data.loader.originals", "model.inference.frozen"),
    # Modules of recipes that start from a backbone, named by `training.train.ingredients`.
    *("model.transfer", "model.features.maps"),
    # Change speed, not the results or their order.
    *("data.threads", "data.block_decoder", "data.decode_blocks"),
    # Where TensorFlow runs, and when it is stopped.
    *(f"model.devices.{name}" for name in ("allocator", "gpu", "runtime", "signals", "tf_config")),
    "model.training.log",  # messages during training
    # A backbone's declaration and the hash of its weights are digested as values.
    *(f"model.backbones.{name}" for name in ("catalog", "declaration", "user_file", "weights")),
    "model.features.feature_store",  # how features are kept
)
ROOT = Path(__file__).resolve().parents[3]
SOURCES = {".py", ".j2", ".css", ".html"}


def hashes(*modules: str, root: Path = ROOT) -> dict[str, str]:
    """Hash the syntax trees of `modules` and of every `tasks.core` module that they import.

    The search stops at `NOT_INGREDIENTS`. Comments, docstrings, formatting and log calls do not change a
    hash; a changed constant, a changed helper in another module or a new import does. The modules are parsed,
    not imported.

    Args:
        modules: Dotted names, such as "tasks.core.data.tensors.normalize".
        root: The folder that contains the package `tasks`.

    Returns:
        The first 16 hexadecimal digits of the SHA-256 by module, such as "data.tensors.normalize".
    """
    trees = {name: tree for module in modules for name, tree in _reach(module, root).items()}
    syntax_cache.keep()
    return {name.removeprefix(f"{PACKAGE}."): trees[name] for name in sorted(trees)}


def source_digest(root: Path = ROOT) -> str:
    """Return the SHA-256 of all source files, comments and docstrings included."""
    combined = hashlib.sha256()
    for path in sorted(path for package in ("flows", "tasks") for path in (root / package).rglob("*")):
        if path.suffix in SOURCES:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            combined.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return combined.hexdigest()


def libraries(*names: str) -> dict[str, str]:
    """Return the installed versions of distributions, read from their metadata without importing them."""
    return {name: _version(name) for name in names}


@cache  # 6 ms each; installed versions stay as they are while a process runs
def _version(name: str) -> str:
    from importlib import metadata  # imported here: `--help` needs none of its 15 ms

    return metadata.version(name)


def _reach(module: str, root: Path) -> dict[str, str]:
    trees: dict[str, str] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        if name not in trees:
            trees[name], imported = _read(name, root)
            pending += imported
    return trees


@cache  # a dozen stages reach the same modules
def _read(module: str, root: Path) -> tuple[str, list[str]]:
    digest, imported = syntax_cache.read(_file(module, root).read_text(encoding="utf-8"))
    names = [name for name in imported if name.startswith(PACKAGE + ".")]
    return digest, [name for name in names if _is_module(name, root) and is_ingredient(name)]


def is_ingredient(module: str) -> bool:
    """Whether a change of this module can change an output; False outside the boundary.

    >>> is_ingredient("tasks.core.data.decode"), is_ingredient("tasks.core.errors")
    (True, False)
    """
    relative = module.removeprefix(f"{PACKAGE}.")
    return not any(relative == name or relative.startswith(f"{name}.") for name in NOT_INGREDIENTS)


def _file(module: str, root: Path) -> Path:
    return root.joinpath(*module.split(".")).with_suffix(".py")


def _is_module(name: str, root: Path) -> bool:
    return _file(name, root).is_file()
