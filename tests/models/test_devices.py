"""float32 is float32: cuDNN may not round it, wherever vectors are computed or learned."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

import protemb
from protemb.models.devices import full_float32, inference, open_device
from protemb.models.embedder import Embedder
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder
from protemb.models.pooling import MeanPooling
from protemb.sequences.tokens import TokenStore
from protemb.vectors.embed import embed_records

KINDS = torch.backends.cudnn.rnn, torch.backends.cudnn.conv


def settings():
    return [kind.fp32_precision for kind in KINDS]


@pytest.fixture
def chosen():
    """A setting of the user's own, which PyTorch has for one of the two alone."""
    before = settings()
    KINDS[0].fp32_precision, KINDS[1].fp32_precision = "ieee", "tf32"
    yield ["ieee", "tf32"]
    for kind, precision in zip(KINDS, before, strict=True):
        kind.fp32_precision = precision


def test_a_setting_is_taken_back(chosen):
    with full_float32():
        assert settings() == ["ieee", "ieee"]
    assert settings() == chosen
    with pytest.raises(ZeroDivisionError), inference():
        assert torch.is_inference_mode_enabled()
        assert settings() == ["ieee", "ieee"]
        1 / 0  # noqa: B018
    assert settings() == chosen
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("allowed", [True, False])
def test_both_interfaces_of_pytorch_agree(allowed):
    cudnn = torch.backends.cudnn
    before, cudnn.allow_tf32 = cudnn.allow_tf32, allowed
    usual = settings()
    with full_float32():
        assert not cudnn.allow_tf32
        with cudnn.flags(enabled=False):
            pass
    assert cudnn.allow_tf32 is allowed and settings() == usual
    cudnn.allow_tf32 = before


@pytest.fixture
def seen():
    """Settings under which modules of any kind computed."""
    found = []
    handle = register_module_forward_hook(lambda *_: found.append(settings()))
    yield found
    handle.remove()


@pytest.mark.parametrize("encoder", [RecurrentEncoder(hidden_dim=4), ConvolutionEncoder()])
def test_embedding_computes_so(encoder, seen):
    store = TokenStore.from_sequences([("a", "MKV"), ("b", "ACDEF")])
    embed_records(Embedder(encoder, MeanPooling), store, np.arange(2))
    assert seen and all(each == ["ieee", "ieee"] for each in seen)


def test_nothing_of_the_package_computes_otherwise():
    """Only `inference` turns gradients off; what needs no cuDNN may do without it."""
    found = set()
    for path in Path(protemb.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "inference_mode":
                found.add(path.name)
    assert found == {"devices.py"}
    assert open_device("cpu").type == "cpu"
