"""A module's syntax: what of its text decides an output, as a hash, and what it imports."""

import ast
import hashlib

LOGGERS = {"log", "logging"}


def summarized(text: str) -> tuple[str, list[str]]:
    """Summarize the text of a module.

    Returns:
        The first 16 hexadecimal digits of the SHA-256 of its syntax tree without prose (docstrings, comments,
        log calls), and the dotted names that it imports.
    """
    tree = _without_prose(ast.parse(text))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], _imports(tree)


def _imports(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _without_prose(tree: ast.Module) -> ast.Module:
    """Remove docstrings, log calls and imports for type checkers from a tree."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list):
                setattr(node, name, [statement for statement in statements if not _is_prose(statement)])
    return tree


def _is_prose(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.If):
        return ast.unparse(statement.test).removeprefix("typing.") == "TYPE_CHECKING"
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.value).startswith("logging.getLogger(")
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names] == ["logging"]
    if not isinstance(statement, ast.Expr):
        return False
    value = statement.value
    return isinstance(value, ast.Constant) or (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and isinstance(value.func.value, ast.Name)
        and value.func.value.id in LOGGERS
    )
