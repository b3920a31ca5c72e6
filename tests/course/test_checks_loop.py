"""The checks of the loop that notebook 04 builds, and of the repairs after it: right ones pass, mistakes are named."""

import copy
import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.utils import get_total_norm

from course import checks
from course.checks.loop_losses import _recipe
from course.checks.toy import Toy
from labkit.data import BatchTransform, batch_indices, batch_loader, load_arrays, open_pets
from labkit.metrics import dice_score, overlap_counts, per_image
from labkit.training import LOSSES, build_network, build_optimizer, build_schedule, epochs, resolve
from tests.course.refusals import refuse

# --- stage 1


def step(model, optimizer, loss, images, masks):
    optimizer.zero_grad()
    value = loss(model(images), masks)
    value.backward()
    optimizer.step()
    return value.item()


def step_that_forgets_later(model, optimizer, loss, images, masks):
    value = loss(model(images), masks)
    value.backward()
    optimizer.step()
    optimizer.zero_grad()
    return value.detach()


def step_by_grad(model, optimizer, loss, images, masks):
    weights = list(model.parameters())
    value = loss(model(images), masks)
    for weight, slope in zip(weights, torch.autograd.grad(value, weights), strict=True):
        weight.grad = slope
    assert get_total_norm([w.grad for w in weights]) > 0
    optimizer.step()
    return value.detach().item()


@pytest.mark.parametrize("answer", [step, step_that_forgets_later, step_by_grad])
def test_right_steps_pass(answer):
    for seed in (0, 11):
        checks.train_step(answer, seed)


def wrong_step(fault):
    def answer(model, optimizer, loss, images, masks):
        if fault != "sums":
            optimizer.zero_grad()
        if fault == "early":
            optimizer.step()
        logits = model(images)
        value = loss(logits.sigmoid() if fault == "sigmoid" else logits, masks)
        value.backward()
        if fault == "erased":
            optimizer.zero_grad()
        if fault not in ("early", "still"):
            optimizer.step()
        return value if fault == "graph" else loss(model(images), masks).item() if fault == "after" else value.item()

    return answer


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("sums", "zero_grad"),
        ("early", "after backward"),
        ("still", "no weight has moved"),
        ("erased", "no weight has moved"),
        ("sigmoid", "there is a sigmoid"),
        ("graph", "holds its graph"),
        ("after", "after the step"),
    ],
)
def test_wrong_steps_are_named(fault, advice):
    refuse(checks.train_step, wrong_step(fault), advice, seeds=3)


# --- stage 2


def epoch(model, optimizer, schedule, loss, batches, fault=""):
    if fault != "eval":
        model.train()
    losses = []
    for images, masks in batches:
        if fault == "early":
            schedule.step()
        losses.append(step(model, optimizer, loss, images, masks))
        if fault not in ("never", "once", "early"):
            schedule.step()
    if fault == "once":
        schedule.step()
    return sum(losses) / len(losses) if fault == "mean" else losses


def test_right_epochs_pass():
    for answer in (epoch, lambda *parts: torch.tensor(epoch(*parts)), lambda *parts: tuple(epoch(*parts))):
        checks.train_epoch(answer, 4)


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        *(("eval", "eval mode"), ("once", "once an epoch"), ("never", "never moves"), ("mean", "shape")),
        pytest.param("early", "moves before", marks=pytest.mark.filterwarnings("ignore:Detected call of")),
    ],
)
def test_wrong_epochs_are_named(fault, advice):
    refuse(checks.train_epoch, lambda *parts: epoch(*parts, fault=fault), advice)


# --- stage 3


def dices_of(masks, truths):
    return per_image(dice_score, overlap_counts(masks.long(), truths))


@torch.no_grad()
def validation(model, loss, batches):
    model.eval()
    total, dice, number = 0.0, 0.0, 0
    for images, masks in batches:
        logits = model(images)
        total += loss(logits, masks).item() * len(images)
        dice += dices_of(logits[:, 0] > 0, masks).sum().item()
        number += len(images)
    return total / number, dice / number


def validation_at_once(model, loss, batches):
    model.eval()
    with torch.inference_mode():
        pairs = list(batches)
        images, masks = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        logits = model(images)
        return loss(logits, masks), dices_of(logits.sigmoid()[:, 0] > 0.5, masks).mean()


@pytest.mark.parametrize("answer", [validation, validation_at_once])
def test_right_validations_pass(answer):
    for seed in (0, 5, 9):
        checks.validate(answer, seed)


