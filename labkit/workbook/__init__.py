"""What only people in a notebook need: figures, the browser, checks of exercises, headless runs."""

from labkit.workbook import checks, plots
from labkit.workbook.browser import Browser
from labkit.workbook.display import new_figure, show, show_source

__all__ = ["Browser", "checks", "new_figure", "plots", "show", "show_source"]
