"""The brief training learns what the lab's own loop learns, and tells of every epoch."""

import torch

from course.brief import train_briefly
from labkit.training import epochs, load_recipe


def test_it_ends_with_the_weights_of_the_labs_loop(tiny_pets, tmp_path):
    table = {"epochs": 2, "sizes": (), "precision": "float32"}
    recipe = load_recipe("quick").changed(data={"image_size": 32}, model={"width": 2}, training=table)
    list(epochs(recipe, tiny_pets, tmp_path / "run", device="cpu"))
    seen = []
    predictor = train_briefly(recipe, tiny_pets, "cpu", lambda epoch, predictor: seen.append(epoch))
    weights = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    for name, value in predictor.model.state_dict().items():
        assert torch.allclose(value, weights[name], atol=1e-6), name
    assert seen == [1, 2]
    assert not predictor.model.training
