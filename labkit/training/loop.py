"""The training loop."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labkit.data import (
    Batch,
    Pets,
    Preparation,
    batch_loader,
    batch_positions,
    class_names,
    colour_statistics,
    load_arrays,
)
from labkit.errors import LabError
from labkit.files import write_text
from labkit.metrics import dice_score, iou_score, overlap_counts, per_image, predicted_mask, resize_logits
from labkit.training.hardware import choose_device, choose_precision, environment
from labkit.training.losses import LOSSES, Loss
from labkit.training.optimisers import build_average, build_optimiser, build_schedule
from labkit.training.recipe import FIXED_SCALES, Recipe
from labkit.training.runs import (
    HISTORY,
    build_network,
    load_checkpoint,
    save_checkpoint,
    save_weights,
    write_history,
    write_json,
)

Watch = Callable[[Iterable[Batch], int], Iterable[Batch]]


@dataclass(frozen=True)
class Epoch:
    """What `fit` yields after each epoch."""

    epoch: int
    seconds: float
    images_per_second: float
    """Training alone, without validation."""
    learning_rate: float
    train_loss: float
    valid_loss: float
    valid_dice: float
    """Hard Dice, per image, at the recipe's image size."""
    valid_iou: float
    best: bool = field(default=False, compare=False)
    """Whether these weights are the best so far and have been kept."""
    step_losses: tuple[float, ...] = field(default=(), repr=False, compare=False)

    def row(self) -> dict[str, Any]:
        """The line of `history.csv`."""
        return {key: value for key, value in asdict(self).items() if key in HISTORY}


def resolve(recipe: Recipe, pets: Pets, device: str = "auto") -> Recipe:
    """The recipe with everything filled in that data and machine decide: classes, mean and deviation, precision."""
    data, chosen = recipe.data, choose_device(device)
    if data.mean is None or data.std is None:
        if data.normalise == "dataset":
            found = colour_statistics(load_arrays(pets, data.image_size), pets.split("train", data.split))
            mean, std = found.mean, found.std
        else:
            mean, std = FIXED_SCALES[data.normalise]
        recipe = recipe.changed(data={"mean": mean, "std": std})
    precision = choose_precision(recipe.training.precision, chosen)
    return recipe.changed(
        data={"fingerprint": pets.fingerprint},
        model={"classes": recipe.resolved_classes(class_names(data.target, pets))},
        training={"precision": precision, "device": str(chosen)},
    )