def wrong_validation(fault):
    def answer(model, loss, batches):
        model.train(fault == "train")
        with torch.set_grad_enabled(fault == "gradients"):
            losses, dices, masks, pairs = [], [], [], list(batches)
            for images, truths in pairs:
                logits = model(images)
                masks.append(logits[:, 0] > (0.5 if fault == "cut" else 0))
                losses.append(loss(logits, truths).item())
                dices.append(dices_of(masks[-1], truths))
        sizes = torch.tensor([len(one) for one in dices])
        mean = (torch.tensor(losses) * sizes).sum() / (1 if fault == "sum" else sizes.sum())
        if fault == "means of losses":
            mean = sum(losses) / len(losses)
        dice = torch.cat(dices).mean()
        if fault == "means of dices":
            dice = sum(one.mean() for one in dices) / len(dices)
        if fault in ("nan", "left out", "zero"):
            dice, truths = torch.cat(dices), torch.cat([t for _, t in pairs])
            both = ~(torch.cat(masks) | (truths > 0)).flatten(1).any(1)
            some = {"nan": dice.where(~both, torch.nan), "left out": dice[~both], "zero": dice * ~both}
            dice = some[fault].mean()
        if fault == "always":
            dice = torch.where(
                (truths := torch.cat([t for _, t in pairs])).flatten(1).any(1), torch.cat(dices), 1.0
            ).mean()
        if fault == "last":
            dice = dices[-1].mean()
        if fault == "sum of dices":
            dice = torch.cat(dices).sum()
        if fault == "pooled":
            counts = overlap_counts(torch.cat(masks).long(), torch.cat([t for _, t in pairs]))
            dice = dice_score(counts.sum(0))[0]
        return (float(dice), float(mean)) if fault == "swapped" else (float(mean), float(dice))

    return answer


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("train", "eval"),
        ("gradients", "no_grad"),
        ("means of losses", "weigh by"),
        ("sum", "sum over images"),
        ("means of dices", "small batch more"),
        ("pooled", "pooled"),
        ("cut", "logit of 0"),
        ("nan", "0 divided by 0"),
        ("left out", "was left out"),
        ("always", "counts 0, not 1"),
        ("swapped", "the loss comes first"),
        ("zero", "counts 1, not 0"),
        ("last", "last batch's images"),
        ("sum of dices", "divide by their number"),
    ],
)
def test_wrong_validations_are_named(fault, advice):
    refuse(checks.validate, wrong_validation(fault), advice, seeds=range(6))


# --- stage 4


def training(model, optimizer, schedule, loss, epoch_batches, valid_batches, number, fault=""):
    history, best, highest = [], None, 0.0 if fault == "above 0" else -math.inf
    for count in range(0 if fault == "zero" else 1, number + (fault != "zero")):
        epoch(model, optimizer, schedule, loss, epoch_batches(1 if fault == "same" else count))
        history.append(validation(model, loss, valid_batches))
        good = -history[-1][0] if fault == "lowest" else history[-1][1]
        if (best is None and fault != "above 0") or (fault != "first" and good > highest):
            highest = good
            best = model.state_dict() if fault == "alive" else copy.deepcopy(model.state_dict())
    history = [row[::-1] for row in history] if fault == "swapped" else history
    history = [(0.5, row[1]) for row in history] if fault == "loss" else history
    return history, copy.deepcopy(model.state_dict()) if fault == "last" else best


def training_with_clones(*parts):
    history, best = training(*parts)
    return torch.tensor(history), {name: value.clone() for name, value in best.items()}


@pytest.mark.parametrize("answer", [training, training_with_clones])
def test_right_trainings_pass(answer):
    for seed in (0, 6):
        checks.train(answer, seed)


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("alive", "copy it in the best epoch"),
        ("last", "last ones"),
        ("same", "batches of its own"),
        ("zero", "count from 1"),
        ("swapped", "in this order"),
        ("loss", "history's loss"),
        ("first", "the first epoch's weights"),
        ("above 0", "no weights came back"),
    ],
)
def test_wrong_trainings_are_named(fault, advice):
    refuse(checks.train, lambda *parts: training(*parts, fault=fault), advice)


def test_the_best_epoch_of_the_toy_is_neither_the_last_nor_that_of_the_lowest_loss_whatever_the_seed():
    for seed in range(6):
        checks.train(training, seed)
        refuse(checks.train, lambda *parts: training(*parts, fault="last"), "last ones", seed)
        refuse(checks.train, lambda *parts: training(*parts, fault="lowest"), "lowest loss", seed)


# --- stage 5


