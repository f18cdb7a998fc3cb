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

CUDNN = torch.backends.cudnn


@pytest.fixture(params=[True, False])
def allowed(request):
    """What PyTorch's older interface says; True is usual."""
    before, CUDNN.allow_tf32 = CUDNN.allow_tf32, request.param
    yield request.param
    CUDNN.allow_tf32 = before


def tf32():
    return [kind.fp32_precision == "tf32" for kind in (CUDNN.rnn, CUDNN.conv)]


def test_a_setting_is_taken_back(allowed):
    with full_float32():
        assert not CUDNN.allow_tf32 and tf32() == [False, False]
        with full_float32(), CUDNN.flags(enabled=False):
            pass
        assert tf32() == [False, False]
    assert tf32() == [allowed, allowed]
    with pytest.raises(ZeroDivisionError), inference():
        assert torch.is_inference_mode_enabled() and tf32() == [False, False]
        1 / 0  # noqa: B018
    assert CUDNN.allow_tf32 is allowed and tf32() == [allowed, allowed]
    assert not torch.is_inference_mode_enabled()


def test_what_was_chosen_for_one_kind_stays():
    before = CUDNN.rnn.fp32_precision
    CUDNN.rnn.fp32_precision = "ieee"
    with full_float32():
        assert tf32() == [False, True]
    assert tf32() == [False, True]
    CUDNN.rnn.fp32_precision = before


@pytest.fixture
def seen():
    """Settings under which modules of any kind computed."""
    found = []
    handle = register_module_forward_hook(lambda *_: found.append(CUDNN.allow_tf32))
    yield found
    handle.remove()


@pytest.mark.parametrize("encoder", [RecurrentEncoder(hidden_dim=4), ConvolutionEncoder()])
def test_embedding_computes_so(encoder, seen):
    store = TokenStore.from_sequences([("a", "MKV"), ("b", "ACDEF")])
    embed_records(Embedder(encoder, MeanPooling), store, np.arange(2))
    assert seen and not any(seen)


def test_nothing_of_the_package_computes_otherwise():
    """Only `inference` turns gradients off; what needs no cuDNN may do without it."""
    found = set()
    for path in Path(protemb.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "inference_mode":
                found.add(path.name)
    assert found == {"devices.py"}
    assert open_device("cpu").type == "cpu"
