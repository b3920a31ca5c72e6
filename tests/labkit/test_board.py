"""What TensorBoard finds in a run folder, read back by TensorBoard's own reader."""

import io
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from labkit.data import load_arrays, open_pets
from labkit.errors import LabError
from labkit.files import claim_run_folder
from labkit.metrics import predicted_mask
from labkit.painting import class_overlay, montage
from labkit.training import open_run
from labkit.training.board import Board
from tests.labkit.test_training import recipe, trained

PHOTOS = {part: f"{part}: image, truth, prediction" for part in ("training", "validation")}


def read(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    return events.Reload()


@pytest.fixture(scope="module")
def finished(tiny_root, lab_folder, tmp_path_factory):
    """A run of four epochs, its pets, and what `fit` yielded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(lab_folder))
        run, pets = tmp_path_factory.mktemp("runs") / "finished", open_pets(tiny_root)
        return run, pets, trained(recipe(), pets, run)


def test_scalars_are_the_history_and_the_gradient_norms(finished):
    run, _, epochs = finished
    events = read(run)
    for key in ("train_loss", "valid_loss", "valid_dice", "valid_iou", "learning_rate", "seconds", "train_dice"):
        met = [(event.step, event.value) for event in events.Scalars(key)]
        assert sorted(met) == [(e.epoch, pytest.approx(getattr(e, key), rel=1e-6)) for e in epochs], key
    for key, of in (("mean", np.mean), ("largest", np.max)):
        met = {event.step: event.value for event in events.Scalars(f"gradient_norm/{key}")}
        assert met == {e.epoch: pytest.approx(of(e.gradient_norms), rel=1e-6) for e in epochs}


@pytest.mark.parametrize("part", PHOTOS)
def test_each_epoch_shows_images_truths_and_predictions(finished, part):
    run, pets, epochs = finished
    events, opened = read(run).Images(PHOTOS[part]), open_run(run)
    assert sorted(event.step for event in events) == [1, 2, 3, 4]
    best = max(epochs, key=lambda epoch: epoch.valid_dice).epoch  # whose weights are kept
    shown = next(event for event in events if event.step == best)
    picture = np.asarray(Image.open(io.BytesIO(shown.encoded_image_string)))
    arrays, data = load_arrays(pets, 32), opened.recipe.data
    train, valid = pets.split("train"), pets.split("valid")
    chosen = {"training": train[[0, 5, 10, 15]], "validation": valid}[part]
    photos = arrays.images[chosen]
    with torch.no_grad():
        images = (torch.from_numpy(photos) / 255 - torch.tensor(data.mean)) / torch.tensor(data.std)
        masks = predicted_mask(opened.model()(images.permute(0, 3, 1, 2).float())).numpy()
    truths = (arrays.trimaps[chosen] != 2).astype(np.uint8)
    painted = [[class_overlay(p, m) for p, m in zip(photos, of, strict=True)] for of in (truths, masks)]
    expected = montage([list(photos), *painted])
    assert picture.shape == expected.shape == (shown.height, shown.width, 3)
    assert np.array_equal(picture, expected)


def test_no_more_than_a_handful_is_shown_and_always_the_same(tiny_pets, tmp_path):
    for valid, shown in ((np.arange(3, 24), [3, 10, 16, 23]), (np.array([5]), [5])):
        trainer = SimpleNamespace(arrays=load_arrays(tiny_pets, 32), train=np.arange(2), valid=valid)
        samples = Board(tmp_path, trainer, 1).samples
        assert {part: batch.indices.tolist() for part, batch in samples.items()} == {
            "training": [0, 1],
            "validation": shown,
        }


PROGRAM = textwrap.dedent("""
    import os, sys
    from tests.labkit.test_training import recipe
    from labkit.data import open_pets
    from labkit.training import board, epochs

    paint = board.Board.samples_image
    def dying(self, samples, epoch):
        if epoch == 2:
            self.writer.flush()
            os.kill(os.getpid(), 9)
        return paint(self, samples, epoch)
    board.Board.samples_image = dying
    list(epochs(recipe(), open_pets(sys.argv[1]), sys.argv[2], device="cpu", resume=True))
""")


def test_run_killed_while_it_writes_for_tensorboard_has_each_epoch_once_after_resuming(finished, tiny_root, tmp_path):
    run, pets, _ = finished
    command = [sys.executable, "-c", PROGRAM, str(tiny_root), str(tmp_path / "run")]
    repository, environment = Path(__file__).resolve().parents[2], os.environ | {"OMP_NUM_THREADS": "1"}
    environment |= {"LABKIT_HOME": os.environ.get("LABKIT_HOME", str(tmp_path))}
    killed = subprocess.run(command, cwd=repository, env=environment, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert sorted(event.step for event in read(tmp_path / "run").Images(PHOTOS["validation"])) == [1]
    trained(recipe(), pets, tmp_path / "run", resume=True)
    once, unbroken = read(tmp_path / "run"), read(run)
    for events in (once, unbroken):
        assert sorted(event.step for event in events.Scalars("train_loss")) == [1, 2, 3, 4]
    for tag in PHOTOS.values():
        pictures = [{e.step: e.encoded_image_string for e in events.Images(tag)} for events in (once, unbroken)]
        assert pictures[0] == pictures[1]


def test_nothing_is_written_where_nothing_is_kept(tiny_pets, monkeypatch):
    def refused(*_):
        raise AssertionError

    monkeypatch.setattr(Board, "samples_image", refused)
    assert len(trained(recipe(training={"epochs": 1}), tiny_pets)) == 1


def test_folder_that_cannot_be_written_is_one_sentence(tiny_pets, tmp_path):
    claim_run_folder(tmp_path)
    (tmp_path / "tensorboard").write_text("a file, no folder")
    with pytest.raises(LabError, match="tensorboard: cannot be written"):
        trained(recipe(), tiny_pets, tmp_path)