class Checkpoint:
    fault = ""

    def __init__(self, path, model, optimizer, schedule):
        self.path, self.parts = path, {"model": model, "optimizer": optimizer, "schedule": schedule}
        self.parts.pop(self.fault, None)

    def save(self, number, history):
        states = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({"epoch": number, "history": history} | states, self.path)

    def load(self):
        if not self.path.exists():
            return 0, []
        kept = torch.load(self.path, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(kept[name])
        return kept["epoch"], kept["history"]


class Pickled(Checkpoint):
    def save(self, number, history):
        torch.save((number, history, self.parts), self.path)

    def load(self):
        if not self.path.exists():
            return 0, []
        number, history, parts = torch.load(self.path, weights_only=False)
        for name, part in self.parts.items():
            part.load_state_dict(parts[name].state_dict())
        return number, history


class PickledAndRefused(Pickled):
    load = Checkpoint.load


class Next(Checkpoint):
    def load(self):
        number, history = super().load()
        return number + (number > 0), history


class Once(Checkpoint):
    def save(self, number, history):
        if not self.path.exists():
            super().save(number, history)


class Forgets(Checkpoint):
    def load(self):
        return super().load()[0], []


class Eager(Checkpoint):
    def load(self):
        return super().load() if self.path.exists() else (1, [])


def without(part):
    return type("Forgetful", (Checkpoint,), {"fault": part})


def test_a_right_checkpoint_passes():
    for seed in (0, 8):
        checks.resume(Checkpoint, seed)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (without("model"), "weights that were saved last"),
        (without("optimizer"), "optimizer is not restored"),
        (without("schedule"), "schedule is not restored"),
        (Pickled, "save: torch.load.path, weights_only=True. refuses"),
        (PickledAndRefused, "save: torch.load.path, weights_only=True. refuses"),
        (Next, "epoch is the one"),
        (Once, "weights that were saved last"),
        (Forgets, "the history is not"),
        (Eager, "return 0"),
    ],
)
def test_wrong_checkpoints_are_named(answer, advice):
    refuse(checks.resume, answer, advice)


# --- stage 6


def first_losses(recipe, pets, number, fault=""):
    table = recipe.training
    if fault != "seed":
        torch.manual_seed(0 if fault == "zero" else table.seed)
    model = build_network(recipe)
    optimizer = (
        torch.optim.Adam(model.parameters(), table.learning_rate) if fault == "adam" else build_optimizer(model, table)
    )
    images = recipe.train_indices(pets)
    order = batch_indices(images, table.batch_size, table.seed, 0 if fault == "order" else 1)
    steps = len(images) // table.batch_size if fault == "cut" else len(order)
    schedule = build_schedule(optimizer, table, steps * (1 if fault == "short" else table.epochs))
    prepare = BatchTransform(pets, recipe.data.target, recipe.data.mean, recipe.data.std)
    augment, losses = None if fault == "plain" else recipe.data.augment, []
    model.train()
    for batch in batch_loader(load_arrays(pets, recipe.data.image_size), order[:number]):
        images, masks = prepare(batch, augment, table.seed, 1)
        losses.append(step(model, optimizer, LOSSES[table.loss], images, masks))
        if fault != "stands":
            schedule.step()
    return losses


def test_losses_of_fit_pass_as_do_ones_own():
    checks.first_losses(first_losses, 2)
    checks.first_losses(lambda recipe, pets, number: next(epochs(recipe, pets)).step_losses[:number], 2)


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("seed", "seed torch"),
        ("order", "images of epoch 0"),
        ("plain", "not augmented"),
        ("stands", "never moves"),
        ("short", "steps of all epochs"),
        ("cut", "round up"),
        ("zero", "seed torch"),
        ("adam", "the first loss is right"),
    ],
)
def test_wrong_beginnings_are_named(fault, advice):
    refuse(checks.first_losses, lambda *parts: first_losses(*parts, fault=fault), advice, seeds=(0, 3))


def test_the_check_holds_the_labs_own_loop():
    pets = open_pets("sample")
    recipe = resolve(_recipe(5), pets, "cpu")
    assert first_losses(recipe, pets, 4) == pytest.approx(next(epochs(recipe, pets)).step_losses[:4], rel=1e-3)


# --- report 000's evaluation


def evaluation(model, loss, batches, fault=""):
    was = model.training
    model.train(fault == "train")
    total, number = 0.0, 0
    with torch.set_grad_enabled(fault == "gradients"):
        for images, masks in batches:
            total += float(loss(model(images), masks)) * len(images)
            number += len(images)
    if fault != "stays":
        model.train(was or fault == "always")
    return total / number


def decorated(model, loss, batches):
    @torch.no_grad()
    def run():
        model.eval()
        return sum(loss(model(x), t) * len(x) for x, t in batches) / sum(len(x) for x, _ in batches)

    was = model.training
    value = run()
    if was:
        model.train()
    return value


