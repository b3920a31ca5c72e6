"""Predicted masks of a split's images as files, and pictures that hold them against the truth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from labkit.analysis.predictions import Predictor, Progress, write_mask
from labkit.data import Pets
from labkit.files import check_targets, written_whole
from labkit.metrics import dice_score, overlap_counts, per_image, predicted_mask
from labkit.painting import agreement, class_overlay, montage


def predict_split(
    predictor: Predictor,
    pets: Pets,
    split: str,
    masks: Path | None = None,
    pictures: Path | None = None,
    threshold: float = 0.5,
    right_and_wrong: bool = False,
    progress: Progress = iter,
) -> Iterator[tuple[str, np.ndarray]]:
    """Write `<masks>/<name>.png` and `<pictures>/<name>.png` for each image of a split; yields names and masks.

    A mask is as of `predict_files`. A picture shows image, prediction and truth side by side at the image's own size,
    with the Dice at that size in its title; `right_and_wrong` paints the prediction with `painting.agreement`.

    Args:
        split: a part of the recipe's split (`test`), or `<family>/<part>` of another.
        progress: wraps the images, such as `tqdm`.

    Raises:
        LabError: at once, and nothing is written: there is no such split, the data have other classes, or a file that
            labkit has not written would be replaced.
    """
    family, _, part = split.rpartition("/")
    indices, classes = pets.split(part, family or predictor.recipe.data.split), len(predictor.class_names(pets))
    names = [pets.items[index].name for index in indices]
    targets = [folder / f"{name}.png" for folder in (masks, pictures) if folder for name in names]
    check_targets(targets, map(pets.trimap_path, indices))

    def written() -> Iterator[tuple[str, np.ndarray]]:
        for index, name in zip(progress(indices), names, strict=True):
            image = pets.image(index)
            found = predicted_mask(predictor.image_logits(image)[None], threshold).cpu()
            if masks:
                write_mask(masks / f"{name}.png", found[0], classes)
            if pictures:
                truth = predictor.truth(pets, index)
                dice = per_image(dice_score, overlap_counts(found, truth, classes)).item()
                sheet = comparison(
                    image, found[0].numpy(), truth[0].numpy(), f"{name}: Dice {dice:.4f}", right_and_wrong
                )
                with written_whole(pictures / f"{name}.png") as file:
                    sheet.save(file, format="PNG")
            yield name, found[0].byte().numpy()

    return written()


def comparison(
    image: np.ndarray, prediction: np.ndarray, truth: np.ndarray, title: str, right_and_wrong: bool = False
) -> Image.Image:
    """Image, prediction and truth side by side, each with a heading, all with a title; arguments as `agreement`."""
    painted = agreement(image, prediction, truth) if right_and_wrong else class_overlay(image, prediction)
    panels = Image.fromarray(montage([[image, painted, class_overlay(image, truth)]]))
    large, small, step = ImageFont.load_default(16), ImageFont.load_default(13), image.shape[1] + 4
    width = max(panels.width, round(large.getlength(title)) + 8)
    sheet = Image.new("RGB", (width, panels.height + 44), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((4, 2), title, "black", large)
    for column, text in enumerate(("image", "prediction", "truth")):
        draw.text((4 + column * step, 24), text, "black", small)
    sheet.paste(panels, (0, 44))
    return sheet
