"""The Lightning side of a classifier: loss, optimizer, validation metrics, recipe.

Shape letters: B = records in the batch, C = classes.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from protemb.models.classifier import SequenceClassifier, Standardise
from protemb.training.data import LabelledBatch
from protemb.training.frozen import is_frozen, known_vectors
from protemb.training.task_module import TaskModule


class ClassifierModule(TaskModule):
    """Trains a `SequenceClassifier`.

    Args:
        classifier: the network. Its weights stand in checkpoints under `classifier.`.
        recipe: see `TaskModule`.
        label_smoothing: share of the target spread over all classes.
        training: options of `TaskModule`.
    """

    def __init__(
        self,
        classifier: SequenceClassifier,
        recipe: Mapping[str, Any],
        *,
        label_smoothing: float = 0.0,
        **training: Any,
    ) -> None:
        super().__init__(recipe, **training)
        self.classifier = classifier
        self.label_smoothing = label_smoothing
        self.val_confusion = MulticlassConfusionMatrix(len(recipe["labels"]))
        self.val_loss = MeanMetric(nan_strategy="disable")

    def on_fit_start(self) -> None:
        """Compute once what every epoch would compute again."""
        embedder = self.classifier.embedder
        batches = self.trainer.datamodule  # type: ignore[attr-defined]
        frozen = is_frozen(embedder)
        batches.count_residues(embedder.counts_suffice and not frozen)
        if frozen:
            known = self.classifier.known = known_vectors(embedder, batches, self.device)
            if isinstance(self.classifier.head[0], Standardise):
                self.classifier.head[0].fit(known.vectors_ND[: len(batches.split.train)])

    def _losses(self, batch: LabelledBatch) -> tuple[Tensor, Tensor]:
        inputs, labels_B, _ = batch
        logits_BC = self.classifier.of(inputs)
        losses_B = F.cross_entropy(
            logits_BC.float(), labels_B, label_smoothing=self.label_smoothing, reduction="none"
        )
        return logits_BC, losses_B

    def training_step(self, batch: LabelledBatch, batch_idx: int) -> Tensor:
        """Weighted cross-entropy of this device's share of the batch."""
        _, losses_B = self._losses(batch)
        loss = (losses_B * batch[2]).sum()
        return self.logged(loss, batch_idx)

    def validation_step(self, batch: LabelledBatch, _batch_idx: int) -> None:
        """Count this device's share; rows of weight zero are another device's."""
        logits_BC, losses_B = self._losses(batch)
        counted_B = batch[2] > 0
        self.val_loss.update(losses_B[counted_B])
        self.val_confusion.update(logits_BC.argmax(1)[counted_B], batch[1][counted_B])

    def on_validation_epoch_end(self) -> None:
        """Log loss, balanced accuracy and macro-F1 over the classes that are present."""
        counts_CC = self.val_confusion.compute().double()
        true_C, predicted_C, right_C = counts_CC.sum(1), counts_CC.sum(0), counts_CC.diag()
        present_C = true_C > 0
        f1_C = 2 * right_C / (true_C + predicted_C).clamp_min(1)
        values = {
            "val/loss": self.val_loss.compute(),
            "val/balanced_accuracy": (right_C / true_C.clamp_min(1))[present_C].mean(),
            "val/macro_f1": f1_C[present_C].mean(),
        }
        self.val_confusion.reset()
        self.val_loss.reset()
        self.log_epoch(values)
