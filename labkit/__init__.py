"""labkit: the thin helper behind the notebooks (data -> models -> training -> analysis -> workbook)."""

__version__ = "0.1.0"
