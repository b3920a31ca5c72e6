"""What only people in a notebook need: figures, the browser, checks of exercises, headless runs."""

from labkit.workbook import checks, plots
from labkit.workbook.browser import Browser
from labkit.workbook.display import new_figure, show, show_source
from labkit.workbook.feature_browser import FeatureBrowser

__all__ = ["Browser", "FeatureBrowser", "checks", "new_figure", "plots", "show", "show_source"]
