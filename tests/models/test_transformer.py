"""ESM and T5 models: converted from what `save_pretrained` writes, equal to the library's own."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from protemb.errors import CheckpointError, ConfigError, DownloadError, MissingExtra
from protemb.models.batches import collate
from protemb.models.embedder import Embedder
from protemb.models.pooling import POOLINGS
from protemb.models.pretrained import transformer as module
from protemb.models.pretrained.huggingface import is_hub_name
from protemb.models.pretrained.library import RECIPE, convert, load_pretrained
from protemb.models.pretrained.transformer import TransformerEncoder

ESM_PIECES = (
    "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"
).split()
T5_PIECES = "<pad> </s> <unk> A L G V S R E D T I P K F Q N Y M H W C X B O U Z".split()
TEXTS = ["MKTAYIAKQRQISFVK", "W", "ACDEFGHIKLMNPQRSTVWYX" * 3, "MU", "PROTEINSBZ"]
ESM_BASE = {
    "vocab_size": len(ESM_PIECES),
    "mask_token_id": 32,
    "pad_token_id": 1,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-5,
}
ROTARY = {"position_embedding_type": "rotary", "token_dropout": True}
ABSOLUTE = {"emb_layer_norm_before": True, "max_position_embeddings": 80}
T5_BASE = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4}
KINDS = ("rotary", "absolute", "t5", "gated")


def drawn(network):
    """Random numbers everywhere, so that no bias, scale or unused row can go unnoticed."""
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            scale = weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0.3
            if name.endswith(".q.weight"):
                scale /= T5_BASE["d_kv"] ** 0.5  # T5 leaves scaling to its queries
            weight.normal_(std=scale, generator=dice)
            if weight.ndim == 1:
                weight.add_(1)
    return network.eval()


def write_unigram(folder):
    from tokenizers import Tokenizer, models

    words = [(f"▁{p}" if len(p) == 1 else p, -2.0) for p in T5_PIECES]
    Tokenizer(models.Unigram(words, unk_id=2)).save(str(folder / "tokenizer.json"))


def make(kind):
    if kind in ("t5", "gated"):
        more = {"feed_forward_proj": "gated-gelu"} if kind == "gated" else {}
        return drawn(
            transformers.T5ForConditionalGeneration(transformers.T5Config(**T5_BASE, **more))
        )
    config = transformers.EsmConfig(**ESM_BASE, **(ROTARY if kind == "rotary" else ABSOLUTE))
    return drawn(transformers.EsmForMaskedLM(config))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """By kind: the library's model with its heads, as it was saved, and our folder of it."""
    root, found = tmp_path_factory.mktemp("transformers"), {}
    for kind in KINDS:
        network = make(kind)
        network.save_pretrained(root / kind)
        if kind in ("t5", "gated"):
            write_unigram(root / kind)
        else:
            (root / kind / "vocab.txt").write_text("\n".join(ESM_PIECES))
        found[kind] = (network, root / kind, convert(root / kind, root / f"{kind}-converted"))
    return found


def base_of(network):
    return network.esm if hasattr(network, "esm") else network.encoder


def words_of(kind, text):
    """The authors' rules, letter by letter."""
    if kind in ("t5", "gated"):
        return [T5_PIECES.index("X" if c in "UZOB" else c) for c in text] + [1]
    return [0, *(ESM_PIECES.index(c) for c in text), 2]


def theirs(kind, network, text):
    """All hidden states of one sequence alone, without special tokens."""
    words = torch.tensor([words_of(kind, text)])
    with torch.inference_mode():
        output = base_of(network)(input_ids=words, output_hidden_states=True)
    start = 0 if kind in ("t5", "gated") else 1
    return [states[0, start:-1] for states in output.hidden_states]


def batch_of(found, texts):
    table = found.alphabet.table()
    tokens = [table[np.frombuffer(text.encode(), np.uint8)] for text in texts]
    return collate(tokens, found.alphabet.size)


def ours(found, texts, levels=None):
    batch = batch_of(found, texts)
    with torch.inference_mode():
        return found.encoder(batch.tokens_BL, batch.lengths_B, levels or found.encoder.levels)


def relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_levels_are_the_librarys_one_at_a_time(models, kind):
    network, _, folder = models[kind]
    found = load_pretrained(folder)
    assert found.encoder.levels == ("input", "layer1", "layer2", "layer3", "states")
    assert found.recipe["level"] == "states" and "CC BY" not in found.recipe["licence"]
    assert ("Academic Free" if kind in ("t5", "gated") else "MIT") in found.recipe["licence"]
    together = ours(found, TEXTS)
    for row, text in enumerate(TEXTS):
        hidden = theirs(kind, network, text)
        alone = ours(found, [text])
        named = dict(zip(["input", "layer1", "layer2", "states"], hidden, strict=True))
        for level, expected_LD in named.items():
            assert relative(alone[level][0], expected_LD) < 1e-5
        for level in found.encoder.levels:
            assert found.encoder.dim(level) == together[level].shape[2] == 32
            assert relative(together[level][row, : len(text)], alone[level][0]) < 1e-6
            assert not together[level][row, len(text) :].any()
        # The last block's states are those in front of the last normalisation.
        stack = base_of(network)
        last = stack.encoder.emb_layer_norm_after if kind in KINDS[:2] else stack.final_layer_norm
        with torch.inference_mode():
            normal_LD = last(alone["layer3"][0])
        assert relative(normal_LD, hidden[-1]) < 1e-5
        assert relative(alone["layer3"][0], hidden[-1]) > 1e-2


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling(models, pooling):
    for kind in ("rotary", "t5"):
        found = load_pretrained(models[kind][2])
        embedder = Embedder(found.encoder, POOLINGS[pooling], "layer2").eval()
        batch = batch_of(found, TEXTS)
        places_B = batch.lengths_B // 2
        with torch.inference_mode():
            vectors_BD = embedder(batch.tokens_BL, batch.lengths_B, places_B)
        for row, text in enumerate(TEXTS):
            states_LD = theirs(kind, models[kind][0], text)[2]
            expected_D = {
                "mean": states_LD.mean(0),
                "attention": states_LD.mean(0),  # untrained
                "max": states_LD.amax(0),
                "last": states_LD[-1],
                "ends": states_LD[-1],
                "position": states_LD[places_B[row]],
            }[pooling]
            assert relative(vectors_BD[row], expected_D) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_can_be_tuned(models, kind):
    found = load_pretrained(models[kind][2])
    encoder, batch = found.encoder.train(), batch_of(found, TEXTS)
    states = encoder(batch.tokens_BL, batch.lengths_B)["states"]
    (
        states * torch.randn(states.shape, generator=torch.Generator().manual_seed(0))
    ).sum().backward()
    idle = [n for n, weight in encoder.named_parameters() if weight.grad is None]
    still = [n for n, weight in encoder.named_parameters() if not weight.grad.any()]
    assert idle == still == []
    assert all(weight.dtype == torch.float32 for weight in encoder.parameters())


def test_length_limit_of_learned_positions(models):
    network, _, folder = models["absolute"]
    found = load_pretrained(folder)
    # 80 places, of which 2 lie at and before the padding's number, 2 are special tokens.
    longest = "MKTAYI" * 12 + "MKTA"
    assert (
        relative(ours(found, [longest])["states"][0], theirs("absolute", network, longest)[-1])
        < 1e-5
    )
    with pytest.raises(ConfigError, match="got 77, expected at most 76"):
        ours(found, ["A", longest + "A"])
    ours(load_pretrained(models["rotary"][2]), [longest * 20], ["states"])


def variants(folder):
    """Other ways in which the same numbers are stored."""
    tensors = load_file(folder / "model.safetensors")
    pickled = dict(tensors)
    # As older versions of the library had them.
    (found,) = [name for name in pickled if name.endswith("inv_freq")]
    frequencies = pickled.pop(found)
    for layer in range(3):
        name = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        pickled[name] = frequencies.clone()
    pickled["esm.embeddings.position_ids"] = torch.arange(1026)[None]
    pickled["esm.embeddings.position_embeddings.weight"] = torch.zeros(1026, 32)
    bare = {n.removeprefix("esm."): t.clone() for n, t in tensors.items() if n.startswith("esm.")}
    return tensors, pickled, bare


def copied(folder, target):
    shutil.copytree(folder, target)
    (target / "model.safetensors").unlink()
    return target


