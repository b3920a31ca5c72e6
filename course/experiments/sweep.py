"""The trainings of a plan as jobs, and the tables of what came of them."""

from pathlib import Path
from typing import Any

import pandas as pd

from course.experiments.jobs import Job
from labkit.data import class_names, data_root, open_pets
from labkit.errors import LabError
from labkit.files import check_targets, write_text
from labkit.training import Recipe

MEASURES = ("valid_dice", "dice_per_image", "dice_pooled")
COLUMNS = ("best_epoch", "valid_dice", "split", *MEASURES[1:], "seconds", "parameters", "status", "error")


def planned_jobs(
    plan: list[tuple[dict[str, Any], Recipe]], out: Path, data: str, split: str, device: str, notebook: str = ""
) -> list[Job]:
    """A job for each training of a plan, in a folder of its own in `out` (see `Job`).

    Raises:
        LabError: a recipe does not fit the data, they have no such split, or tables in `out` are not labkit's.
    """
    check_targets(out / name for name in ("results.csv", "seeds.csv", "results.png"))
    pets, jobs, (family, _, part) = open_pets(data), [], split.rpartition("/")
    for labels, recipe in plan:
        own, run = recipe.data.split, str(out / labels["run"])
        try:
            recipe.resolved_classes(class_names(recipe.data.target, pets))
            for place in (("train", own), ("valid", own), (part, family or own)):
                pets.split(*place)
        except LabError as error:
            raise LabError(f"{labels['run']}: {error}") from None
        fingerprints = {"fingerprint": pets.fingerprint, "split_fingerprint": pets.split_fingerprint(own)}
        recipe = recipe.changed(data=fingerprints)
        jobs.append(Job(run, recipe.toml(), str(data_root(data).resolve()), labels, split, device, notebook))
    return jobs


def write_results(jobs: list[Job], rows: dict[str, dict[str, Any]], out: Path) -> dict[str, pd.DataFrame]:
    """Write `results.csv`, and `seeds.csv` (see `seed_table`) where seeds were varied; returns both by name.

    `results` has a line a job: its labels and `COLUMNS`; without a row, by run folder, it is `unfinished`.
    """
    lines = [job.labels | {"status": "unfinished"} | rows.get(job.run, {}) for job in jobs]
    tables = {"results": pd.DataFrame(lines, columns=[*jobs[0].labels, *COLUMNS])}
    if "training.seed" in tables["results"]:
        tables["seeds"] = seed_table(tables["results"])
    for name, table in tables.items():
        write_text(out / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    return tables


def seed_table(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (of a sample) over the seeds of runs that are done and alike otherwise.

    Columns: `recipe`, `arm` where there is one, the other keys, `seeds` (their number), `<measure>_mean`,
    `<measure>_std`.
    """
    others = [key for key in table if key in ("recipe", "arm") or ("." in key and key != "training.seed")]
    groups = table[table["status"] == "done"].groupby(others, sort=False, dropna=False, as_index=False)
    return groups.agg(seeds=("run", "count"), **{f"{m}_{how}": (m, how) for m in MEASURES for how in ("mean", "std")})
