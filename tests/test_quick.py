"""What `make quick` takes to be concerned by a change, shown on a small tree."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.quick import NAMED, ROOT, STRUCTURE, changed, changed_names, concerned

HERE = {
    "flowernoise/errors.py": "",
    "flowernoise/safe/paths.py": "",
    "flowernoise/catalogue/losses.py": "def ce():\n    return 1\n\n\n@register\ndef mae():\n    return 2\n",
    "flowernoise/steps/train/__init__.py": "",
    "flowernoise/steps/train/plan.py": "",
    "flowernoise/analysis/judge/order.py": "",
    "tests/test_errors.py": "",
    "tests/helper.py": "",
    "tests/safe/test_paths.py": "from flowernoise.errors import FlowernoiseError\n",
    "tests/catalogue/test_losses.py": "from tests.helper import value\n",
    "tests/steps/conftest.py": "",
    "tests/steps/test_train.py": "from flowernoise.analysis.judge import order\n",
    "tests/steps/test_train_command.py": "",
    "tests/steps/test_trainer.py": "",
    "tests/reliability/test_kill.py": "from flowernoise.analysis.judge import order\n",
    "tests/show/golden/table.txt": "",
    "tests/show/test_table.py": "",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a package and its tests, all committed."""
    for name, text in HERE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "all")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("flowernoise/errors.py", ["tests/test_errors.py", "flowernoise/errors.py", STRUCTURE]),
        ("flowernoise/safe/paths.py", ["tests/safe/test_paths.py", "flowernoise/safe/paths.py", STRUCTURE]),
        (
            "flowernoise/catalogue/losses.py",
            ["tests/catalogue/test_losses.py", NAMED, "flowernoise/catalogue/losses.py", STRUCTURE],
        ),
        (
            "flowernoise/steps/train/plan.py",
            [
                "tests/steps/test_train.py",
                "tests/steps/test_train_command.py",
                "flowernoise/steps/train/plan.py",
                STRUCTURE,
            ],
        ),
        (
            "flowernoise/analysis/judge/order.py",
            ["tests/steps/test_train.py", "flowernoise/analysis/judge/order.py", STRUCTURE],
        ),
        ("flowernoise/catalogue/removed.py", [NAMED]),
        ("tests/steps/test_train.py", ["tests/steps/test_train.py"]),
        ("tests/steps/test_removed.py", []),
        (
            "tests/steps/conftest.py",
            ["tests/steps/test_train.py", "tests/steps/test_train_command.py", "tests/steps/test_trainer.py"],
        ),
        ("tests/helper.py", ["tests/catalogue/test_losses.py"]),
        ("tests/show/golden/table.txt", ["tests/show/test_table.py"]),
        ("README.md", ["tests/test_docs.py"]),
        ("LICENSE", []),
    ],
)
def test_a_change_concerns_what_mirrors_it_or_else_what_imports_it(tree: Path, file: str, expected: list[str]) -> None:
    assert concerned([Path(file)], tree) == expected


def test_the_tests_that_are_named_here_exist() -> None:
    for name in (NAMED, STRUCTURE):
        file, _, function = name.partition("::")
        assert f"def {function}(" in (ROOT / file).read_text()


def test_changed_files_are_those_that_differ_from_the_commit_and_new_ones(tree: Path) -> None:
    assert changed("HEAD", tree) == []
    (tree / "flowernoise/errors.py").write_text("x = 1\n")
    (tree / "flowernoise/new.py").write_text("")
    assert changed("HEAD", tree) == [Path("flowernoise/errors.py"), Path("flowernoise/new.py")]


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ("return 1", "return 3", {"ce"}),
        ("return 2", "return 3", {"mae"}),
        ("@register", "@register()", {"mae"}),
        ("\n\n@register", "X = 1\n\n@register", set()),
    ],
)
def test_changed_names_are_those_of_the_functions_that_hold_a_changed_line(
    tree: Path, before: str, after: str, names: set[str]
) -> None:
    losses = tree / "flowernoise/catalogue/losses.py"
    losses.write_text(losses.read_text().replace(before, after))
    assert changed_names(Path("flowernoise/catalogue/losses.py"), "HEAD", tree) == names


TESTS = "import pytest\n\n@pytest.mark.parametrize('loss', ['ce', 'mae', 'source'])\ndef test_it(loss): ...\n"


def ran(tmp_path: Path, *options: str) -> list[str]:
    """What pytest says of three tests, one a line, run with quick as its plugin."""
    (tmp_path / "test_losses.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-p",
        "tests.quick",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
    ]
    done = subprocess.run(
        [*command, "-c", "/dev/null", *options, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_what_names_a_changed_function_comes_first(tmp_path: Path) -> None:
    lines = ran(tmp_path, "--until=9e11", "--first=mae,our")
    assert [line.partition("[")[2].partition("]")[0] for line in lines] == ["mae", "ce", "source"]
    assert all("PASSED" in line for line in lines)


def test_nothing_begins_once_the_minute_is_over(tmp_path: Path) -> None:
    lines = ran(tmp_path, "--until=1")
    assert len(lines) == 3
    assert all("SKIPPED" in line for line in lines)
