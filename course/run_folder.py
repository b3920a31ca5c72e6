"""A run folder is cleared for a run that begins anew."""

from pathlib import Path

from labkit.files import EVALUATION_FILES, RUN_FILES, cannot_write, claim_run_folder


def clear_run_folder(path: Path) -> None:
    """Delete a run's own files, and nothing that the user has put beside them; errors as in `claim_run_folder`."""
    claim_run_folder(path)
    files = [path / name for name in RUN_FILES] + [*path.glob("tensorboard/events.out.tfevents.*")]
    files += [file for file in path.glob("evaluations/*/*") if file.name in EVALUATION_FILES]
    try:
        for file in files:
            file.unlink(missing_ok=True)
        for folder in (*path.glob("evaluations/*"), path / "evaluations", path / "tensorboard"):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise cannot_write(path, error) from None
