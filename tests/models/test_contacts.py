"""Contact maps: the logits of the authors' own code, by blocks, symmetric, in little memory."""

import json
import threading
import time

import numpy as np
import psutil
import pytest
import torch

from protemb.errors import ConfigError
from protemb.models.batches import collate
from protemb.models.pretrained.contacts import BilinearContactMap, ContactMap, ConvContactMap
from protemb.models.pretrained.library import convert, load_pretrained
from protemb.models.pretrained.weights import read_weights

NAMES = ("scopcm", "prose_mt")


@pytest.fixture(scope="module", params=NAMES)
def case(request, reference, tmp_path_factory):
    """A head, the states that it reads, and the logits of the original code."""
    model = json.loads((reference / "manifest.json").read_text())["models"][request.param]
    folder = tmp_path_factory.mktemp("contacts") / request.param
    source = next(path for path in model["checkpoints"] if "state_dict" in path)
    found = load_pretrained(convert(reference / source, folder))
    head = ContactMap.of(found.heads, found.recipe)
    table = found.alphabet.table()
    table[table == 255] = 20
    pairs = []
    with np.load(reference / model["expected"]) as expected:
        for each in json.loads((reference / "sequences.json").read_text()):
            if f"{each['id']}/contacts" not in expected:
                continue
            batch = collate([table[np.frombuffer(each["seq"].upper().encode(), np.uint8)]], 21)
            with torch.inference_mode():
                states = found.encoder(batch.tokens_BL, batch.lengths_B, (head.level,))
            pairs.append((states[head.level][0], expected[f"{each['id']}/contacts"]))
    assert len(pairs) == 10 and max(len(states_LD) for states_LD, _ in pairs) == 60
    return head, pairs


def test_every_checkpoint_holds_the_same_head(reference):
    """Whole modules and state dicts, whichever torch wrote them."""
    for name in NAMES:
        states_LD, found = torch.randn(5, 93 if name == "prose_mt" else 10), []
        for path in sorted((reference / "checkpoints").glob(f"{name}.*")):
            found.append(ContactMap.of(read_weights(path).tensors, {}).logits(states_LD))
        assert len(found) >= 4
        assert all(torch.equal(found[0], other) for other in found)


