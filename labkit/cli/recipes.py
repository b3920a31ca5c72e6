"""`labkit recipe`: which recipes there are, and every key of one."""

import json
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

recipe_app = typer.Typer(help="The recipes that come with labkit, and every key of one.", no_args_is_help=True)


@recipe_app.command("list")
def list_recipes() -> None:
    """Name each recipe with its first line."""
    from labkit.training.recipe import RECIPES

    for path in sorted(RECIPES.glob("*.toml")):
        typer.echo(f"{path.stem:<36}{path.read_text(encoding='utf-8').partition(chr(10))[0].lstrip('# ')}")


@recipe_app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="A TOML file, or the name of one in recipes/.")] = "default",
) -> None:
    """Print a recipe with every default written out and what each key means.

    Every key can be set from the command line: `labkit train NAME --set KEY=VALUE`.
    """
    from labkit.training import load_recipe
    from labkit.training.recipe import FILLED_IN

    recipe = load_recipe(name)
    for table in ("data", "model", "training"):
        for line in _lines(getattr(recipe, table), table, FILLED_IN):
            typer.echo(line)


def _lines(table: Any, path: str, left_out: tuple[str, ...]) -> list[str]:
    from pydantic import BaseModel

    lines, fields = [], type(table).model_fields
    for key, value in table:
        name = f"{path}.{key}"
        if isinstance(value, BaseModel):
            lines += _lines(value, name, left_out)
        elif name not in left_out and not (value is None and key in ("mean", "std")):
            note = " ".join((fields[key].description or "").split()) if key in fields else ""
            if key in fields and get_origin(fields[key].annotation) is Literal:
                note = f"one of {', '.join(map(str, get_args(fields[key].annotation)))}. {note}".strip()
            shown = "none" if value is None else json.dumps(value)  # which is TOML, too
            lines.append(f"{name} = {shown}" + (f"    # {note}" if note else ""))
    return lines
