"""Models of the Hub read by range requests: what is transferred, and what goes wrong on the way."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_server import COMMIT, HubServer
from safetensors.torch import save_file

from rmtaudit import logdet, scan
from rmtaudit.checkpoints import Checkpoint, Contents, Reader, open_checkpoint
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.checkpoints.remote import client
from rmtaudit.checkpoints.remote.addresses import HubAddress
from rmtaudit.checkpoints.remote.locate import located
from rmtaudit.checkpoints.remote.trees import hub_path
from rmtaudit.engine.sources.opening import open_source
from rmtaudit.errors import ChangedError, InputError, RmtauditError, UnsafeError
from rmtaudit.report.document import dumps
from rmtaudit.report.parsing import loads

SHARD = "model-00001-of-00002.safetensors"


def _load(name: str) -> Any:
    path = Path(__file__).parents[2] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a NamedTuple looks for the module that it is defined in
    spec.loader.exec_module(module)
    return module


gguf = _load("fuzz_gguf")


def refused(path: str) -> RmtauditError:
    with pytest.raises(RmtauditError) as caught:
        open_checkpoint(path, stream=True)
    assert "SECRET" not in str(caught.value)
    return caught.value


def shard_of() -> FileSource:
    return FileSource(hub_path(HubAddress("org/name"), stream=True) / SHARD)


def test_a_scan_transfers_what_it_analyses_and_equals_that_of_the_files(
    hub: HubServer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    streamed = scan("hf://org/name", stream=True, preset="fast", seed=1)
    local = scan(model, preset="fast", seed=1)
    assert [row.metrics for row in streamed.layers] == [row.metrics for row in local.layers]
    assert streamed.summary == local.summary
    assert streamed.subject["digest"] == local.subject["digest"]
    assert streamed.subject["path"].startswith(f"hf://org/name@{COMMIT}")
    analysed = 4 * sum(row.shape[0] * row.shape[1] for row in local.layers if row.status == "ok")
    assert analysed == 16 * 96 * 192 * 4
    assert analysed <= hub.transferred <= 1.05 * analysed
    assert not list(tmp_path.iterdir())  # neither the cache of the Hub nor the current folder has anything


def test_a_connection_is_kept_and_a_redirect_remembered(hub: HubServer) -> None:
    with open_checkpoint("hf://org/name", stream=True) as checkpoint:
        for spec in checkpoint.tensors:
            checkpoint.read(spec.name)
    resolved = [request for request in hub.requests if "/resolve/" in request.path]
    assert len(resolved) == 4  # the index, config.json, and each shard once
    assert all(COMMIT in request.path for request in resolved)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("revision", ["main", "v1", COMMIT, "refs/pr/1"])
def test_a_revision_is_resolved_to_its_commit(revision: str) -> None:
    with open_checkpoint(f"hf://org/name@{revision}/{SHARD}", stream=True) as checkpoint:
        assert str(checkpoint.path) == f"hf://org/name@{COMMIT}/{SHARD}"
        assert len(checkpoint.tensors) == 9


def test_a_page_of_the_hub_is_its_model(hub: HubServer) -> None:
    for rest in ("", "/tree/main"):
        with open_checkpoint(f"{hub.endpoint}/org/name{rest}", stream=True) as checkpoint:
            assert len(checkpoint.tensors) == 18
    with open_checkpoint(f"{hub.endpoint}/org/name/resolve/main/{SHARD}", stream=True) as checkpoint:
        assert len(checkpoint.tensors) == 9


def test_other_formats_in_the_repository_are_named(hub: HubServer) -> None:
    with open_checkpoint("hf://org/name", stream=True) as checkpoint:
        assert any("tf_model.h5" in warning for warning in checkpoint.warnings)
    assert not any("tf_model.h5" in request.path for request in hub.requests)


def test_a_cut_connection_goes_on_where_it_broke(hub: HubServer, model: Path) -> None:
    hub.cuts, hub.cut_after = 4, 30_000
    source = shard_of()
    assert bytes(source.pread(0, source.size)) == (model / SHARD).read_bytes()
    assert hub.cuts == 0
    assert hub.transferred == source.size


def test_a_connection_that_always_breaks_is_given_up(hub: HubServer) -> None:
    source = shard_of()
    hub.cuts, hub.cut_after = 1000, 100
    with pytest.raises(InputError, match=r"6 attempts") as caught:
        source.pread(0, source.size)
    assert caught.value.code == "RA-IN-223"
    assert hub.cuts == 1000 - 1 - client.RETRIES


def test_a_busy_server_is_asked_again(hub: HubServer) -> None:
    hub.busy = 3
    source = shard_of()
    hub.busy = 3
    assert len(source.pread(100_000, 10)) == 10


def test_a_slow_server_is_waited_for(hub: HubServer) -> None:
    source = shard_of()
    hub.pause, hub.chunk = 0.02, 8192
    assert len(source.pread(0, 65536)) == 65536


def test_a_silent_server_is_given_up(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    source = shard_of()
    monkeypatch.setattr(client, "TIMEOUT", 0.3)
    monkeypatch.setattr(client, "RETRIES", 1)
    hub.pause = 1.5
    with pytest.raises(InputError, match=r"no data arrived|no connection was made in time"):
        source.pread(0, 65536)


def test_a_signed_url_that_has_expired_is_asked_for_again(hub: HubServer) -> None:
    source = shard_of()
    source.pread(0, 8)
    hub.expired = 1
    assert len(source.pread(100_000, 10)) == 10


@pytest.mark.parametrize("on_hub", [True, False])
@pytest.mark.parametrize("strong", [True, False])
def test_a_file_that_changes(
    hub: HubServer, on_hub: bool, strong: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not strong:  # a weak tag may not stand in If-Range, and is compared with that of the answer
        plain = HubServer.tag
        monkeypatch.setattr(HubServer, "tag", lambda self, name: f"W/{plain(self, name)}")
    checkpoint = open_checkpoint(f"hf://org/name/{SHARD}" if on_hub else f"{hub.web}/{SHARD}", stream=True)
    hub.versions[SHARD] = 1
    name = next(spec.name for spec in checkpoint.tensors if spec.nbytes > 20_000)
    with pytest.raises(ChangedError) as caught:
        checkpoint.read(name)
    assert caught.value.code == "RA-IN-007"
    conditions = [request for request in hub.requests if "if-range" in request.headers]
    assert bool(conditions) == (strong and not on_hub)  # of the Hub, the commit is the condition


def test_a_file_that_the_hub_states_to_be_another(hub: HubServer, tmp_path: Path) -> None:
    hub.folder = tmp_path
    save_file({"a.weight": torch.zeros(64, 64)}, tmp_path / "model.safetensors")
    path = hub_path(HubAddress("org/name"), stream=True)
    save_file({"a.weight": torch.ones(64, 64)}, tmp_path / "model.safetensors")  # of the same size
    with pytest.raises(ChangedError, match="the Hub now has another version"):
        open_checkpoint(path)


def test_a_scan_of_a_file_that_changes_says_so(hub: HubServer) -> None:
    checkpoint = open_checkpoint(f"{hub.web}/{SHARD}")
    hub.versions[SHARD] = 1
    report = scan(checkpoint, preset="fast")
    with pytest.raises(ChangedError):
        checkpoint.close()
    assert not report.complete
    assert report.error is not None
    assert report.error.code == "RA-IN-007"


def test_a_server_without_ranges(hub: HubServer, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.ignores_ranges = True
    with open_checkpoint("hf://org/name", stream=True) as checkpoint:  # small files are read whole
        assert len(checkpoint.tensors) == 18
    monkeypatch.setattr("rmtaudit.checkpoints.remote.ranges.WHOLE", 10_000)
    before = hub.transferred
    error = refused("hf://org/name")
    assert error.code == "RA-IN-224"
    assert "does not serve ranges" in error.message
    assert hub.transferred - before < 2 * (model / SHARD).stat().st_size  # not asked for again and again


def test_a_gated_model_and_a_private_one(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token, hub.gated = "hf_SECRET", True
    error = refused("hf://org/name")
    assert (error.code, "gated" in error.message, "HF_TOKEN" in error.hint) == ("RA-IN-221", True, True)
    hub.gated = False
    error = refused("hf://org/name")
    assert (error.code, "private" in error.message, "HF_TOKEN" in error.hint) == ("RA-IN-221", True, True)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong_SECRET")
    error = refused("hf://org/name")
    assert "does not allow it" in error.hint


def test_the_token_goes_to_the_hub_alone(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_SECRET"
    monkeypatch.setenv("HF_TOKEN", hub.token)
    with open_checkpoint("hf://org/name", stream=True) as checkpoint:
        checkpoint.read(checkpoint.tensors[0].name)
        report = repr((checkpoint.path, checkpoint.warnings, checkpoint.metadata))
    assert "SECRET" not in report
    sent = {request.port for request in hub.requests if "authorization" in request.headers}
    assert sent == {hub.port}
    assert any(request.port == hub.cdn for request in hub.requests)


def test_a_web_page_is_sent_no_token(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_SECRET")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with open_checkpoint(f"{hub.web}/{SHARD}") as checkpoint:
        assert len(checkpoint.tensors) == 9
    assert not any("authorization" in request.headers for request in hub.requests)


def test_what_is_not_there(hub: HubServer) -> None:
    assert refused("hf://org/other").code == "RA-IN-222"
    assert "no such model" in refused("hf://org/other").message
    assert "no such revision" in refused("hf://org/name@absent").message
    error = refused("hf://org/name/confg.json")
    assert (error.code, error.hint) == ("RA-IN-222", "Did you mean 'config.json'?")
    assert refused(f"{hub.web}/absent.safetensors").code == "RA-IN-222"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_another_scheme_is_not_followed(hub: HubServer, target: str) -> None:
    hub.redirect = target
    with pytest.raises(UnsafeError):
        open_checkpoint("hf://org/name", stream=True)


def test_redirects_in_a_circle(hub: HubServer) -> None:
    hub.redirect = f"{hub.endpoint}/org/name/resolve/main/{SHARD}"
    assert "redirects" in refused("hf://org/name").message


@pytest.mark.usefixtures("hub")
def test_no_server_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert refused("hf://org/name").code == "RA-IN-223"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "Offline" in refused("hf://org/name").message


def test_a_url_shows_no_secret(hub: HubServer) -> None:
    url = f"{hub.web.replace('//', '//user:SECRET@')}/{SHARD}?signature=SECRET"
    with open_checkpoint(url) as checkpoint:
        assert str(checkpoint.path) == f"{hub.web}/{SHARD}"
        report = scan(checkpoint, preset="fast")
        assert checkpoint.streamed
    assert "SECRET" not in repr(report)
    assert "SECRET" not in str(refused(f"{hub.web}/absent?signature=SECRET"))
    assert {Path(request.path.partition("?")[0]).name for request in hub.requests} == {SHARD, "absent"}


def test_urls_in_one_folder_are_told_apart(hub: HubServer) -> None:
    other = SHARD.replace("00001", "00002")
    urls = [f"{hub.web}/model.safetensors.index.json", f"{hub.web}/{SHARD}?key=1", f"{hub.web}/{other}?key=2"]
    paths = [located(url) for url in urls]  # all of them, as the command line does, before one is opened
    for path, count in zip(paths, (18, 9, 9), strict=True):
        with open_checkpoint(path) as checkpoint:
            assert len(checkpoint.tensors) == count
            names = {file.name for file in checkpoint.streamed}
        assert names == {path.name} or count == 18
    keys = {
        Path(path).name: query
        for path, _, query in (each.path.partition("?") for each in hub.requests)
        if query
    }
    assert keys == {SHARD: "key=1", other: "key=2"}


def test_what_lies_beside_a_url(hub: HubServer) -> None:
    with open_checkpoint(f"{hub.web}/model.safetensors.index.json") as checkpoint:
        assert len(checkpoint.tensors) == 18
        assert checkpoint.config["model_type"] == "llama"


@pytest.mark.usefixtures("hub")
def test_a_closed_checkpoint_reads_no_more() -> None:
    checkpoint = open_checkpoint(f"hf://org/name/{SHARD}", stream=True)
    checkpoint.close()
    with pytest.raises(InputError, match="closed"):
        checkpoint.read(checkpoint.tensors[0].name)


def test_rows_of_a_matrix_are_few_requests(hub: HubServer, model: Path) -> None:
    source = shard_of()
    data = (model / SHARD).read_bytes()
    rows = memoryview(bytearray(20 * 100)).cast("B", (20, 100))
    before = len(hub.requests)
    source.pread_rows(20_000, 5000, rows)
    assert bytes(rows) == b"".join(data[20_000 + 5000 * row :][:100] for row in range(20))
    assert len(hub.requests) - before <= 2


def test_a_download_comes_to_the_cache_and_is_found_there_again(hub: HubServer, tmp_path: Path) -> None:
    with open_checkpoint("hf://org/name") as checkpoint:
        assert str(checkpoint.path).startswith(str(tmp_path / "cache"))
        assert len(checkpoint.tensors) == 18
        first = checkpoint.read(checkpoint.tensors[0].name)
    assert not any("tf_model.h5" in request.path for request in hub.requests)
    before = len(hub.requests)
    for name in ("hf://org/name", "org/name", f"hf://org/name@{COMMIT}", f"hf://org/name/{SHARD}"):
        for stream in (False, True):
            with open_checkpoint(name, stream=stream) as checkpoint:
                assert torch.equal(checkpoint.read(checkpoint.tensors[0].name), first)
    assert len(hub.requests) == before


@pytest.mark.usefixtures("hub")
def test_a_partly_downloaded_model_is_completed(tmp_path: Path) -> None:
    open_checkpoint("hf://org/name").close()
    (link,) = (tmp_path / "cache").rglob(SHARD)
    link.resolve().unlink()
    link.unlink()
    with open_checkpoint("org/name") as checkpoint:
        assert len(checkpoint.tensors) == 18


def test_a_name_that_is_nearly_that_of_a_cached_model(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "cache" / "models--org--other-model").mkdir(parents=True)
    assert "Did you mean 'org/other-model'?" in refused("hf://org/othr-model").hint
    assert hub.requests


def test_a_large_rest_is_not_transferred_for_the_digest(tmp_path: Path, hub: HubServer) -> None:
    hub.folder = tmp_path
    tensors = {"a.weight": torch.randn(64, 64), "positions": torch.arange(10_000)}
    save_file(tensors, tmp_path / "model.safetensors")
    report = scan("hf://org/name", stream=True, preset="fast")
    assert report.subject["digest"] is None
    assert any("the Hub states, unverified" in warning for warning in report.subject["warnings"])
    (file,) = (file for file in report.subject["streamed"] if file["name"] == "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()
    assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert hub.transferred < len(data) / 2
    assert loads(dumps(report.to_dict())) == (report,)


def test_formats_that_are_read_by_position_are_streamed(tmp_path: Path, hub: HubServer) -> None:
    hub.folder = tmp_path
    weights = torch.randn(200, 300)
    torch.save({"a.weight": weights, "b.weight": weights[:100].clone()}, tmp_path / "zip.pt")
    torch.save({"a.weight": weights}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "arrays.npz", a=weights.numpy())
    np.savez_compressed(tmp_path / "packed.npz", a=weights.numpy())
    np.save(tmp_path / "array.npy", weights.numpy())
    for file in sorted(tmp_path.iterdir()):
        with (
            open_checkpoint(file) as local,
            open_checkpoint(f"hf://org/name/{file.name}", stream=True) as remote,
        ):
            before = hub.transferred
            for spec in local.tensors:
                assert torch.equal(remote.read(spec.name), local.read(spec.name))
            assert hub.transferred - before <= 1.05 * file.stat().st_size, file.name


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "downloaded"])
def test_one_part_of_a_gguf_model_opens_all_of_it(tmp_path: Path, hub: HubServer, stream: bool) -> None:
    hub.folder = tmp_path / "gguf"
    hub.folder.mkdir()
    names = [f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for name, tensor in zip(names, ("token_embd.weight", "output.weight"), strict=True):
        body = gguf.build([gguf.Tensor(tensor, (8, 4), 0, bytes(128))])
        (hub.folder / name).write_bytes(body)
    assert refused(f"{hub.web}/{names[1]}?signature=1").code == "RA-IN-194"  # signed for one file alone
    for name in names:
        with open_checkpoint(f"hf://org/name/{name}", stream=stream) as checkpoint:
            assert [spec.name for spec in checkpoint.tensors] == ["token_embd.weight", "output.weight"]
    with open_checkpoint(f"{hub.web}/{names[1]}") as checkpoint:
        assert len(checkpoint.tensors) == 2


def test_an_archive_that_has_to_be_unpacked_is_not_streamed(tmp_path: Path, hub: HubServer) -> None:
    hub.folder = tmp_path
    save_file({"a.weight": torch.randn(700, 700)}, tmp_path / "model.safetensors")
    with zipfile.ZipFile(tmp_path / "agent.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "model.safetensors", "model.safetensors")
    error = refused("hf://org/name/agent.zip")
    assert error.code == "RA-IN-226"
    assert hub.transferred < 300_000
    with open_checkpoint("hf://org/name/agent.zip") as checkpoint:  # downloaded, it is read
        assert checkpoint.tensors[0].shape == (700, 700)


def test_components_of_a_pipeline(tmp_path: Path, hub: HubServer) -> None:
    hub.folder = tmp_path
    for name in ("unet", "vae"):
        (tmp_path / name).mkdir()
        save_file(
            {f"{name}.weight": torch.randn(40, 40)}, tmp_path / name / "diffusion_pytorch_model.safetensors"
        )
    (tmp_path / "model_index.json").write_text(
        json.dumps({name: ["diffusers", "X"] for name in ("unet", "vae")})
    )
    with open_checkpoint("hf://org/name", stream=True) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["unet.unet.weight", "vae.vae.weight"]
    with open_checkpoint("hf://org/name/vae", stream=True) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["vae.weight"]


def test_a_whole_file_may_come_without_ranges(
    hub: HubServer, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rmtaudit.checkpoints.remote.ranges.WHOLE", 100)
    hub.ignores_ranges = True
    index = FileSource(hub_path(HubAddress("org/name"), stream=True) / "model.safetensors.index.json")
    data = (model / "model.safetensors.index.json").read_bytes()
    assert bytes(index.pread(0, index.size)) == data  # the request was for all of it
    assert index.size == len(data) > 100


def test_a_matrix_behind_a_url(tmp_path: Path, hub: HubServer) -> None:
    hub.folder = tmp_path
    matrix = np.cov(np.random.default_rng(0).standard_normal((40, 400)))
    np.save(tmp_path / "kernel.npy", matrix)
    save_file({"a.weight": torch.from_numpy(matrix)}, tmp_path / "model.safetensors")
    source = open_source(f"{hub.web}/kernel.npy")
    assert torch.equal(source.dense(), torch.from_numpy(matrix))
    source.close()
    source = open_source("hf://org/name/model.safetensors::a.weight")
    assert torch.allclose(source.dense(), torch.from_numpy(matrix.T @ matrix))
    source.close()
    result = logdet(f"{hub.web}/kernel.npy")
    assert result.logdet == pytest.approx(np.linalg.slogdet(matrix)[1])


@pytest.mark.parametrize(
    "made", ["consolidated.{:02}.pth", "mp_rank_{:02}/model.pt", "model-{:05}-of-00003.safetensors"]
)
def test_what_is_refused_or_warned_of_is_so_over_the_network(
    made: str, tmp_path: Path, hub: HubServer
) -> None:
    hub.folder = tmp_path
    for part in range(2):
        file = tmp_path / made.format(part)
        file.parent.mkdir(exist_ok=True)
        tensors = {"a.weight": torch.randn(30, 20), "norm": torch.ones(20)}
        torch.save(tensors, file) if file.suffix != ".safetensors" else save_file(tensors, file)
    (tmp_path / "other.onnx").write_bytes(b"x")

    def seen(path: str | Path) -> object:
        try:
            with open_checkpoint(path, stream=True) as checkpoint:
                return checkpoint.warnings
        except RmtauditError as error:
            return error.code, error.message, error.hint

    first = made.format(0)
    assert seen(tmp_path / first) == seen(f"hf://org/name/{first}")
    assert seen(tmp_path) == seen("hf://org/name")
    assert seen(tmp_path / first) != ()


def test_a_url_of_a_folder(hub: HubServer) -> None:
    assert "The URL names a folder" in refused(f"{hub.web}/").message
    assert not hub.requests


class ForeignReader(Reader):
    """A reader of another package, which opens paths as it likes."""

    name = "foreign"
    extensions = (".foreign",)

    def recognises(self, contents: Contents) -> bool:
        return contents.head.startswith(b"FOREIGN")

    def open(self, path: Path) -> Checkpoint:
        return StateDictCheckpoint({"a": torch.full((2, 2), path.read_bytes()[7])})


def test_a_plugin_is_given_files_of_this_machine_alone(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.folder = tmp_path / "model"
    hub.folder.mkdir()
    (hub.folder / "m.foreign").write_bytes(b"FOREIGN\x05")
    monkeypatch.setattr("rmtaudit.checkpoints.registry.plugin_readers", lambda _: iter([ForeignReader()]))
    assert refused("hf://org/name/m.foreign").code == "RA-IN-226"
    with open_checkpoint("hf://org/name/m.foreign") as checkpoint:  # downloaded
        assert checkpoint.read("a").sum() == 20


def test_a_plugin_that_reads_by_position_is_streamed(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PositionalReader(ForeignReader):
        by_position = True

        def open(self, path: Path) -> Checkpoint:
            return StateDictCheckpoint({"a": torch.full((2, 2), FileSource(path).pread(7, 1)[0])})

    hub.folder = tmp_path / "model"
    hub.folder.mkdir()
    (hub.folder / "m.foreign").write_bytes(b"FOREIGN\x05")
    monkeypatch.setattr("rmtaudit.checkpoints.registry.plugin_readers", lambda _: iter([PositionalReader()]))
    with open_checkpoint("hf://org/name/m.foreign", stream=True) as checkpoint:
        assert checkpoint.read("a").sum() == 20
