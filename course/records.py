"""What was measured: the tables of `records/`."""

from pathlib import Path

import pandas as pd

import labkit
from labkit.errors import LabError
from labkit.files import home


def read_record(name: str) -> pd.DataFrame:
    """A table of `records/`, such as `speedrun`; what its columns mean stands in `records/README.md`.

    The records come with the code: where `LABKIT_HOME` names a folder without them, those beside the package count.

    Raises:
        LabError: there is no such record.
    """
    folders = [home() / "records", Path(labkit.__file__).resolve().parent.parent / "records"]
    for folder in folders:
        if (folder / f"{name}.csv").is_file():
            return pd.read_csv(folder / f"{name}.csv")
    known = ", ".join(sorted({path.stem for folder in folders for path in folder.glob("*.csv")})) or "none"
    raise LabError(f"no record {name!r} in {folders[0]}; there are {known}")
