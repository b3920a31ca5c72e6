"""Add a run's evaluations to records/results.csv: `python -m benchmarks.record RUN [--note TEXT]`."""

import argparse
import json
from pathlib import Path

import pandas as pd

from benchmarks.timing import device_in_words
from labkit.files import home, write_text
from labkit.models import count_parameters
from labkit.training import open_run


def rows(path: Path, note: str) -> list[dict]:
    """One row for each evaluation of a run: its scores, and scale, device, seed and commit beside them."""
    run = open_run(path)
    environment = json.loads((path / "environment.json").read_text())
    training, history = run.recipe.training, run.history()
    made = {
        "recipe": path.resolve().name,
        "network": run.recipe.model.name,
        "parameters": count_parameters(run.model()),
        "epochs": len(history),
        "train_minutes": round(history["seconds"].sum() / 60, 1),
        "best_valid_dice": round(history["valid_dice"].max(), 4),
        "precision": training.precision,
        "device": device_in_words(environment),
        "threads": environment["threads"],
        "torch": environment["torch"],
        "seed": training.seed,
        "commit": environment["commit"],
        "note": note,
    }
    summaries = [json.loads(p.read_text()) for p in sorted(path.glob("evaluations/*/summary.json"))]
    return [{k: round(v, 4) if isinstance(v, float) else v for k, v in s.items()} | made for s in summaries]


def main() -> None:
    """Replace the run's rows in the table."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("run", type=Path)
    words.add_argument("--note", default="")
    given = words.parse_args()
    table, fresh = home() / "records" / "results.csv", pd.DataFrame(rows(given.run, given.note))
    if table.exists():
        old = pd.read_csv(table)
        fresh = pd.concat([old[old["recipe"] != given.run.resolve().name], fresh], ignore_index=True)
    write_text(table, fresh.to_csv(index=False, lineterminator="\n"), replace=True)
    print(fresh.to_string())


if __name__ == "__main__":
    main()
