"""Opening networks and their inputs."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.engine.networks import Network, NetworkSettings, Origin, open_network, open_samples
from rmtaudit.engine.networks.network import main_tensor
from rmtaudit.errors import InputError, RmtauditError, UnreachableError, UnsafeError, UsageError

transformers = pytest.importorskip("transformers")

FACTORY = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.body = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Dropout(0.5), torch.nn.Linear(5, 3))
    def forward(self, x):
        return self.body(x)
def embedding():
    return torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten())
def nothing():
    return 3
def broken():
    raise KeyError("no")
"""


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    config = transformers.BertConfig(
        num_hidden_layers=1,
        hidden_size=8,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=20,
        max_position_embeddings=12,
        num_labels=3,
    )
    torch.manual_seed(0)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(FACTORY, encoding="utf-8")
    return path


def allowed(path: Path, name: str = "Net", **more: Any) -> Network:
    return open_network(f"{path}:{name}", NetworkSettings(allow_code=True, **more))


def code_of(call: Callable[[], object], kind: type[RmtauditError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.code


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_a_folder_runs_as_transformers_runs_it(bert: Path, tmp_path: Path) -> None:
    network = open_network(bert)
    peer = transformers.BertForSequenceClassification.from_pretrained(bert, dtype=torch.float64).eval()
    ids = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    np.save(tmp_path / "ids.npy", ids)
    samples = open_samples(tmp_path / "ids.npy", network)
    (batch,) = samples.batches(network, 2)
    assert network.origin is Origin.HUGGING_FACE
    assert network.dtype is torch.float64
    assert not network.module.training
    torch.testing.assert_close(network.output(batch), peer(torch.from_numpy(ids)).logits, rtol=0, atol=1e-14)


def test_padding_changes_nothing(bert: Path, tmp_path: Path) -> None:
    network = open_network(bert)
    rows = [{"input_ids": [1, 2, 3, 4, 5, 6], "label": 1}, {"input_ids": [7, 8], "label": 0}]
    samples = open_samples(lines(tmp_path / "d.jsonl", rows), network)
    together = network.output(samples.batch(network, [0, 1]))
    alone = network.output(samples.batch(network, [1]))
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-14)
    assert samples.batch(network, [1]).mask is None
    mask = samples.batch(network, [1, 0]).mask
    assert mask is not None
    assert mask.tolist() == [[True] * 2 + [False] * 4, [True] * 6]
    assert samples.labels is not None
    assert samples.labels.tolist() == [1, 0]
    assert open_samples(tmp_path / "d.jsonl", network, limit=1).count == 1


def test_pickled_weights_go_through_the_reader_that_runs_nothing(bert: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes((bert / "config.json").read_bytes())
    whole = open_network(bert)
    torch.save(whole.module.state_dict(), folder / "pytorch_model.bin")
    assert open_network(folder).digest == whole.digest
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError):
        open_network(folder)
    assert not (tmp_path / "ran").exists()


def test_missing_weights_are_refused(bert: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_bytes((bert / "config.json").read_bytes())
    state = load_file(bert / "model.safetensors")
    del state["classifier.weight"]
    save_file(state, tmp_path / "model.safetensors")
    assert code_of(lambda: open_network(tmp_path), InputError) == "RA-NW-023"


@pytest.mark.parametrize(("name", "code"), [("Pipeline", "RA-NW-021"), ("OwnForTask", "RA-NW-021")])
def test_a_class_that_is_no_model_of_transformers(bert: Path, tmp_path: Path, name: str, code: str) -> None:
    config = json.loads((bert / "config.json").read_text(encoding="utf-8"))
    config |= {"architectures": [name], "auto_map": {"AutoModel": "evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes((bert / "model.safetensors").read_bytes())
    assert code_of(lambda: open_network(tmp_path), UsageError) == code


def test_what_is_no_network(bert: Path, tmp_path: Path) -> None:
    assert code_of(lambda: open_network(bert / "model.safetensors"), UsageError) == "RA-NW-011"
    assert code_of(lambda: open_network(tmp_path / "absent"), InputError) == "RA-NW-012"
    assert code_of(lambda: NetworkSettings(dtype="int8"), UsageError) == "RA-NW-001"
    assert code_of(lambda: NetworkSettings(device="tpu"), UsageError) == "RA-NW-002"
    if not torch.cuda.is_available():
        cuda = NetworkSettings(device="cuda")
        assert code_of(lambda: open_network(bert, cuda), UnreachableError) == "RA-NW-003"
    state = NetworkSettings(state=tmp_path / "w.pt")
    assert code_of(lambda: open_network(bert, state), UsageError) == "RA-NW-011"


def test_code_runs_only_where_it_is_allowed(factory: Path) -> None:
    assert code_of(lambda: open_network(f"{factory}:Net"), UnsafeError) == "RA-NW-010"
    assert code_of(lambda: allowed(factory, "absent"), UsageError) == "RA-NW-015"
    assert code_of(lambda: allowed(factory, "broken"), UsageError) == "RA-NW-015"
    assert code_of(lambda: allowed(factory, "nothing"), UsageError) == "RA-NW-016"
    assert code_of(lambda: allowed(factory.with_name("no.py")), UsageError) == "RA-NW-015"


def test_a_factory_takes_the_weights_of_a_state_dict(factory: Path, tmp_path: Path) -> None:
    first = allowed(factory)
    state = {name: each + 1 for name, each in first.module.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    filled = allowed(factory, state=tmp_path / "w.pt")
    assert filled.digest != first.digest
    torch.testing.assert_close(dict(filled.module.state_dict()), state)
    del state["body.0.bias"]
    torch.save(state, tmp_path / "less.pt")
    assert code_of(lambda: allowed(factory, state=tmp_path / "less.pt"), InputError) == "RA-NW-017"


def test_arrays_as_inputs(factory: Path, tmp_path: Path) -> None:
    network = allowed(factory, dtype="float32")
    x = np.arange(24).reshape(4, 6)
    np.savez(tmp_path / "d.npz", inputs=x, labels=np.arange(4))
    samples = open_samples(tmp_path / "d.npz", network)
    assert samples.arrays["x"].dtype is torch.float32
    assert samples.labels is not None
    assert network.output(samples.batch(network, [0, 3])).shape == (2, 3)
    np.savez(tmp_path / "named.npz", x=x)
    assert open_samples(tmp_path / "named.npz", network).digest == samples.digest
    np.save(tmp_path / "bad.npy", np.full((2, 6), np.nan))
    assert code_of(lambda: open_samples(tmp_path / "bad.npy", network), InputError) == "RA-NW-030"
    np.savez(tmp_path / "odd.npz", x=x, labels=np.arange(3))
    assert code_of(lambda: open_samples(tmp_path / "odd.npz", network), InputError) == "RA-NW-030"
    np.savez(tmp_path / "more.npz", x=x, z=x)
    assert code_of(lambda: open_samples(tmp_path / "more.npz", network), UsageError) == "RA-NW-033"
    np.save(tmp_path / "wide.npy", np.ones((2, 7)))
    wide = open_samples(tmp_path / "wide.npy", network)
    for each, advised in ((network, False), (allowed(factory), True)):
        with pytest.raises(InputError, match=r"in its module 'body\.0'") as caught:
            each.output(wide.batch(each, [0]))
        assert caught.value.code == "RA-NW-014"
        assert ("--precision float32" in str(caught.value)) is advised
    assert code_of(lambda: open_samples(tmp_path / "d.txt", network), UsageError) == "RA-NW-033"


def test_whole_numbers_stay_whole_for_an_embedding(factory: Path, tmp_path: Path) -> None:
    network = allowed(factory, "embedding")
    np.save(tmp_path / "ids.npy", np.array([[1, 2], [3, 4], [5, 6]], dtype=np.int32))
    samples = open_samples(tmp_path / "ids.npy", network)
    assert network.output(samples.batch(network, [0, 1, 2])).shape == (3, 8)
    uneven = lines(tmp_path / "d.jsonl", [{"input_ids": [1]}, {"input_ids": [1, 2]}])
    assert code_of(lambda: open_samples(uneven, network), UsageError) == "RA-NW-033"


@pytest.mark.parametrize(
    ("rows", "kind", "code"),
    [
        ([{"input_ids": [1, 20]}], InputError, "RA-NW-032"),
        ([{"input_ids": [-1]}], InputError, "RA-NW-032"),
        ([{"input_ids": [1] * 13}], InputError, "RA-NW-032"),
        ([{"input_ids": []}], InputError, "RA-NW-031"),
        ([{"input_ids": "12"}], InputError, "RA-NW-031"),
        ([{"input_ids": [1]}, {"text": "a"}], InputError, "RA-NW-031"),
        ([{"text": "a"}], UsageError, "RA-NW-033"),
        ([], InputError, "RA-NW-030"),
    ],
)
def test_lines_that_are_no_samples(
    bert: Path, tmp_path: Path, rows: list[dict[str, Any]], kind: type[RmtauditError], code: str
) -> None:
    network = open_network(bert)
    assert code_of(lambda: open_samples(lines(tmp_path / "d.jsonl", rows), network), kind) == code


def test_text_goes_through_the_tokenizer_of_the_folder(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((bert / name).read_bytes())
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    network = open_network(folder)
    samples = open_samples(lines(tmp_path / "d.jsonl", [{"text": "a c"}, {"text": "b " * 40}]), network)
    assert samples.tokens is not None
    assert samples.tokens.ids[0] == (2, 5, 7, 3)
    assert samples.tokens.lengths == [4, 12]
    assert samples.truncated == 1


def test_the_output_tensor_of_what_a_network_returns() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    assert main_tensor({"last_hidden_state": one, "logits": two}) is two
    assert main_tensor((None, two)) is two
    assert main_tensor("text") is None


def test_every_code_has_its_row_on_the_page() -> None:
    root = Path(__file__).parents[3]
    sources = (root / "src/rmtaudit/engine/networks").glob("*.py")
    used = {code for path in sources for code in re.findall(r"RA-NW-\d{3}", path.read_text(encoding="utf-8"))}
    page = (root / "docs/errors.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (RA-NW-\d{3}) \|", page, re.MULTILINE) == sorted(used)
