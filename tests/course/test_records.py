"""The records are found wherever the lab's home is, and each row says what it was measured with."""

import pytest

from course import read_record
from labkit.errors import LabError
from labkit.files import home

RECORDS = sorted(path.stem for path in (home() / "records").glob("*.csv"))


def test_a_record_in_the_labs_home_comes_before_the_one_beside_the_code(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    beside = read_record("speedrun")
    assert len(beside) > 1
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "speedrun.csv").write_text("a,b\n1,2\n")
    assert read_record("speedrun").to_dict("list") == {"a": [1], "b": [2]}


def test_a_record_that_is_not_there_is_said_with_those_that_are():
    with pytest.raises(LabError, match=r"no record 'speed' in .*; there are .*speedrun"):
        read_record("speed")


PARTS = {"claims-epochs": ("claims", ["run"]), "sample_runs": ("sample_runs_epochs", ["network", "seed"])}
"""Tables whose runs are told of in another one, and the columns by which they are found there."""


@pytest.mark.parametrize("name", RECORDS)
def test_every_row_says_what_it_was_measured_with(name):
    table = read_record(name)
    if name in PARTS:
        other, keys = PARTS[name]
        table = table.merge(read_record(other).drop_duplicates(keys), on=keys, how="left")
    if name == "verdicts":
        return  # they are made from the records of claims, which say it
    for column in ("device", "commit"):
        assert table[column].notna().all(), column
    assert f"`{name}.csv`" in (home() / "records" / "README.md").read_text()
