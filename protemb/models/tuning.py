"""A model that is there already as the encoder of a new task: frozen, or trained further.

Shape letters: B = sequences, L = longest of them, D = features per residue.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn

from protemb.errors import ConfigError
from protemb.models.encoders import Encoder
from protemb.models.loading import EmbeddingModel, load_model
from protemb.models.pieces import PIECE
from protemb.sequences.alphabet import AA21, ALPHABETS
from protemb.targets import ForbiddenTarget, locate

TUNE = ("head", "last", "all")
ALLOWED = ("protemb.models.pretrained.", "protemb.models.encoders.")


class TunedEncoder(Encoder):
    """Another encoder, with the part of it that is trained.

    Records come in protemb's own letters (`aa21`) and are read as those of the encoder; O, U, B and
    Z have become K, C, X and X by then, also where the encoder has letters of its own for them.

    Args:
        tune: `head`: nothing of the encoder is trained, and no dropout acts in it; `last`: its
            last block and what stands behind it; `all`: everything.
        weights: a converted model, run or checkpoint to begin with.
        encoder: instead of weights: plain values that build the encoder, weights yet to come.
        alphabet: instead of weights: the letters that the encoder reads.

    Raises:
        ConfigError: `tune` is none of the three.
        CheckpointError: there is no model.
    """

    alphabet_size = AA21.size

    def __init__(
        self,
        *,
        tune: str = "head",
        weights: str | None = None,
        encoder: Mapping[str, Any] | None = None,
        alphabet: str = "aa21",
    ) -> None:
        super().__init__()
        if tune not in TUNE:
            raise ConfigError("encoder.tune", tune, f"one of {', '.join(TUNE)}")
        self.sha256 = ""
        if weights is not None:
            model = load_model(weights)
            inner, encoder, alphabet = unwrapped(model)
            self.sha256 = model.sha256
        else:
            if encoder is None:
                raise ConfigError("encoder", None, "a recipe's encoder, or weights")
            inner = build_inner(encoder)
        self.tune, self.encoder = tune, inner
        self.levels, self.mixed_levels = inner.levels, inner.mixed_levels
        self.node: dict[str, Any] = {
            "_target_": f"{type(self).__module__}.{type(self).__name__}",
            "tune": tune,
            "encoder": dict(encoder),
            "alphabet": alphabet,
        }
        letters = ALPHABETS[alphabet]
        read_as = [letters.symbols.index(letter) for letter in AA21.symbols]
        # A new buffer of plain numbers; the last one is the padding.
        self.register_buffer("read_as_V1", torch.tensor([*read_as, letters.size]), persistent=False)
        self.inner_reads_same = letters == AA21
        self.requires_grad_(tune == "all")
        if tune == "last":
            for parameter in last_parameters(inner):
                parameter.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """A frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.tune == "head":
            self.encoder.eval()
        return self

    def dim(self, level: str) -> int:
        """Features per residue at a level."""
        return self.encoder.dim(level)

    def backward_dim(self, level: str) -> int:
        """How many of these features were computed from right to left."""
        return self.encoder.backward_dim(level)

    def check_trains(self, level: str) -> None:
        """Raise unless what is to be tuned has a part in this level.

        Raises:
            ConfigError: the last block stands behind the level.
        """
        if self.tune == "last":
            device = next(self.encoder.parameters()).device
            tokens_1L = torch.zeros((1, 2), dtype=torch.long, device=device)
            with torch.enable_grad():
                states_1LD = self(tokens_1L, torch.tensor([2]), (level,))[level]
            if not states_1LD.requires_grad:
                expected = f"head or all: level {level!r} does not read the last block"
                raise ConfigError("encoder.tune", self.tune, expected)

    def _tokens(self, tokens_BL: Tensor) -> Tensor:
        read_as_V1 = self.read_as_V1
        assert isinstance(read_as_V1, Tensor)
        return tokens_BL if self.inner_reads_same else read_as_V1[tokens_BL]

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return states_BLD for each level asked for; rows past a sequence's end are zero."""
        return self.encoder(self._tokens(tokens_BL), lengths_B, levels)

    def pieces(self, tokens_1L: Tensor, level: str, chunk: int = PIECE) -> Iterator[Tensor]:
        """Yield the states_1CD of one sequence in pieces, from left to right."""
        return self.encoder.pieces(self._tokens(tokens_1L), level, chunk)

    def reach(self, level: str) -> int | None:
        """How many residues to either side a state can read; None where that is all of them."""
        return self.encoder.reach(level)


