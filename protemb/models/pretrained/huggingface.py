"""ESM and T5 models as `save_pretrained` leaves them: a folder, or a name on the Hugging Face hub.

Read are `config.json`, the vocabulary and the numbers; nothing in the folder is executed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from protemb.errors import CheckpointError, ConfigError, DownloadError, MissingExtra
from protemb.models.pretrained.filling import check, fill
from protemb.models.pretrained.inert import RefusedPickle
from protemb.models.pretrained.transformer import OPTIONS, TransformerEncoder
from protemb.models.pretrained.weights import read_weights
from protemb.sequences.alphabet import ESM, PROTT5

ALPHABET_OF = {"esm": ESM, "t5": PROTT5}
CONFIG = "config.json"
NUMBERS, INDEX, PICKLED = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
FETCHED = (CONFIG, "*.safetensors", INDEX, "vocab.txt", "tokenizer.json", "spiece.model")
MOST_TEXT = 64 * 2**20
"""Bytes of a file that is no file of numbers."""
MOST_WORDS = 1000
"""Pieces in the vocabulary of a model of proteins; models of text have tens of thousands."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_FILES = (".sav", ".npz", ".npy", ".pkl", ".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".json")
# Heads behind the states, the decoder, and places in ESM that hold no trained number.
_BEHIND = {
    "esm": ("lm_head.", "classifier.", "pooler.", "contact_head.", "embeddings.position_ids"),
    "t5": ("decoder.", "lm_head.", "classification_head.", "classifier."),
}
_FREQUENCIES = "rotary_embeddings.inv_freq"


def is_hub_name(source: str) -> bool:
    """Whether this is a name such as `facebook/esm2_t6_8M_UR50D`, and no path.

    >>> is_hub_name("facebook/esm2_t6_8M_UR50D"), is_hub_name("models/ssa.sav")
    (True, False)
    """
    named = _NAME.fullmatch(source) is not None and not source.lower().endswith(_FILES)
    return named and not Path(source).exists()


