"""Which code decides a stage's output: the modules of `tasks.core` that it reaches, without their prose."""

import ast
import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGE = "tasks.core"
ROOT = Path(__file__).resolve().parents[2]
SOURCES = {".py", ".j2", ".css"}


def hashes(*modules: str, root: Path = ROOT) -> dict[str, str]:
    """Hashes of the syntax trees of `modules` and of every `tasks.core` module that they import.

    Comments, docstrings and formatting don't count; a changed constant, a changed helper in another
    module or a new import does. Nothing is imported to find out.

    Args:
        modules: Dotted names, such as "tasks.core.data.tensors".
        root: The folder that holds the package `tasks`.

    Returns:
        By module, such as "data.tensors": 16 hexadecimal digits of the SHA-256.
    """
    trees = {name: tree for module in modules for name, tree in _reach(module, root).items()}
    return {name.removeprefix(f"{PACKAGE}."): trees[name] for name in sorted(trees)}


def source_digest(root: Path = ROOT) -> str:
    """SHA-256 of all of Plumbline's own files, prose included: equal means that nothing at all changed."""
    whole = hashlib.sha256()
    for path in sorted(path for package in ("flows", "tasks") for path in (root / package).rglob("*")):
        if path.suffix in SOURCES:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def libraries(*names: str) -> dict[str, str]:
    """Installed versions of distributions, read from their metadata: nothing is imported."""
    return {name: metadata.version(name) for name in names}


def _reach(module: str, root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name], imported = _read(name, root)
            waiting += imported
    return found


@cache  # a dozen stages reach the same modules
def _read(module: str, root: Path) -> tuple[str, list[str]]:
    tree = ast.parse(_file(module, root).read_text(encoding="utf-8"))
    imported = [name for name in _imports(tree) if _is_module(name, root)]
    return hashlib.sha256(ast.dump(_without_prose(tree)).encode()).hexdigest()[:16], imported


def _imports(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.startswith(PACKAGE + ".")]


def _file(module: str, root: Path) -> Path:
    return root.joinpath(*module.split(".")).with_suffix(".py")


def _is_module(name: str, root: Path) -> bool:
    return _file(name, root).is_file()


def _without_prose(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return tree
