"""Runs the notebooks without a browser: papermill, with checked parameters and clear failures."""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from course.run_folder import clear_run_folder
from course.site import WIDGET, data_outputs, lab_page, refuse_foreign_site, write_site
from labkit.data import open_pets
from labkit.errors import LabError
from labkit.files import PARTIAL, cannot_write, check_targets, checkout, home, is_ours, write_text
from labkit.training import load_recipe

WRITERS = {"str": str, "int": int, "float": float}
BAR = "{desc}: cell {n_fmt} of {total_fmt} |{bar}| {elapsed}"


LAB = ("01", "02", "03", "04", "05")
"""The chapters of the lab; further chapters follow."""
OPENING = """# Image segmentation lab

Build UNet, ResNet34-UNet and an attention UNet block by block, train them, and find out what they get right and wrong
on images of pets. The notebooks were executed on drawn pets, as they come with the project; solutions are folded.
"""


def notebook_files(only: Sequence[str] = ()) -> list[Path]:
    """The numbered notebooks in order, or those whose names begin with one of `only`."""
    files = sorted((home() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if unknown := [name for name in only if not any(file.stem.startswith(name) for file in files)]:
        raise LabError(f"no notebook {unknown[0]!r}; there are {', '.join(file.stem for file in files)}")
    return [file for file in files if not only or any(file.stem.startswith(name) for name in only)]


def notebook_parameters(notebook: Path) -> dict[str, dict[str, Any]]:
    """Name, type, default and help of each parameter, as papermill reads them from the tagged cell."""
    return papermill.inspect_notebook(str(notebook))


def parse_parameters(given: list[str], notebooks: list[Path]) -> dict[str, Any]:
    """`NAME=VALUE` texts as values of the type that the notebooks declare.

    Raises:
        LabError: no notebook knows the name, or the value is not of its type.
    """
    known = {name: facts for notebook in notebooks for name, facts in notebook_parameters(notebook).items()}
    return {name: _typed(text, known) for text in given for name in [text.partition("=")[0].strip()]}


def _typed(text: str, known: dict[str, dict[str, Any]]) -> Any:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise LabError(f"parameter {text!r}: write NAME=VALUE")
    if name not in known:
        raise LabError(f"no notebook has a parameter {name!r}; there are {', '.join(sorted(known))}")
    kind = known[name]["inferred_type_name"]
    if kind == "bool" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        return WRITERS[kind](value)
    except (KeyError, ValueError):
        raise LabError(f"parameter {name}: found {value!r}, a {kind} is expected ({known[name]['help']})") from None


def run_notebook(
    notebook: Path, out: Path, parameters: dict[str, Any], progress: bool = True, cell_timeout: int | None = None
) -> Path:
    """Execute one notebook with the parameters that it knows; returns the executed copy.

    `progress` shows a bar of the cells; turn it off to run several notebooks at once. No cell may take longer than
    `cell_timeout` seconds, if it is given.

    Raises:
        LabError: a cell failed or took too long; the half-executed copy is kept, and the message names notebook, cell
            and error.
    """
    known = notebook_parameters(notebook)
    target, partial = out / notebook.name, out / f"{PARTIAL}{notebook.name}"
    check_targets([target], [notebook])
    check_kernel()
    try:
        papermill.execute_notebook(
            notebook,
            partial,
            {name: value for name, value in parameters.items() if name in known},
            kernel_name="python3",
            cwd=notebook.parent,
            execution_timeout=cell_timeout,
            extra_arguments=["--IPKernelApp.log_level=50"],  # the kernel's messages would break the progress bar
            progress_bar=progress and {"desc": notebook.stem, "bar_format": BAR},
        )
    except PapermillExecutionError as error:
        _keep(partial, target)
        raise LabError(
            f"{notebook.name}, cell {error.cell_index + 1} failed: {error.ename}: {_first_line(error.evalue)} "
            f"(the notebook up to that cell: {target})"
        ) from None
    except CellTimeoutError:
        _keep(partial, target)
        raise LabError(
            f"{notebook.name}: a cell took longer than {cell_timeout} s (the notebook up to it: {target}); allow more "
            "with --cell-timeout, or take a smaller recipe"
        ) from None
    except (DeadKernelError, RuntimeError) as error:
        raise LabError(
            f"{notebook.name}: its kernel died ({_first_line(str(error))}); is there enough memory? "
            "`course doctor` checks the machine"
        ) from None
    except OSError as error:
        raise cannot_write(partial, error) from None
    _keep(partial, target)
    return target


def _keep(partial: Path, target: Path) -> None:
    notebook = nbformat.read(partial, as_version=4)
    for output in data_outputs(notebook):
        if "text/html" in output.data:  # works without the kernel, which is gone; JupyterLab would prefer the widget
            output.data.pop(WIDGET, None)
    write_text(target, nbformat.writes(notebook) + "\n")
    partial.unlink()


def check_kernel() -> None:
    """Check that the kernel `python3` can start.

    Raises:
        LabError: the kernel or its Python is missing.
    """
    remedy = f"`{sys.executable} -m ipykernel install --sys-prefix --name python3` installs it"
    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        raise LabError(f"the notebooks' kernel `python3` is not installed; {remedy}") from None
    if shutil.which(program) is None:
        raise LabError(f"the notebooks' kernel `python3` starts {program}, which is not there; {remedy} again")


def refresh(only: Sequence[str] = ()) -> None:
    """Execute the committed notebooks in place on the sample, and remove traces of the run."""
    for path in notebook_files(only):
        with tempfile.TemporaryDirectory() as folder:
            notebook = nbformat.read(run_notebook(path, Path(folder), {}), as_version=4)
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
        for cell in notebook.cells:
            for trace in ("papermill", "execution"):
                cell.metadata.pop(trace, None)
        write_text(path, nbformat.writes(notebook) + "\n", replace=True)


def run_lab(
    out: Path,
    data: str,
    recipe: str,
    device: str,
    only: Sequence[str] = LAB,
    given: Sequence[str] = (),
    cell_timeout: int | None = None,
) -> Path:
    """Execute the notebooks in order and build a site of them; 05 reads the run of 04.

    Args:
        out: folder for the executed notebooks, the run and the site. Files of an earlier lab
            are replaced; another file in their place stops the command before it starts.
        data: `sample`, `pets` or a folder.
        recipe: of the training in 04.
        device: `auto`, `cpu`, `cuda` ...
        only: beginnings of notebook names; all when empty.
        given: more parameters, as `NAME=VALUE`.
        cell_timeout: the most seconds that a cell may take; None: any.

    Returns:
        The site's first page, `<out>/site/index.html`.
    """
    notebooks = notebook_files(only)
    parameters = parse_parameters(given, notebooks)
    load_recipe(recipe)  # a wrong name or key is reported now, not three notebooks later
    open_pets(data if data in ("sample", "pets") else Path(data).resolve())
    out = out.resolve()
    old = [*out.glob("[0-9][0-9]_*.ipynb"), out / "index.html"]
    check_targets([out / path.name for path in notebooks], notebook_files())
    refuse_foreign_site(out / "site")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in filter(is_ours, old):
            path.unlink()
    except OSError as error:
        raise cannot_write(out, error) from None
    if (out / "run").exists():
        clear_run_folder(out / "run")

    recipe_file = Path(recipe).resolve()
    shared = {
        "data": data if data in ("sample", "pets") else str(Path(data).resolve()),
        "recipe": str(recipe_file) if recipe_file.is_file() else recipe,
        "device": device,
    }
    began, executed = time.perf_counter(), []
    for notebook in notebooks:
        # 04 writes this run, 05 reads it; without a run 05 uses the committed weights
        run = {"run": str(out / "run")} if notebook.stem[:2] == "04" or (out / "run" / "recipe.toml").is_file() else {}
        executed.append(run_notebook(notebook, out, shared | run | parameters, cell_timeout=cell_timeout))
    seconds = time.perf_counter() - began
    return write_site(out / "site", executed, lab_page(out / "run", shared | parameters, seconds))


def committed_site(out: Path) -> Path:
    """Build the site of the notebooks as they are, and of the pages in `docs/`; returns its first page."""
    root = checkout()
    pages = sorted((root / "docs").glob("*.md")) if root else []
    return write_site(out.resolve(), notebook_files(), OPENING, pages)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "(no message)"
