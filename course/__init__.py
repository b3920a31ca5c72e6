"""Figures, checks of exercises, runs without a browser and sweeps, for notebooks and instructors."""

import importlib
import sys
from typing import Any

_FOUND_IN = {
    "MapBrowser": "course.figures.maps",
    "module_outputs": "course.figures.maps",
    "new_figure": "labkit.curves",
    "orthogonalized": "course.orthogonal",
    "plant_quirks": "course.quirks",
    "read_record": "course.records",
    "say": "course.display",
    "show": "course.display",
    "show_source": "course.display",
    "stage_table": "course.stages",
    "VARIANTS": "course.variants",
}
__all__ = [*_FOUND_IN, "checks", "figures"]


def __getattr__(name: str) -> Any:
    """Import on first use: the command line must be quick, and work where a package is broken."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _FOUND_IN:
        return getattr(importlib.import_module(_FOUND_IN[name]), name)
    return importlib.import_module(f"{__name__}.{name}")


if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):  # the set-up cell of a notebook
    from course.parameters import refuse_unknown_parameters

    refuse_unknown_parameters(shell.user_ns.get("In", ()))
