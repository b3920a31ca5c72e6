"""Plain papermill puts a parameter that a notebook does not know into it and goes on; here it ends the run.

Without it a misspelt `-p epoch 3` runs to the end on the default. `course lab` says so before it begins.
"""

import ast
from collections.abc import Sequence
from itertools import pairwise

from labkit.errors import LabError

INJECTED = "# Parameters\n"
"""Papermill's cell of what it was given begins so; it comes after the cell that is tagged `parameters`."""


def refuse_unknown_parameters(cells: Sequence[str]) -> None:
    """Raise a `LabError` if papermill's cell, of cells as they were run, sets what the one before it does not."""
    for known, given in pairwise(cells):
        if given.startswith(INJECTED) and (unknown := sorted(_assigned(given) - _assigned(known))):
            there = ", ".join(sorted(_assigned(known))) or "none"
            raise LabError(f"papermill: the notebook has no parameter {', '.join(unknown)}; there are: {there}")


def _assigned(cell: str) -> set[str]:
    names = (node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}
