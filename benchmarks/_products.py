"""What a processor can do at most: the plain matrix product."""

from collections.abc import Callable

import torch
from torch import Tensor


def products(rows: int, inputs: int, outputs: int) -> tuple[Callable[[], Tensor], ...]:
    """Ways to multiply rows x inputs by inputs x outputs, as random numbers.

    By MKL, and by oneDNN with the second factor arranged beforehand as its own LSTM has it; which
    one is the faster depends on the processor.
    """
    left, right = torch.randn(rows, inputs), torch.randn(inputs, outputs)
    arranged = torch.ops.mkldnn._reorder_linear_weight(right.T.contiguous(), rows)
    return (
        lambda: torch.mm(left, right),
        lambda: torch.ops.mkldnn._linear_pointwise(left, arranged, None, "none", [], ""),
    )
