"""The brief training learns what the lab's own loop learns, and tells of every epoch."""

import torch

from course.brief import losses_by_averages, train_briefly
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


def test_new_averages_are_those_of_the_training_images_and_the_network_is_left_as_it_was(tiny_pets):
    table = {"epochs": 1, "sizes": (), "precision": "float32"}
    recipe = load_recipe("quick").changed(data={"image_size": 32}, model={"width": 2}, training=table)
    predictor = train_briefly(recipe, tiny_pets, "cpu")
    before = {name: value.clone() for name, value in predictor.model.state_dict().items()}
    running, fresh = losses_by_averages(predictor, tiny_pets)
    assert all(torch.equal(value, before[name]) for name, value in predictor.model.state_dict().items())
    assert not predictor.model.training
    # averages of nothing but zeros and ones change the first loss and not the second
    for norm in (module for module in predictor.model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_mean.zero_()
        norm.running_var.fill_(1)
    again, same = losses_by_averages(predictor, tiny_pets)
    assert (again != running, abs(same - fresh) < 1e-6) == (True, True)