def fetch(name: str) -> Path:
    """Get a model's plain files from the hub, or from the hub's cache on this machine.

    Raises:
        MissingExtra: `huggingface_hub` is not installed.
        DownloadError: no network, no such model, or no access to it.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        feature = f"{name!r}, no path here and so a name on the Hugging Face hub,"
        raise MissingExtra(feature, "huggingface_hub", "hf") from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(FETCHED)))
    except Exception as error:  # of the network, the hub and the disk, all from other libraries
        reason = " ".join(str(error).split())[:200]
        problem = f"no such path, and not to be had from the Hugging Face hub: {reason}"
        raise DownloadError(name, problem) from None


def read_transformer(folder: Path) -> TransformerEncoder:
    """Build the encoder of a folder with its numbers.

    Raises:
        RefusedPickle: files are missing, damaged, or do not fit together.
        CheckpointError: a pickled file of numbers is refused.
        MissingExtra: `transformers`, or the reader of its vocabulary, is not installed.
    """
    config = _read_json(folder / CONFIG)
    architecture = str(config.get("model_type"))
    if architecture not in OPTIONS:
        raise RefusedPickle(f"{CONFIG}: model_type {architecture!r}, expected esm or t5")
    words = _esm_words(folder) if architecture == "esm" else _t5_words(folder)
    options = _options(architecture, config, words)
    tensors = _tensors(weight_files(folder), architecture)
    try:
        with torch.device("meta"):  # sizes are compared before memory is taken
            empty = TransformerEncoder(**options)
        tensors = _renamed(tensors, empty)
        absent = _FREQUENCIES not in {name.removeprefix("network.") for name in tensors}
        shapes = empty.state_dict()
        # Files may leave out the frequencies of rotary positions: the definition's are meant.
        defined = {n: s for n, s in shapes.items() if absent and n.endswith(_FREQUENCIES)}
        check(empty, {n: np.empty(s.shape) for n, s in defined.items()} | tensors)
        encoder = TransformerEncoder(**options)
    except ConfigError as error:
        raise RefusedPickle(f"{CONFIG}: {error}") from None
    fill(encoder, {n: encoder.state_dict()[n].numpy() for n in defined} | tensors)
    return encoder


def _options(architecture: str, config: Any, words: Mapping[str, int]) -> dict[str, Any]:
    """Options of `TransformerEncoder`; what both files say must be the same."""
    if architecture == "esm":
        start, stop, letter = "<cls>", "<eos>", "{}"
        shared = {"pad_token_id": "<pad>", "mask_token_id": "<mask>"}
    else:
        # ProstT5 reads residues behind a word of their own; ProtT5 has no such word.
        start, stop, letter = "<AA2fold>", "</s>", "▁{}"
        shared = {"pad_token_id": "<pad>", "eos_token_id": "</s>"}
    if len(words) > MOST_WORDS:
        raise RefusedPickle(f"a vocabulary of {len(words):,} pieces is no model of proteins")
    letters = [letter.format(symbol) for symbol in ALPHABET_OF[architecture].symbols]
    for piece in (*letters, *shared.values(), stop):
        if piece not in words:
            raise RefusedPickle(f"the vocabulary has no {piece}")
    for name, piece in shared.items():
        if config.get(name, words[piece]) != words[piece]:
            told = f"{name} is {config[name]!r}, {piece} in the vocabulary is {words[piece]}"
            raise RefusedPickle(f"{CONFIG}: {told}")
    if architecture == "esm" and start not in words:
        raise RefusedPickle(f"the vocabulary has no {start}")
    return {
        "architecture": architecture,
        "config": config,
        "tokens": [words[piece] for piece in letters],
        "start": words.get(start),
        "stop": words[stop],
        "pad": words["<pad>"],
    }


# ---- vocabularies ----------------------------------------------------------------------------


def _esm_words(folder: Path) -> dict[str, int]:
    """`vocab.txt`: a piece per line, numbered from 0."""
    pieces = [line.strip() for line in _read_text(folder / "vocab.txt").splitlines()]
    words = {piece: number for number, piece in enumerate(pieces)}
    if len(words) != len(pieces):
        raise RefusedPickle("vocab.txt names a piece twice")
    return words


def _t5_words(folder: Path) -> dict[str, int]:
    """`tokenizer.json` or the older `spiece.model`, by the libraries that write them."""
    if (folder / "tokenizer.json").is_file():
        text = _read_text(folder / "tokenizer.json")
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise MissingExtra("tokenizer.json", "tokenizers", "hf") from None
        try:
            return dict(Tokenizer.from_str(text).get_vocab(with_added_tokens=True))
        except Exception as error:  # the library's only kind
            raise RefusedPickle(f"tokenizer.json: {' '.join(str(error).split())}") from None
    if not (folder / "spiece.model").is_file():
        raise RefusedPickle("neither tokenizer.json nor spiece.model: the vocabulary is missing")
    raw = _read_bytes(folder / "spiece.model")
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise MissingExtra("spiece.model", "sentencepiece", "hf") from None
    try:
        pieces = SentencePieceProcessor(model_proto=raw)
    except (RuntimeError, ValueError, OSError) as error:
        raise RefusedPickle(f"spiece.model: {' '.join(str(error).split())}") from None
    words = {pieces.id_to_piece(number): number for number in range(pieces.get_piece_size())}
    if (folder / "added_tokens.json").is_file():
        words |= _read_json(folder / "added_tokens.json")
    return words


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read_text(path))
    except (ValueError, RecursionError):
        raise RefusedPickle(f"{path.name} is no JSON") from None
    if not isinstance(found, dict):
        raise RefusedPickle(f"{path.name}: expected names and values")
    return found


def _read_text(path: Path) -> str:
    try:
        return _read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedPickle(f"{path.name} is no text") from None


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise RefusedPickle(f"{path.name} is missing")
    if path.stat().st_size > MOST_TEXT:
        raise RefusedPickle(f"{path.name} is larger than it can need to be")
    return path.read_bytes()


# ---- numbers ---------------------------------------------------------------------------------


def weight_files(folder: Path) -> list[Path]:
    """The files of numbers in a folder: safetensors, in pieces or not, or else pickled ones.

    Raises:
        RefusedPickle: there are none, or the index names files outside the folder.
    """
    if (folder / NUMBERS).is_file():
        return [folder / NUMBERS]
    if (folder / INDEX).is_file():
        named = _read_json(folder / INDEX).get("weight_map")
        names = set(named.values()) if isinstance(named, dict) and _texts(named) else {""}
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*\.safetensors", name, re.ASCII):
                raise RefusedPickle(f"{INDEX} names {name!r}, expected files beside it")
            if not (folder / name).is_file():
                raise RefusedPickle(f"{name} is missing")
        return sorted(folder / name for name in names)
    if (folder / PICKLED).is_file():
        return [folder / PICKLED]
    raise RefusedPickle(f"there is no {NUMBERS} (nor {PICKLED}) in it")


def _texts(named: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str) for value in named.values())


def _tensors(files: list[Path], architecture: str) -> dict[str, np.ndarray]:
    """Numbers by name, without the prefix of models with a head, and without heads."""
    found: dict[str, np.ndarray] = {}
    for path in files:
        read = _pickled if path.name == PICKLED else _stored
        for name, array in read(path, architecture):
            if name in found:
                raise RefusedPickle(f"{name} comes twice")
            found[name] = array
    return found


def _bare(name: str, architecture: str) -> str | None:
    """The name in the network; None for what stands behind it."""
    name = name.removeprefix("esm.").removeprefix("transformer.")
    # TensorFlow's words, which the library still writes at times.
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    return None if name.startswith(_BEHIND[architecture]) else name


def _pickled(path: Path, architecture: str) -> Iterator[tuple[str, np.ndarray]]:
    for stored, array in read_weights(path).tensors.items():
        if (name := _bare(stored, architecture)) is not None:
            yield name, array


def _stored(path: Path, architecture: str) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors of a safetensors file in float32; those of heads are not read."""
    try:
        with safe_open(path, framework="pt") as file:
            for stored in file.keys():  # noqa: SIM118  it is no mapping
                if (name := _bare(stored, architecture)) is not None:
                    # By way of torch: numpy has no bfloat16.
                    yield name, file.get_tensor(stored).float().numpy()
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(str(path), f"damaged: {' '.join(str(error).split())}") from None


def _renamed(tensors: Mapping[str, np.ndarray], empty: TransformerEncoder) -> dict[str, np.ndarray]:
    """Names as in `TransformerEncoder`; of numbers that are stored several times, one."""
    found: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        if name.endswith(_FREQUENCIES):
            name = _FREQUENCIES  # older files have them in every layer
        elif name == "shared.weight":
            name = "embed_tokens.weight"
        elif empty.options["architecture"] == "t5":
            name = name.removeprefix("encoder.")
        elif name == "embeddings.position_embeddings.weight" and empty.longest is None:
            continue  # in files of rotary models too, which do not use it
        first = found.setdefault(name, array)
        if first is not array and not np.array_equal(first, array):
            raise RefusedPickle(f"{name} is stored twice, with other numbers")
    return {f"network.{name}": array for name, array in found.items()}
