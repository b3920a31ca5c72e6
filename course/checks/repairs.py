"""Checks of notebook 04: the reports' evaluation and their keeping of weights, repaired."""

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course.checks.toy import SPRUNG, Toy, Trap, flat, is_plain, state
from course.checks.verdict import Check, Collected, call, expect, name_mistake, numbers
from labkit.training import bce

# --- report 000's evaluation


def _collect_evaluate(student: Callable, seed: int) -> Collected:
    what, toy = "evaluate", Toy(seed)
    modes: list[tuple[bool, bool]] = []
    toy.model.register_forward_hook(lambda model, *_: modes.append((model.training, torch.is_grad_enabled())))
    found = {}
    for name, mode in (("train", True), ("eval", False)):
        toy.model.train(mode)
        before = state(toy.model)
        value = call(student, toy.model, bce, list(toy.batches), what=what)
        found[name] = numbers(value, what, ())
        found[f"{name} after"] = np.array([module.training for module in toy.model.modules()])
        found[f"{name} changed"] = np.array(not np.array_equal(before, state(toy.model)))
        found["graph"] = np.array(isinstance(value, Tensor) and value.requires_grad)
    expect(bool(modes), f"{what}: the network was never called")
    return found | {"modes": np.array(modes), "enabled": np.array(torch.is_grad_enabled())}


@torch.no_grad()
def _judge_evaluate(arrays: Collected, seed: int) -> None:
    what, toy = "evaluate", Toy(seed)
    training, gradients = arrays["modes"].any(axis=0)
    learned = arrays["train changed"] or arrays["eval changed"]
    expect(not training and not learned, f"{what}: batch norm was evaluated in train mode; keep model.eval()")
    stays = "the network came in train mode and went out in eval mode, so that batch norm never learns again"
    expect(bool(arrays["train after"].all()), f"{what}: {stays}")
    always = "a network that came in eval mode went out in train mode; remember model.training and set it back"
    expect(not arrays["eval after"].any(), f"{what}: {always}")
    graph = "gradients are still prepared in the forward pass, and their memory is held; use torch.no_grad()"
    expect(not gradients and not arrays["graph"], f"{what}: {graph}")
    expect(bool(arrays["enabled"]), f"{what}: gradients stay switched off for whatever comes after; use a with block")
    toy.model.eval()
    sizes = [len(masks) for _, masks in toy.batches]
    losses = np.array([bce(toy.model(images), masks).item() for images, masks in toy.batches])
    mistakes = {
        "the mean of the batches' means counts images of a small batch more": losses.mean(),
        "that is the loss of the last batch": losses[-1],
    }
    right, otherwise = np.average(losses, weights=sizes), "the value itself has changed; it was right"
    name_mistake(what, arrays["train"], right, mistakes, otherwise, tolerance=1e-5)


evaluate = Check("evaluate", "it leaves nothing behind", _collect_evaluate, _judge_evaluate)

# --- what reports 000, 002 and 003 keep

SCORES = (0.0, 0.75, 0.4, 0.75)
"""The first is kept, since there is nothing better; the second is better; the others are not."""
LATER = (0.5, 0.8)
"""Offered to a new keeper for the same folder: the first is not kept, the second is."""


