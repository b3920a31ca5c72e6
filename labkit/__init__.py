"""labkit: the thin helper behind the notebooks (data -> models -> training -> analysis -> browser)."""

__version__ = "0.1.0"
