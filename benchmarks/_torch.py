"""The PyTorch sides of `training.py`, in a process of their own.

Answers one JSON request per line with the residues per second of processor time.

Shape letters: B = sequences in the batch, L = longest of them, H = hidden units.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path

import torch
from _networks import DIM, PADDING, Plain, Training, batches, keep_memory, random_batches, recipe
from _sets import BATCH, load
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from protemb.models.checkpoint import build_classifier
from protemb.models.recurrent import run_recurrent

SECONDS = 0.7  # processor time that one measurement should take at least


def protemb_side(network: str, name: str) -> Callable[[], float]:
    """Whole epochs of the bare loop."""
    training, epochs = Training(network, batches(load(name))), count()

    def rate() -> float:
        start, residues = time.process_time(), 0
        while (seconds := time.process_time() - start) < SECONDS:
            residues += training.epoch(next(epochs))
        return residues / seconds

    training.epoch(next(epochs))
    return rate


def lightning_side(network: str, name: str) -> Callable[[], float]:
    """The second epoch under Lightning, with every callback of conf/ and the CSV log."""
    import pytorch_lightning as pl
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from protemb.apps.config import build, register_schema
    from protemb.apps.naming import register_resolvers
    from protemb.training.module import ClassifierModule

    class Clock(pl.Callback):
        """Time and residues of an epoch's steps."""

        def on_train_epoch_start(self, *_: object) -> None:
            self.start, self.residues = time.process_time(), 0

        def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
            self.residues += int(batch[0].lengths_B.sum())
            self.seconds = time.process_time() - self.start

    register_resolvers()
    register_schema()
    data = batches(load(name))
    conf = str(Path(__file__).parents[1] / "conf")
    parts = ["trainer", "callbacks", "out_dir", "objective", "objective_mode"]

    def rate() -> float:
        with tempfile.TemporaryDirectory() as folder:
            options = ["trainer=cpu", "trainer.max_epochs=2", f"out_dir={folder}"]
            with initialize_config_dir(conf, version_base="1.3"):
                cfg = OmegaConf.masked_copy(compose("train", options), parts)
            values = OmegaConf.to_container(cfg, resolve=True)
            clock = Clock()
            trainer = build(
                values["trainer"],
                callbacks=[*map(build, values["callbacks"].values()), clock],
                logger=pl.loggers.CSVLogger(folder),
                num_sanity_val_steps=0,
                use_distributed_sampler=False,
                enable_model_summary=False,
                log_every_n_steps=1,
            )
            module = ClassifierModule(
                build_classifier(recipe(network)),
                recipe(network),
                optimizer=lambda weights: torch.optim.Adam(weights, fused=True),
            )
            trainer.fit(module, data)
        return clock.residues / clock.seconds

    return rate


def plain_side(network: str, name: str, way: str) -> Callable[[], float]:
    """Random batches: packed, padded to their longest, or padded to the longest of the set."""
    data = load(name)
    longest = int(data.store.lengths_N.max())
    model = Plain(network, packed=way == "packed")
    optimizer = torch.optim.Adam(model.parameters())
    stream = random_batches(data)

    def rate() -> float:
        start, residues, seconds = time.process_time(), 0, 0.0
        while seconds < SECONDS:
            rows, labels_B = next(stream)
            lengths_B = torch.tensor([len(row) for row in rows])
            tokens_BL = pad_sequence(rows, batch_first=True, padding_value=PADDING)
            if way == "padded to longest":
                tokens_BL = F.pad(tokens_BL, (0, longest - tokens_BL.shape[1]), value=PADDING)
            loss = F.cross_entropy(model(tokens_BL, lengths_B), labels_B)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            residues += int(lengths_B.sum())
            seconds = time.process_time() - start
        return residues / seconds

    return rate


def matrix_side(hidden: int, mode: str) -> Callable[[], list[float]]:
    """GFLOP/s of an LSTM over a batch of equal lengths, and of its matrix product alone."""
    length, repeats = 256, 50
    rnn = nn.LSTM(DIM, hidden, batch_first=True)
    inputs_BLD, lengths_B = torch.randn(BATCH, length, DIM), torch.full((BATCH,), length)
    # Two products per gate, each as often again for the gradients of its two factors.
    passes = 3 if mode == "training" else 1
    operations = passes * 2 * BATCH * length * 4 * hidden * (DIM + hidden)

    def lstm() -> None:
        with torch.set_grad_enabled(mode == "training"):
            states_BLH = run_recurrent(rnn, inputs_BLD, lengths_B)
            if mode == "training":
                states_BLH.sum().backward()

    rows_BH, weights_HG = torch.randn(BATCH, hidden), torch.randn(hidden, 4 * hidden)
    columns_1HB, filters_GH1 = rows_BH.T.contiguous()[None], weights_HG.T.contiguous()[..., None]
    # By MKL and by oneDNN: which one is the faster depends on the processor.
    products = (
        lambda: torch.mm(rows_BH, weights_HG),
        lambda: F.conv1d(columns_1HB, filters_GH1),
    )

    def product(multiply: Callable[[], Tensor]) -> None:
        with torch.no_grad():
            for _ in range(repeats):
                multiply()

    def gflops(work: Callable[[], None], operations: float) -> float:
        seconds = []
        for _ in range(5):
            start = time.process_time()
            work()
            seconds.append(time.process_time() - start)
        return operations / min(seconds) / 1e9

    def rates() -> list[float]:
        one = 2 * BATCH * hidden * 4 * hidden
        limits = [gflops(lambda m=m: product(m), repeats * one) for m in products]
        return [gflops(lstm, operations), max(limits)]

    return rates


@cache
def side(way: str, *options) -> Callable:
    """What measures one way of training."""
    ours = {"protemb": protemb_side, "Lightning": lightning_side, "matrix": matrix_side}
    return ours[way](*options) if way in ours else plain_side(*options, way=way)


def main() -> None:
    """Answer requests until the input ends; the argument `keep` keeps freed memory."""
    torch.set_num_threads(1)
    # As `train.py` does. It helps plain PyTorch as much as ours.
    torch.set_flush_denormal(True)
    if sys.argv[1:] == ["keep"]:
        keep_memory()
    # What progress bars print must not end up between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(side(*json.loads(line))()), file=answers, flush=True)


if __name__ == "__main__":
    main()