def _collect_keeper(student: Callable, seed: int) -> Collected:
    what = "MyKeeper"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        empty, other = Toy(seed + 9), Toy(seed + 9)
        kept = call(student, folder, what=what)
        nothing = call(getattr(kept, "load", None), empty.model, what=f"{what}.load where nothing was kept")
        answers = []
        models = [Toy(seed + number).model for number in range(len(SCORES))]
        for model, score in zip(models, SCORES, strict=True):
            answers.append(call(getattr(kept, "offer", None), model, score, what=f"{what}.offer"))
        with torch.no_grad():
            models[1][0].weight.add_(1)  # a training goes on
        call(getattr(kept, "load", None), living := Toy(seed + 9).model, what=f"{what}.load")
        files = [path for path in folder.rglob("*") if path.is_file()]
        expect(bool(files), f"{what}.offer: no file was written into the folder")
        plain = all(is_plain(path) for path in files)
        torch.save(Toy(seed + 7).model.state_dict(), _decoy(folder))
        again = call(student, folder, what=what)
        later = call(getattr(again, "load", None), other.model, what=f"{what}.load")
        for number, score in enumerate(LATER, 5):
            answer = call(getattr(again, "offer", None), Toy(seed + number).model, score, what=f"{what}.offer")
            answers.append(answer)
        runs = _runs_what_it_reads(student, folder)
    return {
        "runs": np.array(runs),
        "nothing": np.array(nothing is False and np.array_equal(flat(empty.model), flat(Toy(seed + 9).model))),
        "answers": np.array([str(answer) for answer in answers], dtype=str),
        "plain": np.array(plain),
        "loaded": flat(other.model),
        "living": np.array(np.array_equal(flat(living), flat(models[1]))),
        "said": np.array(later is True),
    }


def _runs_what_it_reads(student: Callable, folder: Path) -> bool:
    """Whether a keeper runs code that somebody has put into its files."""
    SPRUNG.clear()
    for path in [path for path in folder.rglob("*") if path.is_file() and zipfile.is_zipfile(path)]:  # torch's own
        torch.save({"weights": Trap(path), "score": Trap(path)}, path)
    try:
        student(folder).load(Toy(0).model)
    except Exception:  # whatever a refused or spoiled file raises: it was not run
        return bool(SPRUNG)
    return bool(SPRUNG)


def _decoy(folder: Path) -> Path:
    """Report 002's other file, where it is free."""
    path = folder / "last_model.pt"
    return folder / "another.pt" if path.exists() else path


def _judge_keeper(arrays: Collected, seed: int) -> None:
    what, answers = "MyKeeper", arrays["answers"].tolist()
    expect({*answers} <= {"True", "False"}, f"{what}.offer: return True where the weights were kept, else False")
    expect(answers[0] == "True", f"{what}.offer: a first score of 0.0 was not kept; there is nothing better yet")
    expect(answers[1] == "True", f"{what}.offer: a better score was not kept")
    expect(answers[2] == "False", f"{what}.offer: a score below the best was kept; is self.best set?")
    expect(answers[3] == "False", f"{what}.offer: a score equal to the best was kept; the earlier one stays")
    pickled = "the file holds a pickled object, which runs code when it is read; save model.state_dict()"
    expect(bool(arrays["plain"]), f"{what}.offer: {pickled}")
    runs = "code in the file is run when it is read; use torch.load(path, weights_only=True)"
    expect(not arrays["runs"], f"{what}: {runs}")
    missing = "where nothing was kept, return False and leave the network as it is"
    expect(bool(arrays["nothing"]), f"{what}.load: {missing}")
    mistakes = {
        "one file is looked for, another one read: those are the weights of last_model.pt": flat(Toy(seed + 7).model),
        "the network still has the weights that it came with; copy the file's into it": flat(Toy(seed + 9).model),
        "these are the weights of the first offer, not of the best one": flat(Toy(seed).model),
        "these are the weights of the last offer, not of the best one": flat(Toy(seed + 3).model),
    }
    otherwise = "the weights are not those of the best score"
    name_mistake(f"{what}.load", arrays["loaded"], flat(Toy(seed + 1).model), mistakes, otherwise, tolerance=1e-6)
    alive = "the weights are those that the model has by now, not when it was offered; read the file, or copy them"
    expect(not arrays["living"], f"{what}.load: {alive}")
    expect(bool(arrays["said"]), f"{what}.load: return True where weights were loaded")
    forgets = (
        "a new keeper does not know the best score of the folder and overwrites the best weights; keep the score, too"
    )
    expect(answers[4] == "False", f"{what}.offer: {forgets}")
    expect(answers[5] == "True", f"{what}.offer: a score above the best was not kept by a new keeper for the folder")


keeper = Check("keeper", "the best is kept, and found again", _collect_keeper, _judge_keeper)
