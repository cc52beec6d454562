"""`make quick`: lint, types, and the tests that a change concerns, within a minute.

A changed module concerns the tests that mirror it (where none do, those that import it), its own doctests, and the rule
of who may import whom. What names a changed function comes first. When the time is up, the tests that are left are
skipped, and pytest says how many.

    python -m tests.quick                              # what differs from the last commit
    python -m tests.quick --base main                  # what differs from main
    python -m tests.quick flowernoise/safe/paths.py    # these files, changed or not
"""

import argparse
import ast
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECONDS = 45.0  # after these no test begins; the last one and the report have the rest of the minute
STRUCTURE = "tests/test_structure.py::test_every_module_imports_only_what_lies_below_it"
DOCUMENTS = "tests/test_docs.py"
NAMED = f"{DOCUMENTS}::test_made_pages_are_fresh"
ELSEWHERE = ("benchmarks", "reliability")  # folders of tests that mirror no module and take minutes
HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", flags=re.MULTILINE)


# Which tests


def concerned(files: Iterable[Path], root: Path = ROOT) -> list[str]:
    """What pytest should run after a change to some files, given below the root: tests first, then doctests."""
    tests: dict[str, None] = {}
    doctests: dict[str, None] = {}
    for file in files:
        if file.parts[0] == "flowernoise" and file.suffix == ".py":
            if (root / file).exists():
                doctests[str(file)] = None
            tests |= dict.fromkeys(_mirrors(file, root) or _importers(file, root))
            if file.parts[1] == "catalogue":  # pages of docs/ are made from it
                tests[NAMED] = None
        elif file.parts[0] == "tests":
            tests |= dict.fromkeys(_of_a_test_file(file, root))
        elif file.suffix == ".md" or file.name == "Makefile":
            tests[DOCUMENTS] = None
    return [*tests, *doctests, *([STRUCTURE] if doctests else [])]


def _mirrors(module: Path, root: Path) -> list[str]:
    """Tests of a module of the package, or of the nearest package that it belongs to below its room."""
    parts = [part for part in module.with_suffix("").parts[1:] if part != "__init__"]
    for depth in range(len(parts), 1 if len(parts) > 1 else 0, -1):
        folder, name = root.joinpath("tests", *parts[: depth - 1]), parts[depth - 1].strip("_")
        found = {*folder.glob(f"test_{name}.py"), *folder.glob(f"test_{name}_*.py")}
        found |= set((folder / name).glob("test_*.py")) if depth > 1 else set()
        if found:
            return [str(path.relative_to(root)) for path in sorted(found)]
    return []


def _importers(module: Path, root: Path) -> list[str]:
    """Tests that import a module."""
    *package, name = [part for part in module.with_suffix("").parts if part != "__init__"]
    dotted = re.escape(".".join(package))
    named = re.compile(rf"{dotted}\.{name}\b|from {dotted} import [^\n]*\b{name}\b" if package else rf"import {name}\b")
    return [
        str(path.relative_to(root))
        for path in sorted((root / "tests").rglob("test_*.py"))
        if path.relative_to(root).parts[1] not in ELSEWHERE and named.search(path.read_text(encoding="utf-8"))
    ]


def _of_a_test_file(file: Path, root: Path) -> list[str]:
    if file.suffix != ".py":  # golden files: the tests beside their folder
        return [str(path.relative_to(root)) for path in sorted((root / file).parent.parent.glob("test_*.py"))]
    if file.name.startswith("test_"):
        return [str(file)] if (root / file).exists() else []
    if file.name == "conftest.py":
        return [str(path.relative_to(root)) for path in sorted((root / file).parent.glob("test_*.py"))]
    return _importers(file, root)


# What changed


def changed(base: str, root: Path = ROOT) -> list[Path]:
    """Files that differ from a commit, and files that git does not know yet."""
    lines = _git(root, "diff", "--name-only", base) + _git(root, "ls-files", "--others", "--exclude-standard")
    return [Path(line) for line in dict.fromkeys(lines.splitlines())]


def changed_names(file: Path, base: str, root: Path = ROOT) -> set[str]:
    """Functions and classes at the top level of a module in which lines differ from a commit."""
    if file.suffix != ".py" or not (root / file).exists():
        return set()
    lines: set[int] = set()
    for start, count in HUNK.findall(_git(root, "diff", "--unified=0", base, "--", str(file))):
        lines |= set(range(int(start), int(start) + max(1, int(count or 1))))
    return set(_names_at(ast.parse((root / file).read_text(encoding="utf-8")), lines))


def _names_at(tree: ast.Module, lines: set[int]) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if lines & set(range(first, (node.end_lineno or first) + 1)):
                yield node.name


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


# How pytest runs them: this module is its plugin


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options that :func:`main` sets; pytest-xdist hands them on to its workers."""
    parser.addoption("--until", type=float, help="Time, as of time.time(), after which no test begins.")
    parser.addoption("--first", default="", help="Names, with commas between, whose tests come first.")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what would begin too late."""
    if time.time() > item.config.getoption("--until"):
        pytest.skip("the minute of `make quick` is over; `make test` runs it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts first what names a changed function."""
    names = [re.escape(name) for name in config.getoption("--first").split(",") if name]
    named = re.compile(rf"(?<![a-z])({'|'.join(names)})(?![a-z])")
    if names:
        items.sort(key=lambda item: not named.search(item.nodeid.partition("::")[2]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks what changed, and returns the exit code."""
    until = time.time() + SECONDS
    parser = argparse.ArgumentParser(prog="python -m tests.quick", description="The tests that a change concerns.")
    parser.add_argument("files", nargs="*", type=Path, help="Files that count as changed, instead of asking git.")
    parser.add_argument("--base", default="HEAD", help="Commit to compare with.")
    asked = parser.parse_args(arguments)
    files = asked.files or changed(asked.base)
    names = set().union(*(changed_names(file, asked.base) for file in files)) if files else set()
    with subprocess.Popen([sys.executable, "-m", "mypy"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as types:
        code = _run("ruff", "check", ".") or _run("ruff", "format", "--check", ".")
        if tests := concerned(files):
            first = ",".join(sorted(names))
            options = ("-n", "2", "-q", "-m", "not slow", "--hypothesis-profile", "quick", "-p", "tests.quick")
            ended = _run("pytest", *options, f"--until={until}", f"--first={first}", *tests)
            code |= 0 if ended == pytest.ExitCode.NO_TESTS_COLLECTED else ended  # all of them are slow
        else:
            sys.stdout.write("No test mirrors what changed.\n")
        said, _ = types.communicate()
    sys.stdout.write(said)
    return code | types.returncode


def _run(module: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