def test_right_evaluations_pass():
    for answer in (evaluation, decorated):
        checks.evaluate(answer, 2)


@pytest.mark.parametrize(
    ("fault", "advice"),
    [("stays", "went out in eval"), ("gradients", "no_grad"), ("train", "keep model.eval"), ("always", "set it back")],
)
def test_wrong_evaluations_are_named(fault, advice):
    refuse(checks.evaluate, lambda *parts: evaluation(*parts, fault=fault), advice)


def switched_off(model, loss, batches):
    torch.set_grad_enabled(False)
    return evaluation(model, loss, batches, "off")


def test_gradients_that_stay_switched_off_are_named():
    try:
        refuse(checks.evaluate, switched_off, "use a with block")
    finally:
        torch.set_grad_enabled(True)


# --- what is kept


class Keeper:
    first, own, equal, knows = -1.0, True, False, True

    def __init__(self, folder):
        self.path, self.note = folder / "best.pt", folder / "best.json"
        self.best = json.loads(self.note.read_text()) if self.knows and self.note.exists() else self.first

    def offer(self, model, score):
        if score > self.best or (self.equal and score == self.best):
            self.best = score
            self.note.write_text(json.dumps(score))
            torch.save(model.state_dict(), self.path)
            return True
        return False

    def load(self, model):
        path = self.path if self.own else self.path.with_name("last_model.pt")
        if not path.exists():
            return False
        model.load_state_dict(torch.load(path, weights_only=True))
        return True


class Safe(Keeper):
    def __init__(self, folder):
        self.path = folder / "best.safetensors"

    def offer(self, model, score):
        if self.path.exists():
            with safe_open(self.path, "pt") as file:
                if score <= float(file.metadata()["score"]):
                    return False
        save_file(model.state_dict(), self.path, {"score": str(score)})
        return True

    def load(self, model):
        if self.path.exists():
            model.load_state_dict(load_file(self.path))
        return self.path.exists()


class Whole(Keeper):
    def offer(self, model, score):
        kept = super().offer(model, score)
        if kept:
            torch.save(model, self.path)
        return kept

    def load(self, model):
        return (
            self.path.exists()
            and not model.load_state_dict(torch.load(self.path, weights_only=False).state_dict()).missing_keys
        )


class OneFile(Keeper):
    def __init__(self, folder):
        self.path, self.kept = folder / "kept.pt", {"score": -math.inf}
        if self.path.exists():
            self.kept = torch.load(self.path, weights_only=True)

    def offer(self, model, score):
        if score <= self.kept["score"]:
            return False
        self.kept = {"score": score, "weights": copy.deepcopy(model.state_dict())}
        torch.save(self.kept, self.path)
        return True

    def load(self, model):
        return "weights" in self.kept and bool(model.load_state_dict(self.kept["weights"]))


class Stubborn(Keeper):
    def __init__(self, folder):
        super().__init__(folder)
        self.best = math.inf if self.path.exists() else self.best


class Living(Keeper):
    weights = None

    def offer(self, model, score):
        kept = super().offer(model, score)
        self.weights = model.state_dict() if kept else self.weights
        return kept

    def load(self, model):
        return bool(model.load_state_dict(self.weights)) if self.weights else super().load(model)


class Trusting(Keeper):
    def load(self, model):
        if self.path.exists():
            model.load_state_dict(torch.load(self.path, weights_only=False))
        return self.path.exists()


class NewObject(Keeper):
    def load(self, model):
        if self.path.exists():
            model = copy.deepcopy(model)
            return super().load(model)
        return False


def test_right_keepers_pass():
    for answer in (Keeper, Safe, OneFile):
        checks.keeper(answer, 4)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (type("High", (Keeper,), {"first": 0.7}), "first score of 0.0"),
        (type("Zero", (Keeper,), {"first": 0.0}), "first score of 0.0"),
        (type("Other", (Keeper,), {"own": False}), "another one read"),
        (type("Equal", (Keeper,), {"equal": True}), "equal to the best"),
        (Whole, "pickled"),
        (NewObject, "that it came with"),
        (type("Forgetful", (Keeper,), {"knows": False}), "does not know the best score"),
        (Stubborn, "not kept by a new keeper"),
        (Trusting, "code in the file is run"),
        (Living, "those that the model has by now"),
    ],
)
def test_wrong_keepers_are_named(answer, advice):
    refuse(checks.keeper, answer, advice)


def test_the_toy_gives_back_what_it_was_given():
    toy, other = Toy(1), Toy(2)
    from course.checks.toy import state

    other.load(state(toy.model))
    assert (state(other.model) == state(toy.model)).all()
