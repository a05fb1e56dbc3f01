"""The code that a stage depends on, as a part of its cache key.

The modules are found by parsing imports, including those inside functions. Only the stage's own module and modules of
`gan` count. Comments and docstrings do not count: editing them keeps the cached results. Each source is read once, when
the stages are imported, so an edit during a run changes the keys of the next run only.
"""

import ast
import hashlib
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from gan.config import PROJECT_ROOT
from gan.errors import CodeError

PACKAGE = "gan"
SUFFIXES = frozenset({".css", ".jinja", ".js", ".keras", ".py"})

LIBRARIES = "jinja2", "keras", "matplotlib", "numpy", "scipy", "tensorflow"
RESULT_LIBRARIES = {"PIL": "pillow"} | dict(zip(LIBRARIES, LIBRARIES, strict=True))
"""Libraries whose version can change a result: import name -> distribution name."""

PUBLISHED_LIBRARIES = frozenset({*RESULT_LIBRARIES.values(), "prefect"})
"""Distributions whose versions are in `manifest.json`."""


def reached_code(module: str) -> str:
    """Return a SHA-256 over the sources of a module and of all modules of `gan` that it imports, directly or not."""
    digest = hashlib.sha256()
    for path in _reached_sources(module):
        content = _normalized_source(path)
        digest.update(f"{path.relative_to(PROJECT_ROOT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def reached_libraries(module: str) -> dict[str, str]:
    """Return the versions of the RESULT_LIBRARIES that a module imports, directly or not, by import name."""
    imported = {
        name.partition(".")[0] for reached in reached_modules(module) for name in _imported_names(_path(reached))
    }
    return {library: version(RESULT_LIBRARIES[library]) for library in sorted(imported & RESULT_LIBRARIES.keys())}


def reached_modules(module: str) -> frozenset[str]:
    """Return the dotted names of a module and of all modules of `gan` that it imports, directly or not."""
    reached, found = set[str](), {module}
    while found:
        reached |= found
        names = {name for module in found for name in _imported_names(_path(module))}
        found = {name for name in names if name.partition(".")[0] == PACKAGE} - reached
    return frozenset(reached)


def import_reached(module: str) -> None:
    """Import all that a module reaches; raise a `CodeError` if a source was edited since its key was computed."""
    for name in sorted(reached_modules(module)):
        import_module(name)
    for path in _reached_sources(module):
        if not path.is_file() or not _is_unchanged(path):
            raise CodeError(
                f"{path.relative_to(PROJECT_ROOT)} was edited during this run.\n"
                "All finished stages are kept. Run the same command again: it uses the new code."
            )


def _reached_sources(module: str) -> list[Path]:
    return sorted(path for name in reached_modules(module) for path in _sources(name))


@cache
def _content(path: Path) -> bytes:
    """Return a source as it was when this process first read it."""
    return path.read_bytes()


@cache
def _normalized_source(path: Path) -> bytes:
    return _normalize(path, _content(path))


def _normalize(path: Path, content: bytes) -> bytes:
    """Return a Python source as its syntax tree without docstrings, and any other file unchanged."""
    if path.suffix != ".py":
        return content
    try:
        tree = ast.parse(content)
    except SyntaxError:  # the file is being edited
        return content
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_docstring(line)]  # type: ignore[attr-defined]
    return ast.dump(tree).encode()


def _is_docstring(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _is_unchanged(path: Path) -> bool:
    content = path.read_bytes()
    return content == _content(path) or _normalize(path, content) == _normalized_source(path)


@cache
def _imported_names(path: Path) -> frozenset[str]:
    """Return the dotted names that a source imports; for a module of `gan` also the packages that contain it."""
    imported = set[str]()
    for node in ast.walk(ast.parse(_content(path), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == PACKAGE:
                prefixes = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
                # `from gan.storage.store import Store` names a module and then a class in it
                imported.update(prefix for prefix in prefixes if _path(prefix).is_file())
            else:
                imported.add(name)
    return frozenset(imported)


def _path(module: str) -> Path:
    path = PROJECT_ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _sources(module: str) -> tuple[Path, ...]:
    """Return the source of a module, and its templates and weights, which have the same name and other suffixes.

    Other files, such as the backups of an editor, do not count.
    """
    path = _path(module)
    siblings = path.parent.glob(f"{path.stem}.*")
    return tuple(sibling for sibling in siblings if sibling.suffix in SUFFIXES and sibling.is_file())
