"""Sliders to browse predictions against masks."""

from labkit.browser.browser import Browser

__all__ = ["Browser"]
