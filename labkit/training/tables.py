"""The three tables of a recipe: every key, its default, and what it may be."""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from labkit.data import TARGETS, Augment
from labkit.data.augment import Probability
from labkit.models import NETWORKS
from labkit.training.faults import FAULTS
from labkit.training.losses import LOSSES
from labkit.training.optimizers import OPTIMIZERS

Positive = Annotated[int, Field(ge=1)]
SeveralPositive = Annotated[tuple[Positive, ...], Field(min_length=1)]


def known_as(names: Mapping[str, Any]) -> AfterValidator:
    """One of these names; whoever adds to them, as a student does their own network, can use it in recipes."""

    def check(name: str) -> str:
        if name in names:
            return name
        raise PydanticCustomError("unknown", "input should be one of {names}", {"names": ", ".join(names)})

    return AfterValidator(check)


class Table(BaseModel):
    """A table of a recipe: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class DataTable(Table):
    """`[data]`: what is learned from."""

    target: Literal[tuple(TARGETS)] = "foreground"
    split: str = "official"
    train_images: Positive | None = None
    """Only so many of the training images, always the same and each number's among a larger one's; None: all."""
    unlabelled: Annotated[int, Field(ge=0)] = 0
    """Of the training images so many are taken without their masks: where a moving average of the network
    (`training.ema`) is sure, its masks stand in for them. The labelled ones are those of a smaller `train_images`."""
    image_size: Annotated[int, Field(ge=32, le=1024)] = 128
    """Height and width of the network's input in pixels."""
    normalize: Literal["dataset", "imagenet", "unit", "raw"] = "dataset"
    """`dataset`: by mean and deviation of the training images."""
    augment: Augment = Augment()
    split_fingerprint: str | None = None
    """Of the names that the split has for training and validation; filled in when a training starts."""
    mean: tuple[float, float, float] | None = None
    """Filled in when a training starts."""
    std: tuple[float, float, float] | None = None
    fingerprint: str | None = None
    """Of the data's files; filled in when a training starts."""


class ModelTable(BaseModel):
    """`[model]`: the network's name, how it is initialized, then the network's own arguments."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, known_as(NETWORKS)] = "unet"
    initialization: Literal["default", "he"] = "default"

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """Check the network's own arguments against its signature, and fill in their defaults."""
        network = NETWORKS.get(str(given.get("name", "unet"))) if isinstance(given, dict) else None
        if network is None:
            return given  # the field's own error says which names there are
        own = {k: v for k, v in given.items() if k not in ("name", "initialization")}
        ranges = {int: Positive, float: Probability, tuple[int, ...]: SeveralPositive}  # of a network's plain numbers
        parameters = inspect.signature(network).parameters.values()
        fields = {p.name: (ranges.get(p.annotation, p.annotation), p.default) for p in parameters}
        fields |= {"classes": (Positive | None, None)}  # None: as many as the target needs
        checker = create_model("[model]", __config__=ConfigDict(extra="forbid"), **fields)
        return given | checker(**own).model_dump(exclude_none=True)


class TrainingTable(Table):
    """`[training]`: how it is learned."""

    loss: Literal[tuple(LOSSES)] = "bce+dice"
    optimizer: Annotated[str, known_as(OPTIMIZERS)] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    epochs: Positive = 10
    batch_size: Positive = 16
    accumulate: Positive = 1
    """Batches whose gradients are added up before one step; the effective batch is `batch_size * accumulate`."""
    sizes: tuple[tuple[Annotated[int, Field(ge=32)], Annotated[float, Field(gt=0)]], ...] = ()
    """Progressive resizing: pairs (side in pixels, share of the epochs); empty trains at `image_size` only."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay a step of the weights' exponential moving average, which is then validated and kept; 0 = none."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Early stopping: end after so many epochs at the full size without a better validation Dice; 0 = never."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool = False
    """Let torch.compile make the training pass faster; each size of the images costs half a minute and more, once."""
    deterministic: bool = False
    """Let a GPU repeat a run to the bit, as a CPU does anyway: cuDNN's and torch's deterministic ways, which are slower
    and need more memory. What torch has no such way for is refused, such as cross-entropy and reflect padding."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    weights: str | None = None
    """A weights file to start from; what does not fit by name and shape stays as it is initialized."""
    faults: tuple[Literal[tuple(FAULTS)], ...] = ()
    """Mistakes of the reports' code that are made on purpose, see `training/faults.py`."""
    device: str | None = None
    """Filled in when a training starts."""
