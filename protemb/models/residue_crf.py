"""A linear-chain conditional random field over residue labels (extra `crf`).

The chain itself, its normaliser and its Viterbi decoding are pytorch-crf's. Labels that are not
known are summed out: with e' the scores e in which every label but the known one is impossible,

    log p(known labels) = log Z(e') - log Z(e)

and log Z(e) is the score of any sequence of labels minus its log-likelihood, so that the scores of
one sequence that agrees with what is known cancel out.

Shape letters: B = sequences, L = longest of them, C = labels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protemb.errors import MissingExtra
from protemb.models.batches import padding_mask

IMPOSSIBLE = -1e4
"""Score of a label that a residue does not have; far below any other and far from overflow."""


class LabelChain(nn.Module):
    """Scores of neighbouring labels on top of each residue's own.

    Args:
        classes: number of labels C.

    Raises:
        MissingExtra: pytorch-crf is not installed.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        try:
            from torchcrf import CRF
        except ImportError:
            raise MissingExtra("task.crf=true", "pytorch-crf", "crf") from None
        self.classes = classes
        self.chain = CRF(classes, batch_first=True)

    def log_likelihood(
        self, scores_BLC: Tensor, labels_BL: Tensor, counted_BL: Tensor, lengths_B: Tensor
    ) -> Tensor:
        """Return the log-probability of each sequence's known labels, logs_B.

        Args:
            scores_BLC: of each label at each residue.
            labels_BL: labels; any one where they are not known.
            counted_BL: where they are known.
            lengths_B: residues of each sequence.
        """
        mask_BL = padding_mask(lengths_B, labels_BL.shape[1], labels_BL.device)
        scores_BLC = scores_BLC.float()
        possible_BLC = F.one_hot(labels_BL, self.classes).bool() | ~counted_BL[..., None]
        bound_BLC = scores_BLC.masked_fill(~possible_BLC, IMPOSSIBLE)
        free_B, bound_B = (
            self.chain(found_BLC, labels_BL, mask=mask_BL, reduction="none")
            for found_BLC in (scores_BLC, bound_BLC)
        )
        return free_B - bound_B

    def decode(self, scores_BLC: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the most probable labels_BL of each sequence (Viterbi); 0 past its end."""
        mask_BL = padding_mask(lengths_B, scores_BLC.shape[1], scores_BLC.device)
        paths = self.chain.decode(scores_BLC.float(), mask=mask_BL)
        labels_BL = torch.zeros(mask_BL.shape, dtype=torch.long)
        for row_L, path in zip(labels_BL, paths, strict=True):
            row_L[: len(path)] = torch.tensor(path)
        return labels_BL.to(scores_BLC.device)
