"""Smaller networks: fewer bytes per weight, batch norm folded into its convolution, and the change of the masks."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from labkit.errors import LabError
from labkit.metrics import predicted_mask

STORAGES = ("float32", "float16", "bfloat16", "int8")
SCALE = ".scale"  # what the name of an int8 weight's scales ends in
CONVOLUTIONS = nn.Conv2d | nn.ConvTranspose2d


class Agreement(NamedTuple):
    """How far two networks agree: shares of equal pixels and of wholly equal masks, largest difference of a logit."""

    pixels: float
    images: float
    largest: float


def agreement(logits: Tensor, others: Tensor, threshold: float = 0.5) -> Agreement:
    """Compare the logits `[B, C, H, W]` of two networks for the same images, and the masks from them."""
    same = predicted_mask(logits, threshold) == predicted_mask(others, threshold)
    images = same.flatten(1).all(dim=1)
    return Agreement(*(x.double().mean().item() for x in (same, images)), (logits - others).abs().max().item())


def quantize(weight: Tensor, axis: int = 0) -> tuple[Tensor, Tensor]:
    """Symmetric int8 with one scale for each output channel: `weight` is nearly `values * scales`.

    The scale is the channel's largest absolute weight over 127, so that none is cut off and none is off by more
    than half a scale. Source: Krishnamoorthi, "Quantizing deep convolutional networks" (arXiv 1806.08342), section 2.

    Args:
        weight: `float [...]`, finite.
        axis: of the output channels; 0 in a convolution, 1 in a transposed one.

    Returns:
        Values `int8` in the weight's shape and scales `float32`, of length 1 along every other axis.

    Raises:
        LabError: a weight is not finite.
    """
    if not torch.isfinite(weight).all():
        raise LabError("quantize: the weights are not all finite; take those of a training that did not diverge")
    others = [i for i in range(weight.dim()) if i != axis]
    scales = weight.float().abs().amax(others, keepdim=True) / 127
    steps = weight.float() / torch.where(scales > 0, scales, 1)  # a channel of zeros stays zero
    return steps.round().clamp(-127, 127).to(torch.int8), scales


def stored_weights(model: nn.Module, storage: str) -> dict[str, Tensor]:
    """A network's weights as a file would hold them, in one of `STORAGES`.

    `float16` and `bfloat16` hold every number with a fraction in two bytes; `int8` holds the kernels of convolutions
    and linear layers in one, their scales beside them (`<name>.scale`), and leaves the few other numbers float32.

    Raises:
        LabError: the storage is unknown, or a weight is not finite.
    """
    if storage not in STORAGES:
        raise LabError(f"storage: found {storage!r}; use one of {', '.join(STORAGES)}")
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if storage != "int8":
        dtype = getattr(torch, storage)
        return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    for name, module in model.named_modules():
        if isinstance(module, CONVOLUTIONS | nn.Linear):
            key = f"{name}.weight" if name else "weight"
            state[key], state[key + SCALE] = quantize(state[key], axis=int(isinstance(module, nn.ConvTranspose2d)))
    return state


def restored_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The result of `stored_weights` as float32 weights for `load_state_dict`."""
    names = [name for name in state if not (name.endswith(SCALE) and name.removesuffix(SCALE) in state)]
    weights = {name: state[name].float() if state[name].is_floating_point() else state[name] for name in names}
    return weights | {name: weights[name] * state[name + SCALE] for name in names if name + SCALE in state}


def compressed(model: nn.Module, storage: str) -> nn.Module:
    """A copy of a network after its weights were stored and read back; it computes in float32 as before."""
    network = copy.deepcopy(model).train(model.training)  # a copy of torch.fx's modules forgets its mode
    network.load_state_dict(restored_weights(stored_weights(model, storage)))
    return network


def file_bytes(state: dict[str, Tensor]) -> int:
    """Size of the safetensors file that holds these tensors, without further metadata."""
    return len(save({name: value.contiguous() for name, value in state.items()}))


def fold_batch_norm(model: nn.Module, size: int = 64, in_channels: int = 3) -> nn.Module:
    """A copy in evaluation mode in which each batch norm has become part of the convolution before it.

    In evaluation mode batch norm is a fixed scale and shift per channel, which kernel and bias can include. One pass
    with an image `[1, in_channels, size, size]` shows which convolution feeds a norm, and nothing else; a norm behind
    a ReLU stays. The model is left as it is.
    """
    network = copy.deepcopy(model).eval()
    names = {module: name for name, module in network.named_modules()}
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    with torch.no_grad(), _Uses(names) as uses:
        network(torch.zeros(1, in_channels, size, size, device=device))
    for conv, norm in uses.pairs():
        transposed = isinstance(conv, nn.ConvTranspose2d)
        if not (transposed and conv.groups > 1):  # whose kernel holds the channels of one group only
            network.set_submodule(names[conv], fuse_conv_bn_eval(conv, norm, transpose=transposed))
            network.set_submodule(names[norm], nn.Identity())
    return network


class _Uses(TorchFunctionMode):
    """Notes what convolutions give and norms take, and how many functions compute with each tensor."""

    def __init__(self, modules):
        super().__init__()
        self.taken: dict[int, list[Tensor]] = {}  # tensors are kept, so that their ids stay their own
        self.noted: dict[nn.Module, list[Tensor]] = {}
        convolutions = [m for m in modules if isinstance(m, CONVOLUTIONS)]
        norms = [m for m in modules if isinstance(m, nn.BatchNorm2d)]
        self.hooks = [m.register_forward_hook(lambda m, x, y: self.note(m, y)) for m in convolutions]
        self.hooks += [m.register_forward_pre_hook(lambda m, x: self.note(m, x[0])) for m in norms]

    def note(self, module: nn.Module, tensor: Tensor) -> None:
        self.noted.setdefault(module, []).append(tensor)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if any(isinstance(x, Tensor) for x in tree_leaves(result)):  # not a mere look at the shape
            for tensor in {id(x): x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}.values():
                self.taken.setdefault(id(tensor), []).append(tensor)
        return result

    def pairs(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Each convolution, called once, whose result one norm takes and nothing else."""
        for hook in self.hooks:
            hook.remove()
        once = [(module, id(tensors[0])) for module, tensors in self.noted.items() if len(tensors) == 1]
        norms = {tensor: module for module, tensor in once if isinstance(module, nn.BatchNorm2d)}
        for module, tensor in once:
            if not isinstance(module, nn.BatchNorm2d) and tensor in norms and len(self.taken[tensor]) == 1:
                yield module, norms[tensor]
