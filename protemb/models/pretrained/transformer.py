"""ESM and T5 encoders: the networks of the `transformers` library behind this package's interface.

Lin et al. (2023), "Evolutionary-scale prediction of atomic-level protein structure with a language
model" (ESM-2), Science 379; Rives et al. (2021), "Biological structure and function emerge from
scaling unsupervised learning to 250 million protein sequences" (ESM-1b), PNAS 118; Elnaggar et al.
(2022), "ProtTrans" (ProtT5), IEEE TPAMI 44; Heinzinger et al. (2024), "Bilingual language model for
protein sequence and structure" (ProstT5), NAR Genomics and Bioinformatics 6.

Levels, from the input on:

- `input`: what the first block reads: the table's rows, for ESM scaled and, in ESM-1b, with the
  positions added;
- `layer1` ...: what each block gives, before any normalisation behind the blocks;
- `states`: the last block's, normalised: the vectors that the authors publish results for.

In `transformers`, `hidden_states[0]` is `input`, `hidden_states[k]` is `layer` k for all blocks but
the last, and `hidden_states[-1]` is `states`; the last `layer` is not among them.

Shape letters: B = sequences, L = longest of them, W = L and the special tokens around it,
D = features per residue, A = letters of the alphabet, and padding.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protemb.errors import ConfigError, MissingExtra
from protemb.models.batches import padding_mask
from protemb.models.encoders.base import Encoder

# What a network is built from, and nothing else: among the library's other options are some that
# fetch code.
_ESM = {
    "vocab_size": int,
    "mask_token_id": int,
    "pad_token_id": int,
    "hidden_size": int,
    "num_hidden_layers": int,
    "num_attention_heads": int,
    "intermediate_size": int,
    "hidden_dropout_prob": float,
    "attention_probs_dropout_prob": float,
    "max_position_embeddings": int,
    "rope_theta": float,
    "layer_norm_eps": float,
    "position_embedding_type": str,
    "emb_layer_norm_before": bool,
    "token_dropout": bool,
}
_T5 = {
    "vocab_size": int,
    "d_model": int,
    "d_kv": int,
    "d_ff": int,
    "num_layers": int,
    "num_heads": int,
    "relative_attention_num_buckets": int,
    "relative_attention_max_distance": int,
    "dropout_rate": float,
    "layer_norm_epsilon": float,
    "feed_forward_proj": str,
    "pad_token_id": int,
}
OPTIONS: Mapping[str, Mapping[str, type]] = {"esm": _ESM, "t5": _T5}
POSITIONS = ("absolute", "rotary")
MOST_LAYERS = 1000


class TransformerEncoder(Encoder):
    """A published transformer, built without network access from plain options.

    Args:
        architecture: `esm` or `t5` (of which the encoder half is used).
        config: options of the library's EsmConfig or T5Config that shape the network, all of them.
        tokens: the vocabulary's number of each letter of the alphabet.
        start: token in front of a sequence, or None.
        stop: token behind a sequence, or None.
        pad: token of padding.

    Raises:
        ConfigError: the options are not those of a network.
        MissingExtra: `transformers` is not installed.
    """

    def __init__(
        self,
        *,
        architecture: str,
        config: Mapping[str, Any],
        tokens: Sequence[int],
        start: int | None,
        stop: int | None,
        pad: int,
    ) -> None:
        super().__init__()
        config = complete_config(architecture, config)
        self.options = {
            "architecture": architecture,
            "config": config,
            "tokens": list(tokens),
            "start": start,
            "stop": stop,
            "pad": pad,
        }
        numbers = [*tokens, pad, *(token for token in (start, stop) if token is not None)]
        if not all(type(n) is int and 0 <= n < config["vocab_size"] for n in numbers):
            raise ConfigError("tokens", numbers, f"numbers below {config['vocab_size']}")
        if pad != config["pad_token_id"] or pad in tokens:
            raise ConfigError("pad", pad, "the network's own number of padding, and no letter's")
        self.alphabet_size = len(tokens)
        self.start, self.stop, self.pad = start, stop, pad
        self.before, self.after = int(start is not None), int(stop is not None)
        self.words_A: Tensor
        self.register_buffer("words_A", torch.tensor([*tokens, pad]), persistent=False)
        self.network = _network(architecture, config)
        self.width = int(config["hidden_size" if architecture == "esm" else "d_model"])
        numbered = [f"layer{number}" for number in range(1, len(self._blocks()) + 1)]
        self.levels = ("input", *numbered, "states")
        self.longest: int | None = None
        if config.get("position_embedding_type") == "absolute":
            # Positions are counted from the number of padding on.
            places = config["max_position_embeddings"] - pad - 1
            self.longest = places - self.before - self.after

    def dim(self, level: str) -> int:
        """Features per residue: the same at every level."""
        self.check_level(level)
        return self.width

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return states_BLD of the residues for each level; rows past a sequence's end are zero.

        Raises:
            ConfigError: no such level, or a sequence longer than the network has positions for.
        """
        for level in levels:
            self.check_level(level)
        longest = int(lengths_B.max())
        if self.longest is not None and longest > self.longest:
            limit = f"at most {self.longest}: the model knows no further positions (nothing is cut)"
            raise ConfigError("residues of a sequence", longest, limit)
        words_BW, mask_BW = self._words(tokens_BL, lengths_B)
        with self._reading(levels) as found:
            output = self.network(input_ids=words_BW, attention_mask=mask_BW)
        found["states"] = output.last_hidden_state
        length = tokens_BL.shape[1]
        mask_BL1 = padding_mask(lengths_B, length, tokens_BL.device)[..., None]
        residues = slice(self.before, self.before + length)
        return {level: found[level][:, residues] * mask_BL1 for level in levels}

    def _blocks(self) -> Any:
        esm = self.options["architecture"] == "esm"
        return self.network.encoder.layer if esm else self.network.block

    def _words(self, tokens_BL: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """The vocabulary's numbers with special tokens around each sequence, and its mask."""
        lengths_B = lengths_B.to(tokens_BL.device)
        width = tokens_BL.shape[1] + self.before + self.after
        words_BW = F.pad(self.words_A[tokens_BL], (self.before, self.after), value=self.pad)
        if self.start is not None:
            words_BW[:, 0] = self.start
        mask_BW = padding_mask(lengths_B + self.before + self.after, width, tokens_BL.device)
        if self.stop is not None:
            words_BW.scatter_(1, (lengths_B + self.before)[:, None], self.stop)
        return words_BW, mask_BW.long()

    @contextmanager
    def _reading(self, levels: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """Keep what the blocks of these levels read or give during a run of the network."""
        found: dict[str, Tensor] = {}

        def keep_input(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            found["input"] = arguments[0]

        def keeper(level: str) -> Any:
            def keep(_: nn.Module, __: Any, output: Any) -> None:
                found[level] = output[0] if isinstance(output, tuple) else output

            return keep

        hooks = []
        if "input" in levels:
            hooks.append(self._blocks()[0].register_forward_pre_hook(keep_input))
        for number, block in enumerate(self._blocks(), 1):
            if f"layer{number}" in levels:
                hooks.append(block.register_forward_hook(keeper(f"layer{number}")))
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()


def complete_config(architecture: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that shape a network, with the library's defaults for those not given.

    Other entries of the library's configuration files are left out.

    Raises:
        ConfigError: no such architecture, or an option that cannot work.
    """
    if architecture not in OPTIONS:
        raise ConfigError("architecture", architecture, f"one of {', '.join(OPTIONS)}")
    kinds = OPTIONS[architecture]
    config: dict[str, Any] = {}
    plain = _library().CONFIG_MAPPING[architecture]()
    for name, kind in kinds.items():
        value = given.get(name, getattr(plain, name))
        if name == "emb_layer_norm_before":
            value = bool(value)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ConfigError(f"config.{name}", value, f"a value of the kind {kind.__name__}")
        if isinstance(value, int) and not 0 <= value < 2**24:
            raise ConfigError(f"config.{name}", value, "a whole number of a network's size")
        config[name] = value
    layers: int = config["num_hidden_layers" if architecture == "esm" else "num_layers"]
    if not 1 <= layers <= MOST_LAYERS:
        raise ConfigError("config: layers", layers, f"1 to {MOST_LAYERS}")
    if architecture == "esm" and config["position_embedding_type"] not in POSITIONS:
        got = config["position_embedding_type"]
        raise ConfigError("config.position_embedding_type", got, f"one of {', '.join(POSITIONS)}")
    return config


def _library() -> Any:
    try:
        import transformers
    except ImportError:
        raise MissingExtra("a transformer", "transformers", "hf") from None
    return transformers


def _network(architecture: str, config: Mapping[str, Any]) -> Any:
    """The library's network in float32, without what stands behind the last states."""
    library = _library()
    try:
        if architecture == "esm":
            network = library.EsmModel(library.EsmConfig(**config), add_pooling_layer=False)
            network.contact_head = None
            return network.float()
        return library.T5EncoderModel(library.T5Config(**config)).encoder.float()
    except Exception as error:  # the library's own checks are of many kinds
        reason = " ".join(str(error).split())
        raise ConfigError("config", dict(config), f"a network's ({reason})") from None
