"""Zip archives of checkpoints: those of Stable-Baselines3, and models that somebody packed."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from clock import Clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.bundle import subjects_of
from rmtaudit.checkpoints.members import open_source
from rmtaudit.errors import ChangedError, CorruptError, InputError, UnsafeError, UsageError

Shared = Callable[..., Path]
W = torch.arange(48.0).reshape(8, 6)


def saved(state: Any, *, new: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


POLICY = saved({"policy.weight": W})
OPTIMIZER = saved({"state": {0: {"exp_avg": W}}, "param_groups": [{"lr": 0.1}]})
VARIABLES = saved({"log_ent_coef": torch.zeros(1)})


def pack(path: Path, compression: int = zipfile.ZIP_STORED, /, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def agent(path: Path, compression: int = zipfile.ZIP_STORED, /, **members: bytes) -> Path:
    """Write what Stable-Baselines3 writes."""
    return pack(
        path,
        compression,
        **{
            "data": b'{"policy_class": {":type:": "x"}}',
            "pytorch_variables.pth": VARIABLES,
            "policy.pth": POLICY,
            "policy.optimizer.pth": OPTIMIZER,
            "_stable_baselines3_version": b"2.3.0",
            "system_info.txt": b"OS",
            **members,
        },
    )


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_policy_of_an_agent(tmp_path: Path, compression: int) -> None:
    path = agent(tmp_path / "agent.zip", compression)
    assert subjects_of(path).paths == (path,)
    with open_checkpoint(path) as checkpoint:
        assert (checkpoint.path, checkpoint.format) == (path, "torch-zip in zip")
        assert [spec.name for spec in checkpoint.tensors] == ["policy.weight"]
        assert torch.equal(checkpoint.read("policy.weight"), W)
        assert torch.equal(checkpoint.read_band("policy.weight", 2, 5), W[2:5])
        assert checkpoint.warnings == (
            "'policy.pth' in the archive was read",
            "files of the archive that hold no weight matrix were skipped: pytorch_variables.pth, "
            "policy.optimizer.pth",
        )


@pytest.mark.parametrize("name", ["a2c__Hopper-v3", "ppo__HalfCheetah-v3", "sac__Hopper-v3"])
def test_real_agents(shared: Shared, name: str) -> None:
    path = shared("models", "rl_zoo", f"{name}.zip")
    with zipfile.ZipFile(path) as archive:
        expected = torch.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
    with open_checkpoint(path) as checkpoint:
        assert {spec.name for spec in checkpoint.tensors} == set(expected)
        assert all(torch.equal(checkpoint.read(key), value) for key, value in expected.items())


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_several_models_are_several_subjects(tmp_path: Path, compression: int) -> None:
    members = {
        "a/net.pt": saved({"fc.weight": W}),
        "a/notes.md": b"# notes",
        "b/net.safetensors": save({"fc.weight": W + 1}),
        "b/old.pt": saved({"fc.weight": W + 2}, new=False),
        "optimizer.pt": OPTIMIZER,
    }
    path = pack(tmp_path / "models.zip", compression, **members)
    subjects = subjects_of(path).paths
    assert subjects_of(path).note.endswith("that hold no weight matrix were skipped: optimizer.pt")
    assert subjects == (path / "a/net.pt", path / "b/net.safetensors", path / "b/old.pt")
    for number, subject in enumerate(subjects):
        with open_checkpoint(subject) as checkpoint:
            assert checkpoint.path == subject
            assert torch.equal(checkpoint.read("fc.weight"), W + number)
            assert torch.equal(checkpoint.read_band("fc.weight", 1, 3), W[1:3] + number)
    with pytest.raises(
        UsageError, match=r"several checkpoints: a/net\.pt, b/net\.safetensors, b/old\.pt"
    ) as caught:
        open_checkpoint(path)
    assert (caught.value.code, caught.value.hint) == (
        "RA-IN-090",
        "Give the path of one of them: models.zip/a/net.pt",
    )


def test_everything_else_is_one_subject(tmp_path: Path) -> None:
    torch.save({"w": W}, tmp_path / "m.pt")
    for path in (tmp_path, tmp_path / "m.pt", tmp_path / "absent", pack(tmp_path / "e.zip", a=b"text")):
        assert subjects_of(path).paths == (path,)


def test_a_member_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    evil = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R."
    path = agent(tmp_path / "agent.zip", **{"extra.pth": evil, "cut.pth": POLICY[:-40]})
    assert [each.name for each in subjects_of(path).paths] == ["policy.pth", "extra.pth", "cut.pth"]
    with pytest.raises(UnsafeError, match="contains code"):
        open_checkpoint(path / "extra.pth")
    with pytest.raises(CorruptError):
        open_checkpoint(path / "cut.pth")


def test_sample_inputs_are_no_weights(tmp_path: Path) -> None:
    inputs = saved(([W], {}))
    path = pack(
        tmp_path / "old.pt2",
        **{"serialized_state_dict.pt": POLICY, "serialized_example_inputs.pt": inputs, "version": b"5.1"},
    )
    with open_checkpoint(path) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["policy.weight"]
        assert checkpoint.warnings[0] == "'serialized_state_dict.pt' in the archive was read"


def refused(path: Path) -> InputError:
    clock = Clock()
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    assert clock.seconds() < 0.5
    assert str(caught.value).isprintable()
    return caught.value


def test_an_archive_without_checkpoints(tmp_path: Path) -> None:
    assert refused(pack(tmp_path / "m.zip", **{"a.txt": b"text", "b/": b""})).code == "RA-IN-063"
    assert refused(
        pack(tmp_path / "n.zip", **{"a.zip": pack(tmp_path / "i.zip", x=b"y").read_bytes()})
    ).code == ("RA-IN-063")


def test_paths_into_what_is_no_archive(tmp_path: Path) -> None:
    path = agent(tmp_path / "agent.zip")
    assert refused(path / "absent.pth").message == "The archive has no entry 'absent.pth'."
    assert refused(path / "policy.pth" / "more").code == "RA-IN-001"
    (tmp_path / "text").write_bytes(b"not an archive")
    for place in ("text/x", "absent/x", "absent.zip/x"):
        assert refused(tmp_path / place).code == "RA-IN-001"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = pack(tmp_path / "bomb.zip", zipfile.ZIP_DEFLATED, **{"policy.pth": POLICY + bytes(16 << 20)})
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    error = refused(path / "policy.pth")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "RA-IN-185"
    assert peak < 1 << 20


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    """The directory promises little, the stream holds much: no more than the promise is unpacked."""
    data = bytearray(
        pack(tmp_path / "b.zip", zipfile.ZIP_DEFLATED, **{"policy.pth": bytes(16 << 20)}).read_bytes()
    )
    central = data.rindex(b"PK\x01\x02")
    struct.pack_into("<L", data, central + 24, 1000)
    (tmp_path / "b.zip").write_bytes(bytes(data))
    tracemalloc.start()
    error = refused(tmp_path / "b.zip" / "policy.pth")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "RA-IN-186"
    assert peak < 1 << 20


def test_a_stream_that_is_damaged(tmp_path: Path) -> None:
    path = agent(tmp_path / "a.zip", zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("policy.pth").header_offset + 30 + len("policy.pth")
    codes = set()
    for shift in range(0, 200, 7):
        changed = bytearray(data)
        changed[at + shift] ^= 0x55
        path.write_bytes(bytes(changed))
        codes.add(refused(path / "policy.pth").code)
    assert codes == {"RA-IN-186"}


def test_a_checksum_that_differs(tmp_path: Path) -> None:
    path = agent(tmp_path / "a.zip", zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    central = data.rindex(b"policy.pth") - 46
    data[central + 16] ^= 1
    path.write_bytes(bytes(data))
    assert "the checksum differs" in refused(path / "policy.pth").message


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_and_encryption(tmp_path: Path, compression: int) -> None:
    path = pack(tmp_path / "m.zip", compression, **{"policy.pth": POLICY})
    assert refused(path / "policy.pth").code == "RA-IN-058"
    assert refused(path).code == "RA-IN-063"
    data = bytearray(agent(tmp_path / "e.zip").read_bytes())
    data[data.rindex(b"policy.pth") - 46 + 8] |= 1
    (tmp_path / "e.zip").write_bytes(bytes(data))
    assert refused(tmp_path / "e.zip" / "policy.pth").code == "RA-IN-058"


@pytest.mark.parametrize("name", ["../policy.pth", "/policy.pth", "a/../../policy.pth", "C:\\policy.pth"])
def test_entries_that_leave_the_archive(tmp_path: Path, name: str) -> None:
    assert refused(pack(tmp_path / "m.zip", **{name: POLICY})).code == "RA-IN-060"


def test_very_many_checkpoints(tmp_path: Path) -> None:
    member = saved({"w": torch.ones(1, 1)}, new=False)
    path = pack(tmp_path / "m.zip", **{f"{i}.pt": member for i in range(201)})
    with pytest.raises(UnsafeError, match="201 checkpoints"):
        open_checkpoint(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_change_is_noticed(tmp_path: Path, compression: int) -> None:
    path = agent(tmp_path / "agent.zip", compression)
    checkpoint = open_checkpoint(path)
    with path.open("ab") as file:
        file.write(b"more")
    if compression == zipfile.ZIP_STORED:  # a deflated member is in memory, whole
        with pytest.raises(ChangedError):
            checkpoint.read("policy.weight")
    with pytest.raises(ChangedError):
        checkpoint.close()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_read_by_position(tmp_path: Path, compression: int) -> None:
    data = bytes(range(256)) * 8
    source = open_source(pack(tmp_path / "m.zip", compression, **{"x.bin": data}) / "x.bin")
    assert source.size == len(data)
    assert bytes(source.pread(100, 50)) == data[100:150]
    rows = bytearray(60)
    source.pread_rows(10, 256, memoryview(rows).cast("B", (3, 20)))
    assert bytes(rows) == b"".join(data[10 + 256 * i : 30 + 256 * i] for i in range(3))
    source.advise(0, 1, 1, 1)
    for offset, length in ((0, 2049), (2048, 1), (-1, 4)):
        with pytest.raises(CorruptError):
            source.pread(offset, length)
    with pytest.raises(CorruptError):
        source.pread_rows(2040, 20, memoryview(rows).cast("B", (3, 20)))
    source.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutation_opens_or_raises_input_error(tmp_path: Path, data: Any) -> None:
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    path = agent(tmp_path / "agent.zip", compression)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        if data.draw(st.booleans()):
            whole[at] = data.draw(st.integers(0, 255))
        else:
            whole[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path.write_bytes(bytes(whole))
    text = ""
    for subject in subjects_of(path).paths:
        try:
            with open_checkpoint(subject) as checkpoint:
                for spec in checkpoint.tensors:
                    if spec.unreadable is None:
                        assert tuple(checkpoint.read(spec.name).shape) == spec.shape
        except (InputError, UsageError) as error:
            text = str(error)
    assert not text or text.isprintable()
