"""Train every network variant for one epoch on the real data: `python -m benchmarks.variants [--only NAME ...]`.

3,312 training images of the official split at 128x128, batches of 16, seed 0; everything else is the variant's own
recipe. Writes one row a variant into records/variants.csv; a loss that is not finite ends with an error.
"""

import argparse
from datetime import date

import pandas as pd
import torch

from benchmarks.timing import device_in_words
from labkit.data import open_pets
from labkit.files import home, write_text
from labkit.models import ENCODERS, count_parameters
from labkit.training import build_network, environment, epochs, load_recipe, resolve

VARIANTS: dict[str, tuple[str, dict]] = {
    "report-000-resnet34-unet": ("report-000-resnet34-unet", {}),
    "report-000-resnet34-unet-as-coded": ("report-000-resnet34-unet-as-coded", {}),
    "report-002-resnet34-unet": ("report-002-resnet34-unet", {}),
    "report-002-resnet34-unet-as-coded": ("report-002-resnet34-unet-as-coded", {}),
    "report-003-resnet34-unet": ("report-003-resnet34-unet", {}),
    "report-003-resnet34-unet-as-coded": ("report-003-resnet34-unet-as-coded", {}),
    "resnet34-unet lab": ("lab-resnet34-unet", {}),
    "resnet34-unet symmetric": ("lab-resnet34-unet", {"decoder": "unet"}),
    **{f"encoder-unet {name}": ("encoder-unet", {"encoder": name}) for name in ENCODERS},
    "report-001": ("report-001", {"width": 16}),
    "attention-unet additive": ("attention-unet", {"width": 16}),
    "report-004": ("report-004", {"width": 16}),
    "report-004 as printed": ("report-004", {"width": 16, "gate": "report-printed"}),
    "paper-unet": ("paper-unet", {"width": 16}),
    "report-000": ("report-000", {"width": 16}),
    "report-003": ("report-003", {"width": 16}),
    "report-002": ("report-002", {"width": 16}),
}
"""Recipe, and what is changed in its network: the UNets are narrowed, since at their own width they take CPUs hours."""


def train_once(label: str) -> dict:
    """One epoch of one variant; its row of the table."""
    name, changes = VARIANTS[label]
    recipe = load_recipe(name)
    recipe = recipe.changed(
        data={"image_size": 128},
        model=recipe.model.model_dump() | changes,
        training={"epochs": 1, "batch_size": 16, "seed": 0, "ema": 0.0},
    )
    pets = open_pets("pets")
    (record,) = epochs(recipe, pets)
    resolved = resolve(recipe, pets)
    facts = environment(torch.device(resolved.training.device))
    return {
        "variant": label,
        "recipe": name,
        "changed": ", ".join(f"{key} = {value}" for key, value in changes.items()),
        "parameters": count_parameters(build_network(resolved)),
        "target": recipe.data.target,
        "loss": recipe.training.loss,
        "first_steps_loss": round(sum(record.step_losses[:20]) / 20, 4),
        "last_steps_loss": round(sum(record.step_losses[-20:]) / 20, 4),
        "valid_loss": round(record.valid_loss, 4),
        "valid_dice_per_image": round(record.valid_dice, 4),
        "images": 3312,
        "image_size": 128,
        "batch_size": 16,
        "precision": resolved.training.precision,
        "device": device_in_words(facts),
        "threads": facts["threads"],
        "torch": facts["torch"],
        "seed": 0,
        "commit": facts["commit"],
        "date": date.today().isoformat(),
    }


def main() -> None:
    """Train, and replace the variants' rows in the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    table = home() / "records" / "variants.csv"
    for label in words.parse_args().only:
        row = pd.DataFrame([train_once(label)])
        if table.exists():
            old = pd.read_csv(table, keep_default_na=False)
            row = pd.concat([old[old["variant"] != label], row], ignore_index=True)
        write_text(table, row.to_csv(index=False, lineterminator="\n"), replace=True)
        print(row.iloc[-1].to_dict(), flush=True)


if __name__ == "__main__":
    main()