def train_step(
    model: nn.Module, images: Tensor, masks: Tensor, loss: Loss, precision: str, accumulate: int = 1
) -> Tensor:
    """One forward and backward pass; gradients are added to what is there. Returns the loss, on its device."""
    with autocast(images.device, precision):
        logits = model(images)
    value = loss(logits, masks)
    (value / accumulate).backward()
    return value.detach()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Let convolutions run in bfloat16 while weights, losses and sums stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def fit(
    recipe: Recipe,
    pets: Pets,
    run: str | Path | None = None,
    *,
    device: str = "auto",
    resume: bool = False,
    watch: Watch = lambda batches, epoch: batches,
) -> Iterator[Epoch]:
    """Train a network; yields one record an epoch, so that whoever iterates draws, prints or stops.

    Args:
        recipe: what to do; completed by `resolve`.
        pets: the data set; its test images are not touched.
        run: the run folder to write; None writes nothing.
        device: `auto`, `cpu`, `cuda` ...
        resume: go on after the last epoch of a run folder that already holds one.
        watch: wraps the batches of each epoch, such as a progress bar: `watch(batches, epoch)`.

    Raises:
        LabError: the run folder already holds a run, or one of another recipe; or the loss is not finite.
    """
    recipe = resolve(recipe, pets, device)
    table = recipe.training
    chosen = torch.device(table.device)
    torch.manual_seed(table.seed)
    model = build_network(recipe).to(chosen, memory_format=torch.channels_last)
    optimiser = build_optimiser(model, table)
    average = build_average(model, table.ema) if table.ema else None
    judged = average.module if average else model
    loss = LOSSES[table.loss]

    arrays = load_arrays(pets, recipe.data.image_size)
    prepare = Preparation(pets, recipe.data.target, recipe.data.mean, recipe.data.std, chosen)
    train, valid = (pets.split(part, recipe.data.split) for part in ("train", "valid"))
    batches_per_epoch = len(batch_positions(train, table.batch_size))
    steps_per_epoch = -(-batches_per_epoch // table.accumulate)
    schedule = build_schedule(optimiser, table, steps_per_epoch * table.epochs)
    parts = {"model": model, "optimiser": optimiser, "schedule": schedule} | ({"average": average} if average else {})

    history, best = _start(run, recipe, parts, resume, chosen)
    for epoch in range(len(history) + 1, table.epochs + 1):
        began = time.perf_counter()
        torch.manual_seed(table.seed * 1_000_003 + epoch)  # dropout, the same in a resumed run
        size = recipe.size_of_epoch(epoch)
        batches = batch_loader(arrays, batch_positions(train, table.batch_size, table.seed, epoch))
        model.train()
        losses = []
        for step, batch in enumerate(watch(batches, epoch), start=1):
            images, masks = prepare(batch, recipe.data.augment, table.seed, epoch, size)
            images = images.contiguous(memory_format=torch.channels_last)
            together = min(table.accumulate, batches_per_epoch - (step - 1) // table.accumulate * table.accumulate)
            losses.append(train_step(model, images, masks, loss, table.precision, together))
            if step % table.accumulate == 0 or step == batches_per_epoch:
                optimiser.step()
                optimiser.zero_grad()
                schedule.step()
                if average:
                    average.update_parameters(model)
        step_losses = torch.stack(losses)  # one host round trip an epoch, not one a step
        train_loss = step_losses.mean().item()
        trained = time.perf_counter() - began
        if not torch.isfinite(step_losses).all():
            raise LabError(f"epoch {epoch}: the loss is {train_loss} at learning rate {table.learning_rate}; lower it")

        judge = valid_scores(judged, arrays, valid, prepare, recipe, size)
        better = (size, judge["dice"]) > best
        best = max(best, (size, judge["dice"]))  # an epoch at a larger size beats all at smaller ones
        record = Epoch(
            epoch=epoch,
            seconds=time.perf_counter() - began,
            images_per_second=len(train) / trained,
            learning_rate=schedule.get_last_lr()[0],
            train_loss=train_loss,
            valid_loss=judge["loss"],
            valid_dice=judge["dice"],
            valid_iou=judge["iou"],
            best=better,
            step_losses=tuple(step_losses.tolist()),
        )
        history.append(record.row())
        if run is not None:
            _keep(Path(run), recipe, parts, judged, history, best, record)
        yield record


@torch.no_grad()
def valid_scores(
    model: nn.Module, arrays, positions, prepare: Preparation, recipe: Recipe, size: int
) -> dict[str, float]:
    """Loss, per-image Dice and IoU of images at `positions`, fed at `size`, scored at the recipe's image size."""
    model.eval()
    loss, counts, losses, seen = LOSSES[recipe.training.loss], [], [], []
    for batch in batch_loader(arrays, batch_positions(positions, max(32, recipe.training.batch_size))):
        _, masks = prepare(batch)
        images, _ = prepare(batch, size=size)
        with autocast(images.device, recipe.training.precision):
            logits = model(images.contiguous(memory_format=torch.channels_last))
        logits = resize_logits(logits.float(), masks.shape[-2:])
        losses.append(loss(logits, masks))
        seen.append(len(images))
        counts.append(overlap_counts(predicted_mask(logits), masks, max(2, logits.shape[1])))
    counts = torch.cat(counts)
    weights = torch.tensor(seen, device=counts.device) / len(positions)
    return {
        "loss": (torch.stack(losses) * weights).sum().item(),
        "dice": per_image(dice_score, counts).mean().item(),
        "iou": per_image(iou_score, counts).mean().item(),
    }


def _start(run, recipe: Recipe, parts: dict[str, Any], resume: bool, device: torch.device) -> tuple[list, tuple]:
    """Begin or take up a run folder; returns the history so far and the best (size, Dice)."""
    if run is None:
        return [], (0, -1.0)
    run = Path(run)
    if resume and (run / "last.pt").exists():
        state = load_checkpoint(run / "last.pt")
        if state["recipe"] != recipe.toml():
            raise LabError(
                f"{run}: holds a run of another recipe or data; choose another --run, or train with its own recipe.toml"
            )
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return state["history"], tuple(state["best"])
    # best.safetensors alone is what an end in the middle of the first epoch's writing leaves: that is begun anew
    if (run / "history.csv").exists() or ((run / "best.safetensors").exists() and not resume):
        raise LabError(f"{run}: already holds a run; choose another --run, delete it, or go on with --resume")
    write_text(run / "recipe.toml", recipe.toml())
    write_json(run / "environment.json", environment(device))
    return [], (0, -1.0)


def _keep(run: Path, recipe: Recipe, parts: dict[str, Any], judged, history: list, best: tuple, record: Epoch) -> None:
    from torch.utils.tensorboard import SummaryWriter  # a second to import, and only runs on disk need it

    if record.best:
        facts = {"epoch": record.epoch, "valid_dice": record.valid_dice}
        save_weights(run / "best.safetensors", judged, recipe, **facts)
    states = {name: part.state_dict() for name, part in parts.items()}
    save_checkpoint(run / "last.pt", {"recipe": recipe.toml(), "history": history, "best": list(best), **states})
    write_history(run / "history.csv", history)
    with SummaryWriter(str(run / "tensorboard"), filename_suffix=f".{record.epoch}") as board:
        for key, value in record.row().items():
            if key != "epoch":
                board.add_scalar(key, value, record.epoch)
