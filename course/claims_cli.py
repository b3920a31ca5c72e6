"""The commands `course claims ...`: which claims there are, their trainings, the records of them."""

import signal
from pathlib import Path
from typing import Annotated, Literal

import typer

from labkit.cli.shell import Device, bar
from labkit.errors import LabError

claims_app = typer.Typer(help="Put the claims of the reports to the test.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(help="Claims by id; default: all.")]
Scale = Annotated[Literal["tiny", "cpu", "gpu"], typer.Option(help="tiny: seconds a run, on the sample.")]
Out = Annotated[Path | None, typer.Option(help="The folder of the run folders; default runs/claims.")]


@claims_app.command("list")
def list_claims(ids: Ids = None) -> None:
    """Show the claims: what was said, by which report, and what would decide it."""
    from course.experiments.claims import load_claims

    for claim in load_claims(ids or ()):
        against = f", against {', '.join(claim.against)}" if claim.against else ""
        typer.echo(f"{claim.id}: {claim.claim} (report {', '.join(claim.reports)}{against})")
        if ids:
            typer.echo(f"  measured there: {claim.reported}\n  supported if:   {claim.supported}")
            typer.echo(f"  refuted if:     {claim.refuted}")
            typer.echo(f"  arms:           {', '.join(claim.arms)}; {claim.seeds} seeds")
            if claim.scale_note:
                typer.echo(f"  note:           {claim.scale_note}")


@claims_app.command("run")
def run_claims(
    ids: Ids = None,
    scale: Scale = "tiny",
    minutes: Annotated[float | None, typer.Option(min=0, help="Begin no further training after so many.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings at once; default: one a CPU core or GPU.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what the records have already.")] = False,
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Do the trainings that claims need, common ones once; what is done is skipped, what was stopped goes on.

    Examples:

    `course claims run flips` (the drawn sample, a minute)

    `course claims run ranking augment --scale cpu --minutes 60` (the real pets at 64 pixels, one thread a run)
    """
    from course.experiments.claim_queue import ClaimQueue, recorded_rows
    from course.experiments.claims import load_claims
    from labkit.files import home

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it in the background
    recorded = {} if again else recorded_rows(home() / "records")
    queue = ClaimQueue(load_claims(ids or ()), scale, _folder(out, scale), recorded, device)
    due = queue.due()
    typer.echo(f"{len(due)} trainings are due now, {len(queue.rows)} are in the records; runs in {queue.out}")
    with bar(None, "runs", len(due)) as progress:

        def tell(text: str) -> None:
            progress.write(text)
            progress.update()

        whole = queue.work(workers, minutes, tell)
    typer.echo(f"{len(queue.rows)} done, {len(queue.due())} left, {len(queue.failed)} failed")
    if queue.failed:
        raise LabError(f"{len(queue.failed)} trainings failed, named above; the same command tries them again")
    if not whole:
        typer.echo("the minutes are over; the same command goes on")


@claims_app.command("record")
def record_claims(scale: Scale = "cpu", out: Out = None) -> None:
    """Add finished trainings to `records/`: a row each, their epochs, and the Dice of every test image."""
    from course.experiments.claim_jobs import write_records
    from course.experiments.claim_queue import ClaimQueue, recorded_rows
    from course.experiments.claims import load_claims
    from course.experiments.jobs import finished
    from labkit.files import home

    queue = ClaimQueue(load_claims(), scale, _folder(out, scale), recorded_rows(home() / "records"))
    while True:  # what a tuned arm needs is known from the rows of its trials, which may be records already
        jobs = queue.all_jobs()
        found = {job.labels["run"]: row for job in jobs if (row := finished(job))}
        if found.keys() <= queue.rows.keys():
            break
        queue.rows |= found
    number = write_records(jobs, scale, home() / "records")
    typer.echo(f"{number} of {len(jobs)} trainings recorded in {home() / 'records'}")


@claims_app.command("verdict")
def print_verdicts(
    ids: Ids = None,
    scale: Scale = "cpu",
    records: Annotated[Path | None, typer.Option(help="Folder of the records; default records.")] = None,
) -> None:
    """Judge the claims from the records and write `verdicts.csv` beside them (where all claims are judged).

    Intervals account for images and seeds; where several comparisons decide a claim, they are widened after Holm.
    """
    from course.experiments.claims import load_claims
    from course.experiments.verdicts import ClaimRecords, verdict_table
    from labkit.files import home, write_text

    folder = records or home() / "records"
    table = verdict_table(load_claims(ids or ()), ClaimRecords(folder, scale))
    for name, rows in table.groupby("id", sort=False):
        typer.echo(f"{name}: {rows['verdict'].iloc[0]} ({rows['runs'].iloc[0]} runs, scale {scale})")
        for row in rows.itertuples():
            sides = row.first if not isinstance(row.second, str) else f"{row.first} - {row.second}"
            bound = f", said of {row.than:g}" if row.than else ""
            numbers = (
                f"{row.effect:+.4f} [{row.low:+.4f}, {row.high:+.4f}]" if row.effect == row.effect else "not yet run"
            )
            aside = "" if row.counts else " (beside it)"
            typer.echo(f"    {row.measure}: {sides}: {numbers}{bound}: {row.found}{aside}")
    typer.echo(", ".join(f"{n} {v}" for v, n in table.drop_duplicates("id")["verdict"].value_counts().items()))
    if not ids:
        write_text(
            folder / "verdicts.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.6g"), replace=True
        )
        typer.echo(f"written to {folder / 'verdicts.csv'}")


def _folder(out: Path | None, scale: str) -> Path:
    from labkit.files import home

    return (out or home() / "runs" / "claims").expanduser().resolve() / scale
