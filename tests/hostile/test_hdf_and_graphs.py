"""Row 65 of the hostile corpus, and its like: HDF5, Keras, MessagePack, OpenVINO and Core ML."""

from __future__ import annotations

import importlib.util
import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clock import Clock
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import InputError

h5py = pytest.importorskip("h5py")
pytest.importorskip("msgpack")
PICKS = st.lists(st.tuples(*[st.integers(0, 1 << 16)] * 3), min_size=1, max_size=6)


def _load(name: str) -> Any:
    path = Path(__file__).parents[1] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


keras, flax, openvino, coreml = (_load(f"fuzz_{name}") for name in ("keras", "flax", "openvino", "coreml"))


def read_all(path: Path) -> None:
    with open_checkpoint(path) as checkpoint:
        for spec in checkpoint.tensors:
            checkpoint.read(spec.name)


def refusal(path: Path) -> InputError:
    """Open a path, which must be refused, in little time."""
    clock = Clock()
    with pytest.raises(InputError) as caught:
        read_all(path)
    assert clock.seconds() < 3
    return caught.value


def external_link(file: Any) -> None:
    file["layers/w"] = h5py.ExternalLink("/etc/passwd", "/")


def external_storage(file: Any) -> None:
    file.create_dataset("w", shape=(4, 4), dtype="u1", external=[("/etc/passwd", 0, 16)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout(shape=(4, 4), dtype="f4")
    layout[:] = h5py.VirtualSource("/elsewhere/other.h5", "w", shape=(4, 4))
    file.create_virtual_dataset("w", layout)


@pytest.mark.parametrize("attack", [external_link, external_storage, virtual])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_values_in_other_files_are_refused(
    tmp_path: Path, attack: Callable[[Any], None], libver: str
) -> None:
    with h5py.File(tmp_path / "m.h5", "w", libver=libver) as file:
        attack(file)
    assert refusal(tmp_path / "m.h5").code == "RA-IN-141"


def keras_archive(path: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


WEIGHTS = ("model.weights.h5", keras.numbered())
CONFIG = ("config.json", json.dumps(keras.CONFIG).encode())


@pytest.mark.parametrize(
    ("members", "compression", "code"),
    [
        ((CONFIG, WEIGHTS, ("../../etc/passwd", b"x")), zipfile.ZIP_STORED, "RA-IN-060"),
        ((CONFIG, WEIGHTS, ("C:\\x", b"x")), zipfile.ZIP_STORED, "RA-IN-060"),
        ((CONFIG, ("model.weights.h5", bytes(1 << 24))), zipfile.ZIP_DEFLATED, "RA-IN-146"),
        ((CONFIG, ("model_0.weights.h5", b"x")), zipfile.ZIP_STORED, "RA-IN-145"),
        ((CONFIG, ("model.weights.h5", b"x" * 200)), zipfile.ZIP_STORED, "RA-IN-143"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, members: Any, compression: int, code: str) -> None:
    assert refusal(keras_archive(tmp_path / "m.keras", *members, compression=compression)).code == code


def test_a_configuration_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    path = keras_archive(tmp_path / "m.keras", ("config.json", b"[" * 100_000), WEIGHTS)
    with open_checkpoint(path) as checkpoint:
        assert any("cannot be read" in warning for warning in checkpoint.warnings)
        assert len(checkpoint.tensors) == 4


def test_a_file_that_is_cut_short_says_how_much_is_there(tmp_path: Path) -> None:
    data = keras.hdf5()
    (tmp_path / "m.h5").write_bytes(data[: len(data) // 2])
    error = refusal(tmp_path / "m.h5")
    assert error.code == "RA-IN-140"
    assert "50%" in error.message or "49%" in error.message
    assert error.where == "m.h5"


def test_a_group_that_holds_itself_is_walked_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file.create_group("a")
        group["w"] = np.ones((3, 3))
        group["again"] = group
        group["top"] = file["/"]
    with open_checkpoint(tmp_path / "m.h5") as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["a/w"]
        assert sum("under another name" in warning for warning in checkpoint.warnings) == 2


def test_a_bomb_of_chunks_is_not_unpacked(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(16_000_000))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        data = file.create_dataset(
            "zeros", shape=(12_000, 12_000), dtype="f4", chunks=(2000, 2000), compression="gzip"
        )
        for index in range(36):
            data.id.write_direct_chunk((2000 * (index // 6), 2000 * (index % 6)), packed)
    with open_checkpoint(tmp_path / "m.h5") as checkpoint:
        assert "unpack" in (checkpoint.tensors[0].unreadable or "")


def test_a_chunk_with_a_changed_byte_is_found_by_its_checksum(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((8, 8))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("w", data=values, chunks=(8, 8), fletcher32=True)
        at = file["w"].id.get_chunk_info(0).byte_offset
    data = bytearray((tmp_path / "m.h5").read_bytes())
    data[at + 20] ^= 1
    (tmp_path / "m.h5").write_bytes(data)
    assert refusal(tmp_path / "m.h5").code == "RA-IN-144"


MESSAGEPACK = {
    "cut short": (flax.seeds()[0][:-9], "RA-IN-160"),
    "bytes at the end": (flax.seeds()[0] + b"\0", "RA-IN-160"),
    "map of 2^32 keys": (b"\x81\xa1k\xdf\xff\xff\xff\xff\xa1l\x01" + bytes(64), "RA-IN-160"),
    "text of 2^32 bytes": (b"\x81\xa1k\x81\xa1l\xdb\xff\xff\xff\xff" + bytes(64), "RA-IN-160"),
    "nested lists": (b"\x81\xa1k\x81\xa1l" + b"\x91" * 100_000 + b"\xc0", "RA-IN-161"),
    "very many items": (b"\x81\xa1k\x81\xa1l\xdd\x00\x30\x00\x00" + bytes(0x300000), "RA-IN-161"),
    "a key twice": (b"\x82\xa1k\x81\xa1l\x01\xa1k\x02" + b"", "RA-IN-160"),
    "array of more than its bytes": (
        flax.pack({"k": flax.msgpack.ExtType(1, flax.msgpack.packb(((1 << 40, 2), "float32", b"1234")))}),
        "RA-IN-160",
    ),
    "array whose sizes overflow": (
        flax.pack({"k": flax.msgpack.ExtType(1, flax.msgpack.packb(((1 << 62, 4), "float32", b"")))}),
        "RA-IN-160",
    ),
    "chunks that do not fit": (
        flax.pack({"k": {"a": {**flax.chunked(np.ones((2, 3)), 4), "shape": {"0": 7}}}}),
        "RA-IN-162",
    ),
}


@pytest.mark.parametrize("case", MESSAGEPACK)
def test_messagepack_that_is_refused(tmp_path: Path, case: str) -> None:
    data, code = MESSAGEPACK[case]
    (tmp_path / "m.msgpack").write_bytes(data)
    assert refusal(tmp_path / "m.msgpack").code == code


XML = openvino.model().xml()
ENTITIES = b'<!DOCTYPE net [<!ENTITY a "aa"><!ENTITY b "&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
GRAPHS = {
    "entities": (XML.replace(b"<net", ENTITIES + b"<net", 1), "RA-IN-203"),
    "document type": (XML.replace(b"<net", b"<!DOCTYPE net>\n<net", 1), "RA-IN-203"),
    "cut short": (XML[:400], "RA-IN-200"),
    "nested": (b"<net >" + b"<a>" * 100, "RA-IN-202"),
    "two operators of one number": (XML.replace(b'id="3"', b'id="2"', 1), "RA-IN-200"),
    "offset beyond the file": (XML.replace(b'offset="0"', b'offset="99999999"'), "RA-IN-204"),
    "size of another shape": (XML.replace(b'shape="4, 2, 4"', b'shape="4, 2, 8"'), "RA-IN-204"),
    "shape that overflows": (
        XML.replace(b'shape="4, 2, 4"', b'shape="999999999999, 999999999999"'),
        "RA-IN-204",
    ),
    "negative shape": (XML.replace(b'shape="4, 2, 4"', b'shape="-4, 2, -4"'), "RA-IN-204"),
    "offset of 20 digits": (XML.replace(b'offset="0"', b'offset="' + b"9" * 20 + b'"'), "RA-IN-204"),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_graphs_that_are_refused(tmp_path: Path, case: str) -> None:
    data, code = GRAPHS[case]
    (tmp_path / "m.xml").write_bytes(data)
    (tmp_path / "m.bin").write_bytes(openvino.model().values)
    assert refusal(tmp_path / "m.xml").code == code


def test_values_of_a_graph_stay_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "m.xml").write_bytes(XML)
    assert refusal(folder / "m.xml").code == "RA-IN-201"
    (tmp_path / "elsewhere.bin").write_bytes(openvino.model().values)
    (folder / "m.bin").symlink_to(tmp_path / "elsewhere.bin")
    assert refusal(folder / "m.xml").code == "RA-IN-081"


def test_operators_that_feed_each_other_end(tmp_path: Path) -> None:
    build = openvino.Model()
    first = build.operator("Convert", [1])
    build.operator("Reshape", [first, first])
    build.operator("Add", [1, first])
    build.operator("MatMul", [first, 1])
    chain = build.constant("w", np.ones((2, 2), np.float32))
    for _ in range(40):
        chain = build.operator("Multiply", [chain, chain])
    build.operator("MatMul", [first, chain])
    (tmp_path / "m.xml").write_bytes(build.xml())
    (tmp_path / "m.bin").write_bytes(build.values)
    with open_checkpoint(tmp_path / "m.xml") as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["w"]


MESSAGE, TEXT, VALUES = coreml.seed()


def stored(file: str, offset: int = 64) -> bytes:
    value = coreml.stored("fp16", (4, 8), offset, file)
    return bytes(coreml.case(coreml.program(coreml.operation("const", "w", (4, 8), val=value)), VALUES))


def repeated(key: int) -> bytes:
    """Return a program of blocks inside blocks."""
    inner = b""
    for _ in range(60):
        inner = coreml.field(3, coreml.field(1, "if") + coreml.field(key, inner))
    function = coreml.field(3, coreml.entry("CoreML8", inner))
    return bytes(coreml.field(502, coreml.field(2, coreml.entry("main", function))))


PROGRAMS = {
    "values outside": (stored("@model_path/../../../../etc/passwd"), "RA-IN-212"),
    "absolute values": (stored("/etc/passwd"), "RA-IN-212"),
    "drive": (stored("@model_path/C:\\x"), "RA-IN-212"),
    "offset beyond the file": (stored("@model_path/weights/weight.bin", 1 << 40), "RA-IN-213"),
    "offset between entries": (stored("@model_path/weights/weight.bin", 65), "RA-IN-213"),
    "no entry": (stored("@model_path/weights/weight.bin", 0), "RA-IN-213"),
    "values cut short": (coreml.case(MESSAGE, VALUES[:600]), "RA-IN-213"),
    "program cut short": (coreml.case(MESSAGE[:-40], VALUES), "RA-IN-210"),
    "nested blocks": (coreml.case(repeated(4), VALUES), "RA-IN-210"),
    "no ML program": (coreml.case(coreml.field(1, 4) + coreml.field(500, b""), VALUES), "RA-IN-211"),
    "text with other sizes": (coreml.case(TEXT.replace(b"[4, 8]", b"[4, 80]"), VALUES), "RA-IN-213"),
    "text without functions": (coreml.case(b"program(1.3)\n{}", VALUES), "RA-IN-210"),
    "text with open brackets": (coreml.case(TEXT.replace(b"linear(", b"linear(((("), VALUES), "RA-IN-210"),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_programs_that_are_refused(tmp_path: Path, case: str) -> None:
    data, code = PROGRAMS[case]
    assert refusal(coreml.write(data, tmp_path)).code == code


def test_links_out_of_a_package_are_refused(tmp_path: Path) -> None:
    package = coreml.write(coreml.seeds()[0], tmp_path)
    values = package / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    values.rename(tmp_path / "elsewhere.bin")
    values.symlink_to(tmp_path / "elsewhere.bin")
    assert refusal(package).code == "RA-IN-212"


@pytest.mark.parametrize(
    "manifest",
    [
        {"itemInfoEntries": {"m": {"path": "../../../etc/passwd"}}, "rootModelIdentifier": "m"},
        {"itemInfoEntries": {"m": {"path": "/etc/passwd"}}, "rootModelIdentifier": "m"},
        {"itemInfoEntries": {}, "rootModelIdentifier": "m"},
        [1],
        {"itemInfoEntries": {"m": {"path": 3}}, "rootModelIdentifier": "m"},
    ],
)
def test_manifests_that_are_refused(tmp_path: Path, manifest: Any) -> None:
    package = coreml.write(coreml.seeds()[0], tmp_path)
    (package / "Manifest.json").write_text(json.dumps(manifest))
    assert refusal(package).code in {"RA-IN-210", "RA-IN-212"}


def test_a_superblock_of_another_kind_is_named(tmp_path: Path) -> None:
    data = bytearray(keras.hdf5())
    data[8] = 9
    (tmp_path / "m.h5").write_bytes(data)
    error = refusal(tmp_path / "m.h5")
    assert error.code == "RA-IN-143"
    assert "superblock of version 9" in error.message


def test_names_that_are_no_text_or_print_nothing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["\x1b[31mred\r\n::error::"] = np.ones((2, 2))
    with open_checkpoint(tmp_path / "m.h5") as checkpoint:
        assert checkpoint.tensors[0].name == "\x1b[31mred\r\n::error::"
    data = (tmp_path / "m.h5").read_bytes().replace(b"\x1b[31mred", b"\xff\xfe31mred")
    (tmp_path / "m.h5").write_bytes(data)
    assert "not UTF-8" in refusal(tmp_path / "m.h5").message


@settings(max_examples=60)
@given(seed=st.integers(0, 100), picks=PICKS)
@pytest.mark.parametrize(
    "module", [keras, flax, openvino, coreml], ids=["keras", "flax", "openvino", "coreml"]
)
def test_broken_files_are_read_or_refused(module: Any, seed: int, picks: list[tuple[int, int, int]]) -> None:
    seeds = SEEDS.setdefault(module.__name__, module.seeds())
    module.target(module.mutate(seeds[seed % len(seeds)], picks))


SEEDS: dict[str, list[bytes]] = {}


def test_refusing_imports_no_torch(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        external_link(file)
    code = (
        "import sys\nfrom rmtaudit.checkpoints import open_checkpoint\n"
        f"try:\n    open_checkpoint({str(tmp_path / 'm.h5')!r})\nexcept Exception as e:\n    print(e.code)\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules, 'h5py' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["RA-IN-141", "False", "False", "False"]


def test_a_directory_of_links_that_never_ends(tmp_path: Path) -> None:
    """A B-tree whose node is its own child."""
    data = bytearray(keras.hdf5())
    at = data.index(b"TREE")
    data[at + 5] = 1
    struct.pack_into("<Q", data, at + 32, at)
    (tmp_path / "m.h5").write_bytes(data)
    assert refusal(tmp_path / "m.h5").code == "RA-IN-140"


def test_memory_is_bounded_by_the_file(tmp_path: Path) -> None:
    """A dataset of 2^50 bytes in a file of a few kilobytes is refused, or none of it is read."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("w", shape=(1 << 30, 1 << 18), dtype="f4", chunks=(64, 64))
    (tmp_path / "m.h5").write_bytes(buffer.getvalue())
    error = refusal(tmp_path / "m.h5")
    assert error.code in {"RA-IN-140", "RA-IN-009"}
