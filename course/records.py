"""The measured tables of `records/`."""

from pathlib import Path

import pandas as pd

from labkit.errors import LabError
from labkit.files import checkout, home


def read_record(name: str) -> pd.DataFrame:
    """A table of `records/`, such as `speedrun`; `records/README.md` explains its columns.

    Where `LABKIT_HOME` has no such table, the checkout's is read.

    Raises:
        LabError: there is no such record.
    """
    return pd.read_csv(record_folder(name) / f"{name}.csv")


def record_folder(name: str) -> Path:
    """The folder of the records that holds a table; where to look and errors are those of `read_record`."""
    folders = [folder / "records" for folder in dict.fromkeys((home(), checkout() or home()))]
    for folder in folders:
        if (folder / f"{name}.csv").is_file():
            return folder
    known = ", ".join(sorted({path.stem for folder in folders for path in folder.glob("*.csv")})) or "none"
    raise LabError(f"no record {name!r} in {folders[0]}; there are {known}")
