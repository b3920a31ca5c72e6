"""Draw the picture that the README shows: `python -m benchmarks.figures` writes figures/predictions.png."""

import numpy as np
from PIL import Image

from course import cases
from course.figures import with_outline
from labkit import analysis, painting
from labkit.data import load_arrays, open_pets
from labkit.files import home, written_whole


def main() -> None:
    """Seven test pictures of the drawn sample, spread from the worst to the best, with what the network says."""
    pets, run = open_pets("sample"), analysis.open_run(analysis.committed_weights("sample"))
    predictor = analysis.load_predictor(run, "cpu", "float32")
    table = analysis.evaluate(run, pets, device="cpu", precision="float32", keep=False).images
    ranked = table.sort_values(["dice", "name"])["name"].tolist()
    indices = np.array([pets.indices[ranked[round(i * (len(ranked) - 1) / 6)]] for i in range(7)])
    probabilities, truths = cases.probabilities(predictor, pets, indices)
    images, columns = load_arrays(pets, predictor.recipe.data.image_size).images[indices], []
    for image, prediction, truth in zip(images, probabilities > 0.5, truths == 1, strict=True):
        outlined = with_outline(image, truth)
        columns.append([outlined, painting.overlay(image, prediction), painting.error_map(image, prediction, truth)])
    sheet = Image.fromarray(painting.montage(list(zip(*columns, strict=True)), gap=3))
    with written_whole(home() / "figures" / "predictions.png", replace=True) as file:
        sheet.resize((sheet.width * 2, sheet.height * 2), Image.NEAREST).save(file, format="PNG")


if __name__ == "__main__":
    main()
