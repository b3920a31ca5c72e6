"""Lists that share names, hold nothing, or call images by their files: found by the check, and before any score."""

import shutil
import warnings

import pytest

from labkit import analysis
from labkit.data import check_pets, open_pets
from labkit.data.lists import read_names, shared_names
from labkit.errors import LabError
from labkit.training import find_learning_rate, open_run
from tests.labkit.test_training import recipe, trained

NAMES = [f"{('Abby', 'Bombo', 'corgo', 'dachso')[i % 4]}_{i + 1}" for i in range(24)]
SOUND = {"train": NAMES[:14], "valid": NAMES[14:16], "test_a": NAMES[16:20], "test_b": NAMES[20:]}


def write_lists(folder, lists: dict, family="mine") -> None:
    """The lists of a split of one's own; None leaves one out, `official` writes `trainval.txt` and `test.txt`."""
    place = folder / "annotations" / ("" if family == "official" else f"splits/{family}")
    place.mkdir(parents=True, exist_ok=True)
    for part, names in lists.items():
        (place / f"{part}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))


OVERLAPS = {
    "train-valid": ("mine", SOUND | {"valid": NAMES[13:16]}, "train and valid share 1 names (Bombo_14)"),
    "train-second-test": ("mine", SOUND | {"test_b": NAMES[:8]}, "train and test_b share 8 names"),
    "valid-test": ("mine", SOUND | {"test_a": NAMES[15:20]}, "valid and test_a share 1 names"),
    "val.txt": ("mine", {"train": NAMES[:14], "val": NAMES[12:16], "test": NAMES[16:]}, "train and valid share 2"),
    "twice-in-one": ("mine", SOUND | {"train": NAMES[:14] + NAMES[:2]}, "train repeats 2 names (Abby_1, Bombo_2)"),
    "official": ("official", {"trainval": NAMES[:18], "test": NAMES[6:]}, "train and test share 11 names"),
    "official-twice": (
        "official",
        {"trainval": NAMES[:18] + NAMES[1:2], "test": NAMES[18:]},
        "train repeats 1 names (Bombo_2)",
    ),
}


@pytest.mark.parametrize("case", OVERLAPS)
def test_shared_names_are_counted_and_named_by_check_training_range_test_and_evaluation(case, own_pets, tmp_path):
    family, lists, sentence = OVERLAPS[case]
    folder = own_pets(24, 6)
    sound = SOUND if family == "mine" else {"trainval": NAMES[:18], "test": NAMES[18:]}
    write_lists(folder, sound, family)
    what = recipe(data={"split": family}, training={"epochs": 1})
    assert check_pets(open_pets(folder))[0] == []
    trained(what, open_pets(folder), tmp_path / "run")
    shutil.rmtree(folder / "annotations" / "splits", ignore_errors=True)
    write_lists(folder, lists, family)
    pets, run = open_pets(folder), open_run(tmp_path / "run")
    assert any(sentence in problem for problem in check_pets(pets)[0])
    test = "test_a" if "test_a" in lists else "test"
    for ask in (
        lambda: trained(what, pets, tmp_path / "again"),
        lambda: find_learning_rate(what, pets, "cpu"),
        lambda: analysis.evaluate(run, pets, test, device="cpu"),
    ):
        with pytest.raises(LabError) as refused:
            ask()
        assert sentence in str(refused.value)
        assert f"split {family}" in str(refused.value)
    assert not (tmp_path / "again").exists()


def test_tests_may_share_names_and_five_are_shown():
    assert shared_names(SOUND | {"test_hard": NAMES[16:18]}) == []
    (sentence,) = shared_names({"train": NAMES, "test": NAMES})
    assert sentence == f"train and test share 24 names ({', '.join(sorted(NAMES)[:4])} and 20 more)"


def test_a_score_on_trained_images_is_refused_for_every_split_but_the_training_list_itself(own_pets, tmp_path):
    folder = own_pets(24, 6)
    write_lists(folder, SOUND)
    trained(recipe(data={"split": "mine"}, training={"epochs": 1}), open_pets(folder), tmp_path / "run")
    run, pets = open_run(tmp_path / "run"), open_pets(folder)
    assert analysis.evaluate(run, pets, "train", device="cpu").summary["images"] == 14
    write_lists(folder, {"train": NAMES[14:20], "valid": NAMES[20:], "test": NAMES[10:14]}, "other")
    for split in ("other/test", "official/test", "official/train"):
        with pytest.raises(LabError, match=rf"^\d+ of .* images of {split} are training images of this run"):
            analysis.evaluate(run, pets, split, device="cpu")
    assert analysis.evaluate(run, pets, "other/train", device="cpu").summary["images"] == 6


MOVED = {
    "mine": SOUND | {"train": NAMES[:13], "test_a": [NAMES[13], *NAMES[16:20]]},
    "official": {"trainval": NAMES[:17], "test": NAMES[17:]},
}


@pytest.mark.parametrize("family", MOVED)
def test_a_name_that_was_moved_to_the_test_is_noticed_by_evaluation_and_resumption(family, own_pets, tmp_path):
    folder = own_pets(24, 6)
    write_lists(folder, SOUND if family == "mine" else {"trainval": NAMES[:18], "test": NAMES[18:]}, family)
    what = recipe(data={"split": family, "normalize": "unit"}, training={"epochs": 1})
    trained(what, open_pets(folder), tmp_path / "run")
    run, test = open_run(tmp_path / "run"), "test_a" if family == "mine" else "test"
    if family == "mine":  # another test or family is no change of what was learned from
        write_lists(folder, {"test_c": NAMES[16:20]})
        write_lists(folder, SOUND, "other")
        assert analysis.evaluate(run, open_pets(folder), "test_c", device="cpu").summary["images"] == 4
    write_lists(folder, MOVED[family], family)
    pets = open_pets(folder)
    assert check_pets(pets)[0] == []
    for part in (test, "valid", "train", f"{family}/{test}"):
        with pytest.raises(LabError, match=rf"split {family}: its lists .* were changed after this run was trained"):
            analysis.evaluate(run, pets, part, device="cpu")
    with pytest.raises(LabError, match=r"holds a run of another recipe or data \(data\.split_fingerprint is "):
        trained(what, pets, tmp_path / "run", resume=True)
    assert trained(run.recipe, pets, tmp_path / "new")  # its recipe takes the lists as they are now


@pytest.mark.parametrize("ending", [".jpg", ".JPG", ".Jpeg", ".png", ".TIF"])
def test_names_of_files_are_names_of_images(ending, own_pets):
    folder = own_pets(24, 6)
    write_lists(folder, {part: [f"{name}{ending}" for name in names] for part, names in SOUND.items()})
    lines = (folder / "annotations" / "list.txt").read_text().splitlines()
    spelled = [line.replace(" ", f"{ending} ", 1) for line in lines if not line.startswith("#")]
    (folder / "annotations" / "list.txt").write_text("\n".join(spelled))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pets = open_pets(folder)
        assert check_pets(pets)[0] == []
        assert [pets.items[i].name for i in pets.split("train", "mine")] == SOUND["train"]
    assert read_names(folder / "annotations" / "splits" / "mine" / "valid.txt") == SOUND["valid"]


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        (SOUND | {"train": []}, "split mine/train: names no image of list.txt"),
        (SOUND | {"test_b": []}, "split mine/test_b: names no image of list.txt"),
        (SOUND | {"valid": ["images/Abby_1.jpg"]}, "split mine/valid: names no image of list.txt"),
        ({"train": NAMES[:4], "test": NAMES[4:8]}, "split 'mine' has no part 'valid'; it has train, test"),
        ({"valid": NAMES[:4]}, "split 'mine' has no part 'train'; it has valid"),
        ({}, "split 'mine' has no part 'train'; it has no list at all"),
        ({"training": NAMES[:4], "test": NAMES[4:8]}, "training.txt: a split has one train.txt"),
        (
            {"train": NAMES[:4], "val": NAMES[4:6], "valid": NAMES[4:6]},
            "valid.txt: a split has one train.txt, one valid.txt",
        ),
    ],
)
def test_lists_that_would_stop_a_training_do_not_pass_the_check(lists, sentence, own_pets):
    folder = own_pets(24, 6)
    write_lists(folder, lists)
    problems = check_pets(open_pets(folder))[0]
    assert any(sentence in problem for problem in problems), problems


