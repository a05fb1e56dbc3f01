"""What code a stage reaches: part of the key that its result is cached under.

The modules are found from the imports in the sources, wherever in a file they stand, so that nobody keeps a list by
hand and a stage that imports TensorFlow only when it runs is still known by it. Nothing is imported for that.

What only people read, comments and docstrings, does not count: a figure that is written down beside a recipe does not
train it anew. A source counts as it was when this process first read it, which is when the stages are imported:
whoever edits code while a run goes on changes the next run's keys, not this one's.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from gan.errors import CodeError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SUBJECT = "gan"

COMPUTING_LIBRARIES = {
    "PIL": "pillow",
    "jinja2": "jinja2",
    "keras": "keras",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "tensorflow": "tensorflow",
}
"""Libraries whose version can change a result, by import name, with the name they are installed under."""


def reached_code(module: str) -> str:
    """SHA-256 over the sources of a module and of all modules of `gan` that it imports, directly or not.

    Files beside a module that bear its name (a template) count as its source.
    """
    digest = hashlib.sha256()
    for path in _reached_sources(module):
        content = _meaning(path)
        digest.update(f"{path.relative_to(PROJECT_ROOT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def reached_libraries(module: str) -> dict[str, str]:
    """Versions of the computing libraries that a module reaches, by import name."""
    imported = {name.partition(".")[0] for reached in reached_modules(module) for name in _imports(reached)}
    return {library: version(COMPUTING_LIBRARIES[library]) for library in sorted(imported & COMPUTING_LIBRARIES.keys())}


def reached_modules(module: str) -> frozenset[str]:
    """A module and the modules of `gan` that it imports, directly or not, by dotted name."""
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [imported for imported in _imports(name) if imported.partition(".")[0] == SUBJECT]
    return frozenset(reached)


def import_reached(module: str) -> None:
    """Import what a module reaches, and make sure that it is the code that its key was made of.

    Raises:
        CodeError: If a source was edited since this process first read it: the result would lie under a wrong key.
    """
    for name in sorted(reached_modules(module)):
        import_module(name)
    for path in _reached_sources(module):
        if not path.is_file() or not _says_the_same(path):
            raise CodeError(
                f"{path.relative_to(PROJECT_ROOT)} was edited while this run was going on.\n"
                "What was finished before is kept. Run the same command again: it takes the new code."
            )


def _reached_sources(module: str) -> list[Path]:
    return sorted(path for name in reached_modules(module) for path in _sources(name))


@cache
def _content(path: Path) -> bytes:
    """A source as it was when this process first read it."""
    return path.read_bytes()


@cache
def _meaning(path: Path) -> bytes:
    """What a source says to a computer."""
    return _meaning_of(path.name, _content(path))


def _meaning_of(name: str, content: bytes) -> bytes:
    """Python's syntax tree without strings that stand alone, which are docstrings; other files as they are."""
    if not name.endswith(".py"):
        return content
    try:
        tree = ast.parse(content)
    except SyntaxError:
        return content  # just being edited
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _stands_alone(line)]  # type: ignore[attr-defined]
    return ast.dump(tree).encode()


def _says_the_same(path: Path) -> bool:
    """Whether a source says what it did when this process first read it; most are the same to the byte."""
    content = path.read_bytes()
    return content == _content(path) or _meaning_of(path.name, content) == _meaning(path)


def _stands_alone(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Dotted names of what a module imports; for one of ours, with the packages around it."""
    return tuple(_imported_names(_path(module)))


def _imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(_content(path), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.partition(".")[0] != SUBJECT:
                yield name
                continue
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                candidate = ".".join(parts[:length])
                if _path(candidate).is_file():  # `from gan.storage.store import Store` names a module and a class of it
                    yield candidate


def _path(module: str) -> Path:
    path = PROJECT_ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _sources(module: str) -> tuple[Path, ...]:
    path = _path(module)
    if path.name == "__init__.py":
        return (path,)
    return tuple(sibling for sibling in path.parent.glob(f"{path.stem}.*") if sibling.is_file())