def test_logits_are_those_of_the_original_code(case):
    head, pairs = case
    for states_LD, expected_LL in pairs:
        np.testing.assert_allclose(head.logits(states_LD), expected_LL, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("numbers", [1, 700, 5000])
def test_blocks_change_nothing(case, numbers):
    head, pairs = case
    for states_LD, _ in pairs:
        whole_LL = head.logits(states_LD)
        blocked = type(head)(*vars(head).values())
        blocked.numbers = numbers
        blocks = list(blocked.blocks(states_LD))
        assert len(blocks) == len(states_LD) or numbers > 1
        torch.testing.assert_close(torch.cat(blocks), whole_LL, rtol=1e-6, atol=1e-7)


def test_symmetric_is_the_mean_of_both_orders(case):
    head, pairs = case
    for states_LD, expected_LL in pairs:
        mean_LL = (expected_LL + expected_LL.T) / 2
        symmetric_LL = head.symmetric().logits(states_LD).numpy()
        np.testing.assert_allclose(symmetric_LL, mean_LL, rtol=1e-5, atol=2e-6)
        np.testing.assert_allclose(symmetric_LL, symmetric_LL.T, rtol=1e-5, atol=1e-6)


def test_symmetric_of_any_numbers():
    """The published convolution is symmetric already; another need not be. In float64."""
    torch.manual_seed(0)
    states_LD = torch.randn(9, 4, dtype=torch.float64)
    heads = (
        ConvContactMap(
            *(torch.randn(size, dtype=torch.float64) for size in ((3, 8), (3,), (1, 3, 5, 5), (1,)))
        ),
        BilinearContactMap(
            *(torch.randn(size, dtype=torch.float64) for size in ((4, 4), (4,), (1,), (4,)))
        ),
    )
    for head in heads:
        logits_LL = head.logits(states_LD)
        assert not torch.allclose(logits_LL, logits_LL.T)
        mean_LL = (logits_LL + logits_LL.T) / 2
        torch.testing.assert_close(head.symmetric().logits(states_LD), mean_LL)
        torch.testing.assert_close(head.symmetric().symmetric().logits(states_LD), mean_LL)
        torch.testing.assert_close(head.to("cpu").symmetric().logits(states_LD), mean_LL)


def plain_convolution(head, states_LD):
    """The definition, pair by pair; outside of the protein the hidden channels are zero."""
    L, hidden_HD2 = len(states_LD), head.hidden_HD2.numpy()
    halo = head.kernel_1HWW.shape[2] // 2
    hidden = np.zeros((L + 2 * halo, L + 2 * halo, len(hidden_HD2)))
    for i in range(L):
        for j in range(L):
            pair = np.r_[abs(states_LD[i] - states_LD[j]), states_LD[i] * states_LD[j]]
            found_H = np.maximum(hidden_HD2 @ pair + head.bias_H.numpy(), 0)
            hidden[i + halo, j + halo] = found_H
    kernel_WWH = head.kernel_1HWW[0].numpy().transpose(1, 2, 0)
    width = len(kernel_WWH)
    return np.array(
        [
            [
                (hidden[i : i + width, j : j + width] * kernel_WWH).sum() + head.bias_1.item()
                for j in range(L)
            ]
            for i in range(L)
        ]
    )


@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_convolution_by_the_definition(length):
    torch.manual_seed(length)
    sizes = ((3, 8), (3,), (1, 3, 7, 7), (1,))
    head = ConvContactMap(*(torch.randn(size, dtype=torch.float64) for size in sizes))
    states_LD = torch.randn(length, 4, dtype=torch.float64)
    np.testing.assert_allclose(head.logits(states_LD), plain_convolution(head, states_LD.numpy()))


def test_bilinear_form_by_the_definition():
    torch.manual_seed(0)
    form, second, bias = (torch.randn(s, dtype=torch.float64) for s in ((4, 4), (4,), (1,)))
    states_LD = torch.randn(6, 4, dtype=torch.float64)
    logits_LL = BilinearContactMap(form, second, bias).logits(states_LD)
    for i, x in enumerate(states_LD):
        for j, y in enumerate(states_LD):
            expected = (form @ x + second) @ y / np.sqrt(1000) + bias
            torch.testing.assert_close(logits_LL[i, j], expected[0])


@pytest.mark.slow
def test_a_long_protein_takes_little_memory():
    """Features of all pairs of 1,500 residues would take 1.8 GB."""
    torch.manual_seed(0)
    sizes = ((50, 200), (50,), (1, 50, 7, 7), (1,))
    head = ConvContactMap(*(torch.randn(size) for size in sizes))
    states_LD, process = torch.randn(1500, 100), psutil.Process()
    with torch.inference_mode():
        next(iter(head.blocks(states_LD)))  # libraries' own workspace
        before = peak = process.memory_info().rss
        done = threading.Event()

        def watch():
            nonlocal peak
            while not done.is_set():
                peak = max(peak, process.memory_info().rss)
                time.sleep(0.002)

        watcher = threading.Thread(target=watch)
        watcher.start()
        rows = sum(len(block_RL) for block_RL in head.blocks(states_LD))
        done.set()
        watcher.join()
    assert rows == 1500
    assert peak - before < 300 * 2**20


def test_a_model_without_the_head(reference, tmp_path):
    found = load_pretrained(convert(reference / "checkpoints/ssa.zip.sav", tmp_path / "ssa"))
    with pytest.raises(ConfigError, match=r"model: got 'ssa.zip.sav', expected one that was"):
        ContactMap.of(found.heads, found.recipe)