@pytest.mark.parametrize("lists", [{"trainval": [], "test": NAMES[:4]}, {"trainval": NAMES[:4], "test": []}])
def test_empty_official_lists_do_not_pass_the_check(lists, own_pets):
    folder = own_pets(24, 6)
    write_lists(folder, lists, "official")
    assert any("names no image of list.txt" in problem for problem in check_pets(open_pets(folder))[0])


def test_names_without_an_image_are_a_warning(own_pets):
    folder = own_pets(24, 6)
    write_lists(folder, SOUND | {"train": [*SOUND["train"], "Nobody_1"]})
    with pytest.warns(UserWarning, match=r"mine/train: 1 of 15 names are not in list\.txt and are left out: Nobody_1"):
        assert check_pets(open_pets(folder))[0] == []


def test_of_many_names_without_an_image_the_first_are_named(own_pets):
    folder = own_pets(24, 6)
    write_lists(folder, SOUND | {"train": [*SOUND["train"], *(f"Nobody_{i}" for i in range(700))]})
    with pytest.warns(UserWarning, match=r"700 of 714 names .* Nobody_0, Nobody_1, .*Nobody_29 and 670 more$"):
        open_pets(folder).split("train", "mine")


def test_data_for_scores_alone_need_no_training_list(own_pets, tiny_pets, tmp_path):
    """A run of other data is scored on a split that has nothing but a test."""
    trained(recipe(training={"epochs": 1}), tiny_pets, tmp_path / "run")
    folder = own_pets(24, 6)
    write_lists(folder, {"test": NAMES[:5]}, "foreign")
    assert check_pets(open_pets(folder))[0] == []
    with pytest.raises(LabError, match="training images of this run"):  # drawn alike, so their names are the same
        analysis.evaluate(open_run(tmp_path / "run"), open_pets(folder), "foreign/test", device="cpu")


@pytest.mark.real
def test_the_real_lists_of_2026_share_nothing(real_pets):
    assert shared_names(real_pets.parts("2026")) == []
    assert shared_names(real_pets.parts("official")) == []
