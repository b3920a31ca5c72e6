"""The workbook's figures: every function returns a matplotlib `Figure` for `show`."""

from labkit.workbook.plots.pictures import picture_grid

__all__ = ["picture_grid"]
