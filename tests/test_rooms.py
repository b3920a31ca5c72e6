"""The rooms of the package import in one direction, and none of them grows out of reading."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "labkit"
ORDER = ("errors", "files", "metrics", "painting", "data", "models", "training", "analysis", "workbook", "cli")
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in ORDER], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_from_rooms_to_its_left(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("labkit."):
            imported = node.module.split(".")[1]
            assert ORDER.index(imported) <= ORDER.index(room(path)), f"imports {node.module}"


def test_what_a_student_reads_is_an_evening_and_no_file_is_long():
    lines = {p.relative_to(PACKAGE).as_posix(): len(p.read_text().splitlines()) for p in FILES}
    assert max(lines.values()) <= 260
    networks = {name: n for name, n in lines.items() if name.startswith("models/")}
    rest = lines["metrics.py"] + lines["training/loop.py"] + lines["training/losses.py"]
    # the lab's own networks; the reports', the paper's to the letter, torchvision's encoders, the speedrun's are extra
    extra = ("models/report_resnet34_unet.py", "models/paper_unet.py", "models/encoder_unet.py", "models/patch_unet.py")
    assert sum(n for name, n in networks.items() if name not in extra) + rest <= 1010
    assert sum(networks.values()) + rest <= 1350
