"""What only notebooks, instructors and batch runs need: figures, checks of exercises, headless runs, sweeps."""

from course import checks, figures
from course.display import show, show_source
from course.feature_browser import FeatureBrowser
from course.records import read_record
from course.stages import stage_table
from course.variants import VARIANTS
from labkit.curves import new_figure

__all__ = [
    "VARIANTS",
    "FeatureBrowser",
    "checks",
    "figures",
    "new_figure",
    "read_record",
    "show",
    "show_source",
    "stage_table",
]
