"""Small files and folders of torch, how they are broken, and what a broken one may do: be read, or refused.

``python tests/fuzz/fuzz_torch.py -max_total_time=600`` runs it under atheris.
"""

from __future__ import annotations

import functools
import io
import json
import pickle
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from rmtaudit.errors import InputError, UsageError

DATA = Path(__file__).parents[1] / "data" / "dcp"
KINDS = ("zip.pt", "legacy.pt", "model.pt2", "agent.zip", "metadata", "chunks", "hub")
"""What the first byte of an input chooses: a file of this name, or a file of a distributed checkpoint."""

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
INSTRUCTIONS = b"()]}0.12aehqrstubeRNKMQX\x81\x85\x86\x87\x88\x8f\x90\x91\x93\x80\x95\x8c\x94"


def seeds() -> list[bytes]:
    """Return small valid inputs: the number of the kind, then the bytes of the file."""
    import torch

    generator = torch.Generator().manual_seed(20261130)
    w = torch.randn(4, 3, generator=generator)
    state = {"state_dict": {"a.weight": w, "tied": w, "b.weight": w.t(), "b.bias": w[0]}, "epoch": 3}
    files = [(0, _saved(state)), (1, _saved(state, new=False)), (2, _exported(w.numpy().tobytes()))]
    optimizer = {"state": {0: {"exp_avg": w}}, "param_groups": []}
    members = {"policy.pth": _saved(state), "policy.optimizer.pth": _saved(optimizer), "data": b"{}"}
    files += [(3, _packed(members, method)) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
    files += [(4, (DATA / "two_ranks" / ".metadata").read_bytes())]
    files += [(5, (DATA / "two_ranks" / "__0_0.distcp").read_bytes())]
    files += [(6, next((DATA / "two_ranks_hub").glob("shard-00001*")).read_bytes())]
    files += [(1, pickle.dumps({"w": [1.0], "x": {1: (2, 3)}}, protocol)) for protocol in (0, 2, 4)]
    return [bytes([kind]) + data for kind, data in files]


def mutate(data: bytes, picks: Sequence[tuple[int, int, int]]) -> bytes:
    """Return an input with changes, each of (kind, position, value); its first byte stays."""
    for kind, position, value in picks:
        at = 1 + position % max(1, len(data) - 1)
        match kind % 6:
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + bytes([value & 255]) + data[at + 1 :]
            case 2:
                number = EXTREMES[value % len(EXTREMES)]
                data = data[:at] + number.to_bytes(8, "little") + data[at + 8 :]
            case 3:
                number = EXTREMES[value % len(EXTREMES)] & 0xFFFFFFFF
                data = data[:at] + number.to_bytes(4, "little") + data[at + 4 :]
            case 4:
                data = data[:at] + bytes([INSTRUCTIONS[value % len(INSTRUCTIONS)]]) + data[at:]
            case _:
                data = data[:at] + data[max(1, at - value % 64) : at] + data[at:]
    return data


def target(data: bytes, folder: Path) -> None:
    """Open what an input stands for and read all of it. Anything but an ``InputError`` is a fault."""
    from rmtaudit.checkpoints.bundle import subjects_of  # here, so that atheris can instrument it
    from rmtaudit.checkpoints.folder import open_checkpoint

    path = _placed(data, folder)
    for subject in subjects_of(path).paths:
        try:
            with open_checkpoint(subject) as checkpoint:
                for spec in checkpoint.tensors:
                    if spec.unreadable is None:
                        assert tuple(checkpoint.read(spec.name).shape) == spec.shape
        except (InputError, UsageError) as error:
            text = str(error)
        else:
            text = ""
        assert not text or text.isprintable(), repr(text)


def _placed(data: bytes, folder: Path) -> Path:
    kind = KINDS[data[0] % len(KINDS)] if data else KINDS[0]
    for old in folder.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    if kind in {"metadata", "chunks", "hub"}:
        original = DATA / ("two_ranks_hub" if kind == "hub" else "two_ranks")
        path = shutil.copytree(original, folder / "checkpoint")
        names = {"metadata": ".metadata", "chunks": "__0_0.distcp"}
        file = path / names[kind] if kind in names else next(path.glob("shard-00001*"))
        file.write_bytes(data[1:])
        return path
    (folder / kind).write_bytes(data[1:])
    return folder / kind


def _saved(state: object, *, new: bool = True) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


def _packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _exported(values: bytes) -> bytes:
    sides = [{"as_int": 4}, {"as_int": 3}]
    steps = [{"as_int": 3}, {"as_int": 1}]
    meta = {"dtype": 7, "sizes": sides, "strides": steps, "storage_offset": {"as_int": 0}, "layout": 7}
    fields = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": meta}
    table = json.dumps({"config": {"a.weight": fields, "b.weight": fields}}).encode()
    return _packed(
        {
            "m/archive_format": b"pt2",
            "m/byteorder": b"little",
            "m/data/weights/m_weights_config.json": table,
            "m/data/weights/weight_0": values,
        }
    )


if __name__ == "__main__":
    import atheris

    with atheris.instrument_imports(include=["rmtaudit.checkpoints"]):
        import rmtaudit.checkpoints.dcp.hub
        import rmtaudit.checkpoints.dcp.plain
        import rmtaudit.checkpoints.torch_export
        import rmtaudit.checkpoints.torch_legacy  # noqa: F401
    with tempfile.TemporaryDirectory() as corpus, tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], functools.partial(target, folder=Path(folder)))
        atheris.Fuzz()
