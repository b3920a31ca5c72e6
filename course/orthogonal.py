"""The nearest orthogonal matrix by matrix products alone, as the optimizer Muon computes it."""

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration; Jordan et al. chose them for a steep start, so that five rounds suffice."""


def orthogonalized(matrix: Tensor, rounds: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: all singular values come near 1 (0.7 to 1.2), directions stay.

    A polynomial in `matrix`, `float [M, N]`, does it without a singular value decomposition, in the matrix's own
    precision: bfloat16 is enough, and fast where the hardware has it.
    """
    a, b, c = COEFFICIENTS
    x = matrix if len(matrix) <= len(matrix.T) else matrix.T  # the small Gram matrix is the cheap one
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if x.shape == matrix.shape else x.T
