"""Packages import in one direction only, and no file grows out of reading."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "labkit"
PACKAGES = ("dataset", "labkit", "course", "benchmarks")
ORDER = ("errors", "files", "metrics", "painting", "data", "models", "training", "analysis", "curves", "browser", "cli")
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return names + [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_imports_only_packages_to_its_left(name):
    refused = set(PACKAGES[PACKAGES.index(name) + 1 :])
    for path in sorted((ROOT / name).rglob("*.py")):
        assert not refused & {module.partition(".")[0] for module in imported_modules(path)}, path


@pytest.mark.parametrize("path", [p for p in FILES if part(p) in ORDER], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_part_of_labkit_imports_from_parts_to_its_left(path):
    for module in imported_modules(path):
        if module.startswith("labkit."):
            assert ORDER.index(module.split(".")[1]) <= ORDER.index(part(path)), f"imports {module}"


def line_counts(package: str) -> dict[str, int]:
    return {str(p.relative_to(ROOT / package)): len(p.read_text().splitlines()) for p in (ROOT / package).rglob("*.py")}


def test_labkit_is_thin_and_no_file_is_long():
    labkit, course = line_counts("labkit"), line_counts("course")
    assert max(labkit.values()) <= 260
    assert max(course.values()) <= 260
    assert sum(labkit.values()) <= 6_000
    assert sum(labkit.values()) + sum(course.values()) <= 18_900  # claims, grading, report, hand-in are course's


def test_what_a_student_reads_is_an_evening():
    lines = line_counts("labkit")
    # the reports' networks, the paper's to the letter and torchvision's encoders are extra
    extra = {f"models/{name}.py" for name in ("report_resnet34_unet", "paper_unet", "encoder_unet")}
    networks = {name for name in lines if name.startswith("models/")} - extra
    assert sum(lines[name] for name in (*networks, "metrics.py", "training/loop.py", "training/losses.py")) <= 1_000