def write_pieces(folder, tensors):
    names = sorted(tensors)
    parts = {"a-1.safetensors": names[::2], "a-2.safetensors": names[1::2]}
    for file, inside in parts.items():
        save_file({name: tensors[name] for name in inside}, folder / file)
    where = {name: file for file, inside in parts.items() for name in inside}
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_the_same_numbers_in_other_files(models, tmp_path):
    _, source, folder = models["rotary"]
    tensors, pickled, bare = variants(source)
    places = {name: copied(source, tmp_path / name) for name in ("bin", "pieces", "bare", "none")}
    torch.save(pickled, places["bin"] / "pytorch_model.bin")
    write_pieces(places["pieces"], tensors)
    save_file(bare, places["bare"] / "model.safetensors")
    without = {n: t for n, t in bare.items() if not n.endswith("inv_freq")}
    save_file(without, places["none"] / "model.safetensors")
    expected = load_pretrained(folder)
    for name, place in places.items():
        found = load_pretrained(convert(place, tmp_path / f"{name}-converted"))
        assert found.sha256 == expected.sha256, name
        assert found.encoder.options == expected.encoder.options
        assert found.recipe["source"]["name"] == name
    # In half precision a number is read as what it is there.
    half = copied(source, tmp_path / "half")
    save_file({n: t.bfloat16() for n, t in tensors.items()}, half / "model.safetensors")
    found = load_pretrained(convert(half, tmp_path / "half-converted")).encoder.state_dict()
    name = "encoder.layer.1.output.dense.weight"
    assert torch.equal(found[f"network.{name}"], tensors[f"esm.{name}"].bfloat16().float())


def write_spiece(folder, pieces):
    from sentencepiece import sentencepiece_model_pb2 as proto

    model = proto.ModelProto()
    kinds = {"<unk>": 2, "<pad>": 3, "</s>": 3, "<s>": 3}
    for piece in pieces:
        model.pieces.add(piece=piece, score=-2.0, type=kinds.get(piece, 1))
    model.trainer_spec.model_type = 1
    model.trainer_spec.unk_id = pieces.index("<unk>")
    model.trainer_spec.eos_id = pieces.index("</s>")
    model.trainer_spec.pad_id = pieces.index("<pad>")
    model.trainer_spec.bos_id = -1
    (folder / "spiece.model").write_bytes(model.SerializeToString())


def test_older_vocabulary_of_t5_and_the_word_of_prostt5(models, tmp_path):
    _, source, folder = models["t5"]
    place = tmp_path / "spiece"
    shutil.copytree(source, place)
    (place / "tokenizer.json").unlink()
    write_spiece(place, [f"▁{p}" if len(p) == 1 else p for p in T5_PIECES])
    found = load_pretrained(convert(place, tmp_path / "converted"))
    assert found.encoder.options == load_pretrained(folder).encoder.options
    (place / "added_tokens.json").write_text(json.dumps({"<AA2fold>": 40}))
    found = load_pretrained(convert(place, tmp_path / "prostt5"))
    assert found.encoder.options["start"] == 40
    words = torch.tensor([[40, *words_of("t5", TEXTS[0])]])
    with torch.inference_mode():
        expected_LD = models["t5"][0].encoder(input_ids=words).last_hidden_state[0, 1:-1]
    assert relative(ours(found, TEXTS)["states"][0, : len(TEXTS[0])], expected_LD) < 1e-5


# ---- damage ----------------------------------------------------------------------------------


def edit_numbers(change):
    def edit(folder):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return edit


def other_frequencies(tensors):
    """Two layers with different ones, which no network has."""
    name = "esm.encoder.layer.{}.attention.self.rotary_embeddings.inv_freq"
    tensors |= {name.format(0): torch.ones(4), name.format(1): torch.zeros(4)}


def edit_json(name, **change):
    def edit(folder):
        path = folder / name
        content = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(content | change))

    return edit


def edit_index(name):
    def edit(folder):
        (folder / "model.safetensors").rename(folder.parent / "stolen.safetensors")
        edit_json("model.safetensors.index.json", weight_map={"a": name})(folder)

    return edit


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def pickled_canary(folder, **options):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    content = tensors | {"canary": Canary(folder.parent / "canary")}
    torch.save(content, folder / "pytorch_model.bin", pickle_module=pickle, **options)


