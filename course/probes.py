"""Tools that find what is wrong in a network, and the parts that notebook 03 tries them on."""

import torch
from torch import Tensor, nn

from labkit.models import BasicBlock, ResNet34Encoder


class PlainBlock(BasicBlock):
    """A basic block without its shortcut."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))


class Report002Encoder(ResNet34Encoder):
    """The encoder as report 002 codes it: the stem's max pool is made and never called."""

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [self.relu(self.bn1(self.conv1(x)))]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


def never_called(net: nn.Module, images: Tensor) -> list[str]:
    """Names of the modules without children that a forward pass of the images does not call."""
    called, handles = set(), []
    for name, module in net.named_modules():
        handles.append(module.register_forward_hook(lambda module, inputs, y, name=name: called.add(name)))
    with torch.no_grad():
        net(images)
    for handle in handles:
        handle.remove()
    return [name for name, module in net.named_modules() if name not in called and not list(module.children())]


def silent_branch(block: BasicBlock, x: Tensor) -> Tensor:
    """What a residual block makes of `x` when its branch gives 0 everywhere; the block stays as it is."""
    handle = block.bn2.register_forward_hook(lambda module, inputs, y: torch.zeros_like(y))
    try:
        return block(x)
    finally:
        handle.remove()
