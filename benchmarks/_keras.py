"""The three networks in Keras, fed with sequences padded to the longest of the set.

Runs under the interpreter that `training.py --keras-python` names, because Keras and its backends
are no dependency of protemb; needs nothing but Keras, a backend and NumPy. Answers one JSON request
per line with the residues per second of processor time.
"""

import json
import os
import sys
import time
from importlib.metadata import packages_distributions, version

import numpy as np

LETTERS, CLASSES, BATCH = 21, 6, 64
SECONDS = 0.7  # processor time that one measurement should take at least
MOST_STEPS = 300


def build(keras, network: str):
    """Embedding of 10 whose padding is masked, the network, a softmax; compiled."""
    layers = keras.layers
    middle = {
        "mean": [layers.GlobalAveragePooling1D(), layers.Dense(64, activation="relu")],
        "LSTM(64)": [layers.LSTM(64)],
        "BiLSTM(64)": [layers.Bidirectional(layers.LSTM(64))],
    }[network]
    table = layers.Embedding(LETTERS + 1, 10, mask_zero=True)
    model = keras.Sequential([table, *middle, layers.Dense(CLASSES, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


class Fit:
    """One network on one set, `fit` again and again."""

    def __init__(self, keras, network: str, lengths: list[int]) -> None:
        self.model, self.lengths = build(keras, network), lengths
        self.rng = np.random.default_rng(0)
        self.steps = 1
        self.seconds()  # compiles
        self.steps = max(1, min(MOST_STEPS, round(SECONDS / self.seconds())))

    def seconds(self) -> float:
        """Processor time of one training step."""
        rows = self.steps * BATCH
        tokens_NL = self.rng.integers(1, LETTERS + 1, (rows, max(self.lengths)), dtype=np.int32)
        # Nearly the set's own mean length, whichever rows are drawn.
        ends_N1 = self.rng.choice(self.lengths, rows)[:, None]
        tokens_NL[np.arange(tokens_NL.shape[1]) >= ends_N1] = 0
        labels_N = self.rng.integers(0, CLASSES, rows)
        start = time.process_time()
        self.model.fit(tokens_NL, labels_N, batch_size=BATCH, verbose=0)
        return (time.process_time() - start) / self.steps

    def rate(self) -> float:
        """Residues per second. Every batch is as wide as any other, so its cost is the same."""
        return BATCH * float(np.mean(self.lengths)) / self.seconds()


def main() -> None:
    """Say which versions run, then answer requests until the input ends."""
    import keras

    backend = os.environ["KERAS_BACKEND"]
    distribution = packages_distributions()[backend][0]
    print(json.dumps({"keras": version("keras"), backend: version(distribution)}), flush=True)
    fits: dict[tuple[str, str], Fit] = {}
    for line in sys.stdin:
        network, name, lengths = json.loads(line)
        if (network, name) not in fits:
            fits[network, name] = Fit(keras, network, lengths)
        print(json.dumps(fits[network, name].rate()), flush=True)


if __name__ == "__main__":
    main()
