"""The three networks in Keras, fed with sequences padded to the longest of the set.

Runs under the interpreter that `training.py --keras-python` names, because Keras and its backends
are no dependency of protemb. Reads one request per line (JSON) and answers each with the seconds of
processor time per training step; needs nothing but Keras, its backend and NumPy.
"""

import json
import os
import sys
import time
from importlib.metadata import version

import numpy as np

SECONDS = 0.7  # processor time that one measurement should take at least


def build(keras, network: str, letters: int, classes: int):
    """Embedding of 10 with masked padding, the network, a softmax."""
    layers = keras.layers
    middle = {
        "mean": [layers.GlobalAveragePooling1D(), layers.Dense(64, activation="relu")],
        "LSTM(64)": [layers.LSTM(64)],
        "BiLSTM(64)": [layers.Bidirectional(layers.LSTM(64))],
    }[network]
    head = layers.Dense(classes, activation="softmax")
    table = layers.Embedding(letters + 1, 10, mask_zero=True)
    model = keras.Sequential([table, *middle, head])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


def main() -> None:
    """Answer requests until the input ends."""
    import keras

    print(json.dumps({"keras": version("keras"), "backend": backend_version()}), flush=True)
    models = {}
    for line in sys.stdin:
        request = json.loads(line)
        network, batch = request["network"], request["batch"]
        lengths_N, width = request["lengths"], max(request["lengths"])
        rng = np.random.default_rng(0)

        def seconds(steps: int, network=network, width=width, lengths_N=lengths_N) -> float:
            rows = steps * batch
            tokens_NL = rng.integers(1, 21, (rows, width), dtype=np.int32)
            ends_N1 = rng.choice(lengths_N, rows)[:, None]
            tokens_NL[np.arange(width) >= ends_N1] = 0
            labels_N = rng.integers(0, request["classes"], rows)
            start = time.process_time()
            models[network, width].fit(tokens_NL, labels_N, batch_size=batch, verbose=0)
            return (time.process_time() - start) / steps

        if (network, width) not in models:
            models[network, width] = build(keras, network, 21, request["classes"])
            seconds(1)  # compiles
        steps = max(1, min(300, round(SECONDS / seconds(1))))
        if steps == 1:  # nothing is gained by repeating the long ones
            steps = request["steps"]
        print(json.dumps({"seconds": seconds(steps), "steps": steps}), flush=True)


def backend_version() -> str:
    """The version of the installed distribution behind the chosen backend."""
    names = {"jax": ["jax"], "tensorflow": ["tensorflow", "tensorflow-cpu"]}
    for name in names[os.environ["KERAS_BACKEND"]]:
        try:
            return version(name)
        except ModuleNotFoundError:
            continue
    return "unknown"


if __name__ == "__main__":
    main()
