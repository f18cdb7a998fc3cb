"""Contact maps from residue vectors, by the heads of the published models.

Bepler and Berger (2019), section 3.3: pairs of residues by absolute difference and product, a
hidden layer, and a 7 x 7 convolution. Bepler and Berger (2021), "Learning the protein language",
Cell Systems 12: a bilinear form over all levels. Above 0, a logit says contact.

A map is made in blocks of rows, so that of its features only a block's are held.

Shape letters: L = residues, R = rows of a block, D = features, H = hidden channels, W = width of
the convolution.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from protemb.errors import ConfigError

NUMBERS = 2**23
"""Numbers that a block of rows may hold at once: 32 MiB in float32."""

# ProSE's `hidden_dim=1000`: a constant of its code that no file holds.
BILINEAR_SCALE = 1000**0.5
PREFIX = "cmap_predict."


class ContactMap(ABC):
    """Residue vectors in, one logit for every pair of residues out.

    Attributes:
        level: the encoder's level that it reads.
        numbers: that a block of rows may hold at once.
    """

    level: str
    numbers: int = NUMBERS

    @staticmethod
    def of(heads: Mapping[str, np.ndarray], recipe: Mapping[str, Any]) -> "ContactMap":
        """From a converted model: tensors behind its embedding, and its recipe.

        Raises:
            ConfigError: the model was not trained for contacts.
        """
        found = {
            name.removeprefix(PREFIX): torch.from_numpy(array)
            for name, array in heads.items()
            if name.startswith(PREFIX)
        }
        if {"hidden.weight", "hidden.bias", "conv.weight", "conv.bias"} <= found.keys():
            hidden, bias = found["hidden.weight"].flatten(1), found["hidden.bias"]
            return ConvContactMap(hidden, bias, found["conv.weight"], found["conv.bias"])
        if {"linear.weight", "linear.bias", "bias"} <= found.keys():
            return BilinearContactMap(found["linear.weight"], found["linear.bias"], found["bias"])
        source = recipe.get("source", {}).get("name", "a model without a contact head")
        raise ConfigError("model", source, "one that was trained for contacts")

    @abstractmethod
    def blocks(self, states_LD: Tensor) -> Iterator[Tensor]:
        """Yield the logits_RL of one block of rows after the other, from the top."""

    @abstractmethod
    def symmetric(self) -> "ContactMap":
        """The head whose logits are the mean of this one's for (i, j) and for (j, i).

        The convolution was kept symmetric while it was trained, the bilinear form was not.
        """

    @abstractmethod
    def to(self, device: torch.device | str) -> "ContactMap":
        """The same head with its numbers on a device."""

    def logits(self, states_LD: Tensor) -> Tensor:
        """Return logits_LL."""
        return torch.cat(list(self.blocks(states_LD)))

    def rows(self, length: int, per_pair: int) -> int:
        """Rows of a block when every pair of residues takes `per_pair` numbers."""
        return min(length, max(1, self.numbers // (length * per_pair)))


class ConvContactMap(ContactMap):
    """The head of 2019's SCOPCM, on the projection.

    Args:
        hidden_HD2: weights of the hidden layer, for [differences | products].
        bias_H: its intercepts.
        kernel_1HWW: the convolution.
        bias_1: its intercept.
    """

    level = "projection"

    def __init__(
        self, hidden_HD2: Tensor, bias_H: Tensor, kernel_1HWW: Tensor, bias_1: Tensor
    ) -> None:
        self.hidden_HD2, self.bias_H = hidden_HD2, bias_H
        self.kernel_1HWW, self.bias_1 = kernel_1HWW, bias_1

    def symmetric(self) -> "ConvContactMap":
        """The mean of the kernel and its transpose; the features are symmetric as they are."""
        kernel_1HWW = (self.kernel_1HWW + self.kernel_1HWW.transpose(2, 3)) / 2
        return ConvContactMap(self.hidden_HD2, self.bias_H, kernel_1HWW, self.bias_1)

    def to(self, device: torch.device | str) -> "ConvContactMap":
        """The same head with its numbers on a device."""
        numbers = (self.hidden_HD2, self.bias_H, self.kernel_1HWW, self.bias_1)
        return ConvContactMap(*(tensor.to(device) for tensor in numbers))

    def blocks(self, states_LD: Tensor) -> Iterator[Tensor]:
        """Yield logits_RL; rows next to a block that the kernel reaches are computed once."""
        length, halo = len(states_LD), self.kernel_1HWW.shape[2] // 2
        rows = self.rows(length, 2 * self.hidden_HD2.shape[1] + len(self.bias_H))
        above_HRL = self._hidden(states_LD, -halo, halo)
        for start in range(0, length, rows):
            stop = min(start + rows, length)
            below_HRL = self._hidden(states_LD, start + halo, stop + halo)
            window_HRL = torch.cat([above_HRL, below_HRL], 1)
            yield F.conv2d(window_HRL[None], self.kernel_1HWW, self.bias_1, padding=(0, halo))[0, 0]
            above_HRL = window_HRL[:, window_HRL.shape[1] - 2 * halo :]

    def _hidden(self, states_LD: Tensor, start: int, stop: int) -> Tensor:
        """Hidden channels of rows `start` to `stop`; rows outside of the protein are zero."""
        length = len(states_LD)
        first, last = (min(max(row, 0), length) for row in (start, stop))
        rows_R1D = states_LD[first:last, None]
        pairs_RLD2 = torch.cat([(rows_R1D - states_LD).abs(), rows_R1D * states_LD], 2)
        hidden_RLH = torch.relu(F.linear(pairs_RLD2, self.hidden_HD2, self.bias_H))
        above = max(0, -start)
        below = stop - start - above - len(rows_R1D)
        return F.pad(hidden_RLH.movedim(2, 0), (0, 0, above, below))


class BilinearContactMap(ContactMap):
    """ProSE's head, on all levels side by side.

    Args:
        form_DD: weights of the linear layer that the first residue of a pair goes through.
        second_D: its intercepts, a linear term in the second residue.
        bias_1: intercept of the logits.
        first_D: a linear term in the first residue, which the published head has not.
    """

    level = "all"

    def __init__(
        self, form_DD: Tensor, second_D: Tensor, bias_1: Tensor, first_D: Tensor | None = None
    ) -> None:
        self.form_DD, self.second_D, self.bias_1 = form_DD, second_D, bias_1
        self.first_D = torch.zeros_like(second_D) if first_D is None else first_D

    def symmetric(self) -> "BilinearContactMap":
        """The symmetric part of the form; both residues share the linear terms."""
        form_DD = (self.form_DD + self.form_DD.T) / 2
        linear_D = (self.first_D + self.second_D) / 2
        return BilinearContactMap(form_DD, linear_D, self.bias_1, linear_D)

    def to(self, device: torch.device | str) -> "BilinearContactMap":
        """The same head with its numbers on a device."""
        numbers = (self.form_DD, self.second_D, self.bias_1, self.first_D)
        return BilinearContactMap(*(tensor.to(device) for tensor in numbers))

    def blocks(self, states_LD: Tensor) -> Iterator[Tensor]:
        """Yield logits_RL."""
        for rows_RD in states_LD.split(self.rows(len(states_LD), 1)):
            logits_RL = F.linear(rows_RD, self.form_DD, self.second_D) @ states_LD.T
            logits_RL = logits_RL + (rows_RD @ self.first_D)[:, None]
            yield logits_RL / BILINEAR_SCALE + self.bias_1