def build_inner(node: Mapping[str, Any]) -> Encoder:
    """The encoder that plain values describe, its weights at random.

    Raises:
        ForbiddenTarget: the class is no encoder of protemb.
    """
    found = locate(node["_target_"], ALLOWED)
    if not issubclass(found, Encoder):
        raise ForbiddenTarget(node["_target_"], "which is no Encoder")
    return found(**{name: value for name, value in node.items() if not name.startswith("_")})


def unwrapped(model: EmbeddingModel) -> tuple[Encoder, Mapping[str, Any], str]:
    """A model's encoder, the node that builds it, and its letters; not what tuned it before."""
    if isinstance(model.encoder, TunedEncoder):
        node = model.encoder.node
        return model.encoder.encoder, node["encoder"], node["alphabet"]
    return model.encoder, model.node, model.alphabet.name


def last_parameters(encoder: nn.Module) -> list[nn.Parameter]:
    """Parameters of the last block, and of what stands behind it.

    Blocks are the layers of a recurrent module, or else the items of the last list of modules; what
    was made after them is what stands behind. An encoder without blocks is one block.

    >>> last_parameters(nn.Sequential(nn.ModuleList([nn.Linear(1, 1), nn.ReLU()])))
    []
    """
    order = list(encoder.modules())
    lists = [place for place, part in enumerate(order) if isinstance(part, nn.ModuleList) and part]
    # A list inside a block (T5 has its sublayers in one) is not a list of blocks.
    inside = {id(m) for place in lists for item in order[place] for m in item.modules()}  # type: ignore[attr-defined]
    lists = [place for place in lists if id(order[place]) not in inside]
    if lists:
        part = order[lists[-1]]
        assert isinstance(part, nn.ModuleList)
        own = set(part.modules())
        behind = [later for later in order[lists[-1] + 1 :] if later not in own]
        return list(chain(part[-1].parameters(), *(m.parameters(recurse=False) for m in behind)))
    for recurrent in (part for part in order if isinstance(part, nn.RNNBase)):
        layer = f"_l{recurrent.num_layers - 1}"
        return [p for name, p in recurrent.named_parameters() if f"{layer}_" in f"{name}_"]
    return list(encoder.parameters())


class KnownVectors:
    """Vectors that an embedder has given before, looked up by residues and position.

    With a frozen encoder every epoch would compute the same vectors again.

    Args:
        tokens: residues of each row, uint8.
        positions: 0-based position of each row, or None.
        vectors_ND: the rows.
    """

    def __init__(
        self, tokens: Sequence[bytes], positions: Sequence[int] | None, vectors_ND: Tensor
    ) -> None:
        keys = zip(tokens, positions or [-1] * len(tokens), strict=True)
        self.row_of = {key: row for row, key in enumerate(keys)}
        self.vectors_ND = vectors_ND

    def __call__(
        self, tokens_BL: Tensor, lengths_B: Tensor, positions_B: Tensor | None = None
    ) -> Tensor:
        """Return vectors_BD."""
        rows = tokens_BL.to("cpu", torch.uint8).numpy()
        places = [-1] * len(rows) if positions_B is None else positions_B.tolist()
        lengths = lengths_B.tolist()
        found = [
            self.row_of[row[:length].tobytes(), place]
            for row, length, place in zip(rows, lengths, places, strict=True)
        ]
        self.vectors_ND = self.vectors_ND.to(tokens_BL.device)
        return self.vectors_ND[torch.tensor(found, device=tokens_BL.device)]
