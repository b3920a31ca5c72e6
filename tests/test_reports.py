"""docs/reports.md: what the five reports describe is there as a command, and the page says what the commands do.

`python -m tests.test_reports` writes the page from docs/reports.toml.
"""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

import course.cli
from course.experiments.claims import load_claims
from course.experiments.plan import load_plan
from labkit import cli
from labkit.data import open_pets
from labkit.training import epochs, load_recipe
from labkit.training.recipe import parse_switches, with_values
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "reports.md"
HEAD = """# What the five reports describe, and its command

The reports that this course retells are called 000 to 004. Every network, option and result that they describe, or name
as future work, is a command; the last column names the notebook and its section that shows it. Recipes that end in
`-as-coded` make the mistakes of a report's code; without the ending they are as its text means. Commands without
`--data pets` take the drawn sample. `python -m tests.test_reports` makes this page; a test holds it against the code.
"""


def features() -> list[tuple[str, str, str, str]]:
    """Report, feature, command and section of each row."""
    reports = tomllib.loads(PAGE.with_suffix(".toml").read_text(encoding="utf-8"))
    return [(report, *row) for report, rows in reports.items() for row in rows]


def rendered() -> str:
    """The page."""
    lines = [HEAD]
    for number in sorted({report for report, *_ in features()}):
        lines += [f"## Report {number}", "", "| feature | command | notebook |", "|---|---|---|"]
        for report, feature, command, shown in features():
            if report == number:
                notebook = shown.replace(", ", ", section ") or "-"
                lines.append(f"| {feature} | `{command}` | {notebook} |")
        lines.append("")
    return "\n".join(lines)


COMMANDS = list(dict.fromkeys(command for _, _, command, _ in features()))
TRAININGS = [command for command in COMMANDS if command.startswith("labkit train")]


def parsed(command: str):
    """The options of a command as its command line reads them; a wrong one ends the test with click's error."""
    program, *words = shlex.split(command)
    at, context = typer.main.get_command({"labkit": cli.app, "course": course.cli.app}[program]), None
    while hasattr(at, "commands"):
        name, *words = words
        assert name in at.commands, f"{command}: no command {name!r}"
        at = at.commands[name]
    context = at.make_context(at.name, words)
    return at.name, context.params


def trained_recipe(options):
    """The recipe that `labkit train` would take."""
    recipe = load_recipe(options["recipe"])
    recipe = recipe.changed(model={"name": options["model"]}) if options["model"] else recipe
    return with_values(recipe, parse_switches(options["switches"] or ()), "--set")


def test_the_page_is_what_is_rendered_and_no_feature_lacks_a_command():
    assert PAGE.read_text(encoding="utf-8") == rendered(), "run `python -m tests.test_reports`"
    assert {report for report, *_ in features()} == {"000", "001", "002", "003", "004"}
    assert all(feature and command for _, feature, command, _ in features())
    assert len({(report, feature) for report, feature, *_ in features()}) == len(features())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one_with_options_that_it_has(command):
    program = shlex.split(command)[0]
    if program in ("labkit", "course"):
        name, options = parsed(command)
        if name == "train":
            recipe = trained_recipe(options)
            for text in options["switches"] or ():
                key, _, value = text.partition("=")
                found = recipe.model_dump()
                for part in key.split("."):
                    found = found[part]
                assert str(found).lower().strip("(),'") == value.strip('[]"').lower() or float(found) == float(value)
        if name == "find-rate":
            load_recipe(options["recipe"])
        if name == "sweep":
            assert load_plan(options["sweep"])[1]
        if command.startswith("course claims run"):
            assert load_claims(options["ids"])
    elif program == "python":
        result = subprocess.run(
            [sys.executable, *shlex.split(command)[1:]], capture_output=True, text=True, cwd=REPOSITORY
        )
        assert result.returncode == 0, result.stderr
        assert "usage" in result.stdout
    else:
        assert program == "tensorboard"
        assert (Path(sys.executable).parent / program).exists()


@pytest.mark.parametrize("shown", sorted({shown for *_, shown in features() if shown}))
def test_each_section_is_one_of_the_notebook(shown):
    notebook, section = shown.split(", ")
    (path,) = (REPOSITORY / "notebooks").glob(f"{notebook}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert re.search(rf"^## {section}\b", text, re.MULTILINE), shown


def test_every_recipe_of_a_report_every_sweep_and_every_claim_stands_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    recipes = {path.stem for path in (REPOSITORY / "labkit" / "recipes").glob("report-*.toml")}
    assert recipes <= {parsed(command)[1]["recipe"] for command in TRAININGS}
    for path in (REPOSITORY / "course" / "experiments").glob("*.toml"):
        assert f"`course sweep {path.stem}`" in text
    for path in (REPOSITORY / "course" / "claims").glob("*.toml"):
        assert path.stem == "scales" or f"`course claims run {path.stem}`" in text, path.stem


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAININGS)
def test_each_training_trains(command, tiny_pets):
    """For one epoch on four small images, of the slides where the command names them."""
    _, options = parsed(command)
    recipe, pets = trained_recipe(options), open_pets("slides") if options["data"] == "slides" else tiny_pets
    side = 192 if recipe.model.name == "paper_unet" else 64
    data = {"train_images": 4, "image_size": side, "unlabelled": min(2, recipe.data.unlabelled)}
    recipe = recipe.changed(data=data, training={"epochs": 1, "sizes": (), "batch_size": 2})
    (record,) = epochs(recipe, pets, device="cpu")
    assert record.train_loss > 0


if __name__ == "__main__":
    PAGE.write_text(rendered(), encoding="utf-8")