WEIGHT = "esm.encoder.layer.1.output.dense.weight"
config, words = partial(edit_json, "config.json"), ESM_PIECES
DAMAGE = {
    "missing tensor": (edit_numbers(lambda t: t.pop(WEIGHT)), "got nothing, expected"),
    "wrong shape": (edit_numbers(lambda t: t.update({WEIGHT: torch.zeros(3, 3)})), r"got \(3, 3\)"),
    "extra tensor": (edit_numbers(lambda t: t.update(a=torch.zeros(3))), "expected nothing"),
    "twice": (edit_numbers(lambda t: t.update({WEIGHT[4:]: torch.zeros(3)})), "comes twice"),
    "at odds": (edit_numbers(other_frequencies), "stored twice, with other numbers"),
    "nan": (edit_numbers(lambda t: t[WEIGHT].fill_(torch.nan)), "not finite"),
    "cut": (lambda f: (f / "model.safetensors").write_bytes(b"\x09"), "damaged"),
    "no numbers": (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
    "index above": (edit_index("../stolen.safetensors"), "expected files beside it"),
    "index absolute": (edit_index("/etc/hosts.safetensors"), "expected files beside it"),
    "index hidden": (edit_index(".safetensors"), "expected files beside it"),
    "index gone": (edit_index("gone.safetensors"), "gone.safetensors is missing"),
    "index of numbers": (edit_index(3), "expected files beside it"),
    "pickle": (pickled_canary, "nothing was executed"),
    "old pickle": (
        partial(pickled_canary, _use_new_zipfile_serialization=False),
        "nothing was executed",
    ),
    "no vocabulary": (lambda f: (f / "vocab.txt").unlink(), "vocab.txt is missing"),
    "short vocabulary": (lambda f: (f / "vocab.txt").write_text("\n".join(words[:20])), "has no"),
    "twice in it": (lambda f: (f / "vocab.txt").write_text("\n".join([*words, "A"])), "twice"),
    "long vocabulary": (
        lambda f: (f / "vocab.txt").write_text("\n".join([*words, *map(str, range(2000))])),
        "no model of proteins",
    ),
    "other vocabulary": (lambda f: (f / "vocab.txt").write_text("\n".join(["a", *words])), "<pad>"),
    "binary vocabulary": (lambda f: (f / "vocab.txt").write_bytes(b"\xff"), "no text"),
    "no json": (lambda f: (f / "config.json").write_text("{"), "no JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "names and values"),
    "other model": (config(model_type="bert"), "expected esm or t5"),
    "a word as size": (config(hidden_size="32"), "config.hidden_size"),
    "huge": (config(hidden_size=2**20, intermediate_size=2**23), "expected"),
    "endless": (config(num_hidden_layers=10**6), "expected 1 to 1000"),
    "heads": (config(num_attention_heads=5), "config"),
    "other positions": (config(position_embedding_type="relative_key"), "absolute, rotary"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_and_hostile_folders(models, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(models["rotary"][1], folder)
    damage, message = DAMAGE[name]
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        convert(folder, tmp_path / "converted")
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "converted").exists() and not (tmp_path / "canary").exists()


def test_options_that_could_fetch_code_are_left_out(models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(models["rotary"][1], folder)
    config(auto_map={"AutoModel": "evil.py"}, attn_implementation="a/b", is_decoder=True)(folder)
    found = load_pretrained(convert(folder, tmp_path / "converted"))
    assert found.encoder.options == load_pretrained(models["rotary"][2]).encoder.options


def test_recipes_that_do_not_fit(models, tmp_path):
    folder = tmp_path / "model"
    for change in (
        {"tokens": [40] * 25},
        {"tokens": [4.0] * 25},
        {"tokens": [4] * 24},
        {"stop": -1},
        {"pad": 2},
        {"architecture": "bert"},
        {"config": ESM_BASE | ROTARY | {"hidden_size": 2**20}},
    ):
        shutil.copytree(models["rotary"][2], folder)
        recipe = json.loads((folder / RECIPE).read_text())
        recipe["encoder"] |= change
        (folder / RECIPE).write_text(json.dumps(recipe))
        # Sizes are compared before memory is taken.
        message = (
            r"got \(33, 32\), expected \(33, 1048576\)" if "config" in change else "do not fit"
        )
        with pytest.raises(CheckpointError, match=message):
            load_pretrained(folder)
        shutil.rmtree(folder)


def test_names_on_the_hub(models, tmp_path, monkeypatch):
    for name, expected in {
        "facebook/esm2_t6_8M_UR50D": True,
        "Rostlab/prot_t5_xl_uniref50": True,
        "models/ssa.sav": False,
        "esm2": False,
        "a/b/c": False,
        "../esm2": False,
        "/esm2": False,
        "a/..": False,
        "a b/c": False,
    }.items():
        assert is_hub_name(name) is expected, name
    (tmp_path / "facebook" / "esm2").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not is_hub_name("facebook/esm2")


class Hub(BaseHTTPRequestHandler):
    """The part of the hub that serves one model, from a folder."""

    folder: Path
    asked: list[str] = []

    def log_message(self, *_):
        pass

    def do_HEAD(self):  # noqa: N802
        self.do_GET()

    def do_GET(self):  # noqa: N802
        path = self.path.split("?")[0]
        if path.startswith("/api/models/lab/tiny/tree/"):
            sizes = {file.name: file.stat().st_size for file in self.folder.iterdir()}
            files = [
                {"type": "file", "path": name, "size": size, "oid": "0" * 40}
                for name, size in sizes.items()
            ]
            body = json.dumps(files).encode()
        elif path.startswith("/api/models/lab/tiny"):
            files = [{"rfilename": file.name} for file in self.folder.iterdir()]
            body = json.dumps({"id": "lab/tiny", "sha": "c" * 40, "siblings": files}).encode()
        else:
            self.asked.append(path.rpartition("/")[2])
            body = (self.folder / self.asked[-1]).read_bytes()
        self.send_response(200)
        for name, value in {
            "Content-Length": str(len(body)),
            "X-Repo-Commit": "c" * 40,
            "ETag": f'"{hashlib.sha256(body).hexdigest()}"',
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def test_a_model_of_the_hub(models, tmp_path):
    """Through the real client, against a hub on this machine; no file of code is fetched."""
    Hub.folder = tmp_path / "served"
    shutil.copytree(models["rotary"][1], Hub.folder)
    for name in ("modeling.py", "pytorch_model.bin", "training_args.bin"):
        (Hub.folder / name).write_bytes(b"evil")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    code = (
        "import sys; from protemb.models.pretrained.library import convert; "
        "convert('lab/tiny', sys.argv[1])"
    )
    settings = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-c", code, str(tmp_path / "model")]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr[-2000:]
    found, expected = load_pretrained(tmp_path / "model"), load_pretrained(models["rotary"][2])
    assert found.sha256 == expected.sha256
    source = found.recipe["source"]
    assert (source["name"], source["revision"]) == ("lab/tiny", "c" * 40)
    assert set(Hub.asked) == {"config.json", "model.safetensors", "vocab.txt"}


def test_no_network_and_no_library(models, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DownloadError, match="nobody/nothing: no such path") as caught:
        convert("nobody/nothing", tmp_path / "model")
    assert "\n" not in str(caught.value) and not (tmp_path / "model").exists()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"transformers: pip install 'protemb\[hf\]'"):
        load_pretrained(models["t5"][2])
    with pytest.raises(MissingExtra, match=r"transformers: pip install 'protemb\[hf\]'"):
        convert(models["t5"][1], tmp_path / "model")


def test_an_encoder_is_made_of_plain_options():
    options = {"config": ESM_BASE | ROTARY, "tokens": [4, 5], "start": None, "stop": None, "pad": 1}
    encoder = TransformerEncoder(architecture="esm", **options).eval()
    again = TransformerEncoder(**json.loads(json.dumps(encoder.options)))
    assert again.options == encoder.options
    tokens_BL, lengths_B = torch.tensor([[0, 1, 0], [1, 2, 2]]), torch.tensor([3, 1])
    with torch.inference_mode():
        found = encoder(tokens_BL, lengths_B)["states"]
        expected = encoder.network(input_ids=torch.tensor([[4, 5, 4]])).last_hidden_state
    assert relative(found[:1], expected) < 1e-6 and not found[1, 1:].any()
    with pytest.raises(ConfigError, match="one of input, layer1"):
        encoder(tokens_BL, lengths_B, ("layer4",))
    assert module.POSITIONS == ("absolute", "rotary")
