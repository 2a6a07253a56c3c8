"""Rows 52-61 of the hostile corpus: pickles, and the archives around them."""

from __future__ import annotations

import io
import os
import pickle
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

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import CorruptError, InputError, NotACheckpointError, UnsafeError

Bytes = Callable[..., bytes]
Write = Callable[..., Path]

LEGACY = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


class Calls:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("container", ["zip", "raw", "legacy"])
def test_code_is_refused_and_does_not_run(
    torch_zip_bytes: Bytes, write: Write, tmp_path: Path, container: str, protocol: int
) -> None:
    witness = tmp_path / "witness"
    evil = pickle.dumps({"w": Calls(os.system, f"touch {witness}")}, protocol)
    data = {"zip": lambda: torch_zip_bytes(evil), "raw": lambda: evil, "legacy": lambda: LEGACY + evil}[
        container
    ]()
    error = refused(write(data, "model.pt"))
    assert isinstance(error, UnsafeError)
    assert error.message == f"The pickle contains code: {os.system.__module__}.system."
    assert not witness.exists()
    if container == "raw" and protocol == 4:  # the same file does run where it is unpickled
        pickle.loads(evil)
        assert witness.exists()


@pytest.mark.parametrize(
    "name",
    [
        b"builtins\neval", b"__builtin__\neval", b"builtins\nexec", b"builtins\n__import__",
        b"builtins\nopen", b"subprocess\nPopen", b"os\npopen", b"nt\nsystem", b"sys\nexit",
        b"shutil\nrmtree", b"socket\nsocket", b"importlib\nimport_module", b"runpy\nrun_path",
        b"pty\nspawn", b"code\ninteract", b"ctypes\nCDLL", b"pickle\nloads", b"_pickle\nloads",
        b"types\nCodeType", b"operator\nmethodcaller", b"torch.hub\nload", b"torch\nload",
        b"torch.serialization\nos.system",
        b"torch.nn\nModule.__init__.__globals__", b"webbrowser\nopen", b"numpy\nload", b"marshal\nloads",
    ],
)  # fmt: skip
def test_dangerous_names_are_refused_before_they_are_called(write: Write, name: bytes) -> None:
    error = refused(write(b"\x80\x02c" + name + b"\n.", "model.bin"))
    assert error.code == "RA-IN-040"
    assert error.message == f"The pickle contains code: {name.decode().replace(chr(10), '.')}."


def test_pickles_inside_pickles_are_not_read(write: Write) -> None:
    assert refused(write(pickle.dumps({"w": torch.ones(2)}), "m.pkl")).code == "RA-IN-045"


def test_obj_inst_newobj_and_stack_global_are_the_same_to_us(write: Write, opcodes: Any) -> None:
    programs = [
        b"\x80\x02(ios\nsystem\n.",
        b"\x80\x02(cos\nsystem\n" + opcodes.text("id") + b"o.",
        b"\x80\x02cos\nsystem\n(" + opcodes.text("id") + b"t\x81.",
        b"\x80\x04" + opcodes.text("os") + opcodes.text("system") + b"\x93.",
    ]
    for i, program in enumerate(programs):
        assert refused(write(program, f"{i}.pt")).code == "RA-IN-040"


def test_unknown_classes_are_not_built_and_are_walked(
    torch_zip_bytes: Bytes, write: Write, opcodes: Any
) -> None:
    foreign = b"cmypackage.nets\nNet\n)\x81}" + opcodes.text("weight") + opcodes.tensor() + b"sb"
    path = write(torch_zip_bytes(opcodes.mapping(net=foreign), {"0": bytes(24)}), "model.pt")
    with open_checkpoint(path) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["weight"]
        assert "objects of 1 foreign classes were not built: mypackage.nets.Net" in checkpoint.warnings


BROKEN_TENSORS: dict[str, dict[str, Any]] = {
    "offset": {"offset": 1},
    "size": {"shape": (3, 3)},
    "stride": {"stride": (6, 1)},
    "negative offset": {"offset": -1},
    "negative stride": {"stride": (-3, 1)},
    "negative size": {"shape": (-2, 3)},
    "overflow": {"shape": (2**40, 2**40)},
    "strides": {"stride": (3,)},
}


@pytest.mark.parametrize("row", BROKEN_TENSORS)
def test_tensors_outside_their_storage(torch_zip_bytes: Bytes, write: Write, opcodes: Any, row: str) -> None:
    pickled = opcodes.mapping(w=opcodes.tensor(**BROKEN_TENSORS[row]))
    error = refused(write(torch_zip_bytes(pickled, {"0": bytes(24)}), "model.pt"))
    assert error.code == "RA-IN-052"
    assert error.message.startswith("Tensor 'w': ")


@pytest.mark.parametrize(("record", "code"), [(23, "RA-IN-051"), (25, "RA-IN-051"), (0, "RA-IN-051")])
def test_records_of_the_wrong_size(
    torch_zip_bytes: Bytes, write: Write, opcodes: Any, record: int, code: str
) -> None:
    pickled = opcodes.mapping(w=opcodes.tensor())
    assert refused(write(torch_zip_bytes(pickled, {"0": bytes(record)}), "model.pt")).code == code


def test_a_missing_record(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    pickled = opcodes.mapping(w=opcodes.tensor())
    assert refused(write(torch_zip_bytes(pickled), "model.pt")).code == "RA-IN-050"


def test_four_bytes_are_not_four_terabytes(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    bomb = opcodes.tensor((10**6, 10**6), (0, 0), stored=opcodes.storage(numel=1))
    with open_checkpoint(
        write(torch_zip_bytes(opcodes.mapping(w=bomb), {"0": bytes(4)}), "m.pt")
    ) as checkpoint:
        (spec,) = checkpoint.tensors
        assert spec.unreadable == "overlapping strides: 4000000000000 bytes of values over 4 bytes"
        with pytest.raises(InputError, match="overlapping strides"):
            checkpoint.read("w")


def test_a_stride_that_is_never_taken_may_be_anything(
    torch_zip_bytes: Bytes, write: Write, opcodes: Any
) -> None:
    odd = opcodes.tensor((1, 6), (2**70, 1))
    with open_checkpoint(
        write(torch_zip_bytes(opcodes.mapping(w=odd), {"0": bytes(24)}), "m.pt")
    ) as checkpoint:
        assert checkpoint.read("w").shape == (1, 6)


def test_big_endian_records_are_turned_round(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    data = struct.pack(">6f", *range(6))
    pickled = opcodes.mapping(w=opcodes.tensor())
    path = write(torch_zip_bytes(pickled, {"0": data}, extra={"archive/byteorder": b"big"}), "m.pt")
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.read("w").flatten().tolist() == [0, 1, 2, 3, 4, 5]
    path = write(torch_zip_bytes(pickled, {"0": data}, extra={"archive/byteorder": b"middle"}), "m2.pt")
    assert refused(path).code == "RA-IN-066"


def test_a_deflate_bomb_is_refused_at_once(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    pickled = opcodes.mapping(w=opcodes.tensor((1 << 22,), (1,), stored=opcodes.storage(numel=1 << 22)))
    path = write(torch_zip_bytes(pickled, {"0": bytes(1 << 24)}, compression=zipfile.ZIP_DEFLATED), "m.pt")
    assert path.stat().st_size < 1 << 16
    clock = Clock()
    tracemalloc.start()
    error = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "RA-IN-058"
    assert peak < 1 << 20
    assert clock.seconds() < 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("archive/../../evil", "RA-IN-060"),
        ("/etc/evil", "RA-IN-060"),
        ("C:\\evil", "RA-IN-060"),
        ("archive\\..\\evil", "RA-IN-060"),
        ("other/data.pkl", "RA-IN-064"),
        ("other/readme", "RA-IN-064"),
    ],
)
def test_entries_that_do_not_belong(
    torch_zip_bytes: Bytes, write: Write, opcodes: Any, name: str, code: str
) -> None:
    pickled = opcodes.mapping(w=opcodes.tensor())
    assert refused(write(torch_zip_bytes(pickled, {"0": bytes(24)}, extra={name: b""}), "m.pt")).code == code


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    pickled = opcodes.mapping(w=opcodes.tensor())
    data = torch_zip_bytes(pickled, {"0": bytes(24)}, extra={"archive/data/0": bytes(24)})
    assert refused(write(data, "m.pt")).code == "RA-IN-059"


def test_an_encrypted_entry(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    data = bytearray(torch_zip_bytes(opcodes.mapping(w=opcodes.tensor()), {"0": bytes(24)}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert refused(write(bytes(data), "m.pt")).code == "RA-IN-058"


def test_overlapping_entries(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    data = bytearray(torch_zip_bytes(opcodes.mapping(w=opcodes.tensor()), {"0": bytes(24), "1": bytes(24)}))
    second = data.rindex(b"PK\x01\x02")
    first = data.rindex(b"PK\x01\x02", 0, second)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    assert refused(write(bytes(data), "m.pt")).code == "RA-IN-061"


def test_a_local_header_that_differs(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    data = bytearray(torch_zip_bytes(opcodes.mapping(w=opcodes.tensor()), {"0": bytes(24)}))
    at = data.index(b"archive/data/0")
    data[at + 13] = ord("9")
    assert refused(write(bytes(data), "m.pt")).code == "RA-IN-062"


def test_truncated_and_extended_archives(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    data = torch_zip_bytes(opcodes.mapping(w=opcodes.tensor()), {"0": bytes(24)})
    error = refused(write(data[:-30], "cut.pt"))
    assert (error.code, error.hint) == ("RA-IN-056", "Download it again.")
    assert refused(write(data + b"more", "more.pt")).code == "RA-IN-062"


def test_sixty_five_thousand_entries(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    extra = {f"archive/.x/{i}": b"" for i in range(65_600)}
    data = torch_zip_bytes(opcodes.mapping(w=opcodes.tensor()), {"0": bytes(24)}, extra=extra)
    clock = Clock()
    with open_checkpoint(write(data, "m.pt")) as checkpoint:
        assert len(checkpoint.tensors) == 1
    assert clock.seconds() < 5


def test_a_zip_that_claims_a_billion_entries(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    data = bytearray(torch_zip_bytes(opcodes.mapping(w=opcodes.tensor()), {"0": bytes(24)}))
    end = data.rindex(b"PK\x05\x06")
    position = struct.unpack_from("<L", data, end + 16)[0]
    size = end - position
    wide = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**9, 10**9, size, position)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    assert refused(write(bytes(data[:end]) + wide + locator + bytes(data[end:]), "m.pt")).code == "RA-IN-057"


def test_billion_laughs_are_walked_once(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    layers = b"]q\x00" + opcodes.tensor() + b"a"  # [tensor]
    for level in range(1, 60):  # [previous, previous]
        layers += b"]q" + bytes([level]) + b"(h" + bytes([level - 1]) + b"h" + bytes([level - 1]) + b"e"
    clock = Clock()
    with open_checkpoint(
        write(torch_zip_bytes(b"\x80\x02" + layers + b".", {"0": bytes(24)}), "m.pt")
    ) as found:
        assert len(found.tensors) == 1
    assert clock.seconds() < 1


def test_exponential_keys_are_refused(write: Write) -> None:
    key = b")" + b"2\x86" * 60
    clock = Clock()
    error = refused(write(b"\x80\x02}" + key + b"Ns.", "m.pt"))
    assert error.code == "RA-IN-043"
    assert "nested too deeply" in error.message
    assert clock.seconds() < 1


def test_integers_made_to_collide_are_refused(write: Write, opcodes: Any) -> None:
    error = refused(write(b"\x80\x02}" + opcodes.integer(5 * (2**61 - 1)) + b"Ns.", "m.pt"))
    assert "too large an integer" in error.message


def test_ten_thousand_levels(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    deep = b"\x80\x02" + b"]" * 10_000 + opcodes.tensor() + b"a" * 10_000 + b"."
    assert refused(write(torch_zip_bytes(deep, {"0": bytes(24)}), "m.pt")).code == "RA-IN-044"


def test_cycles_end(torch_zip_bytes: Bytes, write: Write, opcodes: Any) -> None:
    cyclic = (
        b"\x80\x02}q\x00(" + opcodes.text("self") + b"h\x00" + opcodes.text("w") + opcodes.tensor() + b"u."
    )
    with open_checkpoint(write(torch_zip_bytes(cyclic, {"0": bytes(24)}), "m.pt")) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["w"]
    wrapped = b"\x80\x02}q\x00" + opcodes.text("model") + b"h\x00s."
    assert refused(write(wrapped, "cycle.pt")).code == "RA-IN-073"


def test_copies_without_end_are_refused(write: Write, opcodes: Any) -> None:
    big = opcodes.text("x" * 1_000_000)
    calls = b"c_codecs\nencode\n(" + b"h\x00" + opcodes.text("latin1") + b"tR0"
    assert refused(write(b"\x80\x02" + big + b"q\x00" + calls * 30 + b".", "m.pt")).code == "RA-IN-042"


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02\x8e" + b"\xff" * 7 + b"\x3f.",  # BINBYTES8 of 2^62 bytes
        b"\x80\x05\x96" + (2**45).to_bytes(8, "little") + b"x.",  # BYTEARRAY8
        b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"N.",  # FRAME
        b"\x80\x02Nr\xff\xff\xff\xff.",  # LONG_BINPUT of index 2^32 - 1
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    ],
)
def test_claimed_lengths_take_no_memory(write: Write, program: bytes) -> None:
    tracemalloc.start()
    error = refused(write(program, "m.pkl"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(error, CorruptError | NotACheckpointError)
    assert peak < 5_000_000


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02.", b"\x80\x02}", b"\x80\x02\xff.", b"\x80\x02h\x05.", b"\x80\x02R.", b"\x80\x02NNR.",
        b"\x80\x02]Na", b"\x80\x02Nb.", b"\x80\x02\x80\x63N.", b"\x80\x02(.", b"\x80\x02e.",
        b"\x80\x02\x82\x01.", b"\x80\x05\x97.", b"\x80\x02K\x01Q.", b"\x80\x02}]Ns.", b"\x80\x02}(Nu.",
        b"\x80\x02N]a.", b"\x80\x02S'\\d'\n.", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02ctorch\nFloatStorage\n)R.", b"\x80\x02ccollections\nOrderedDict\n](NNe\x85R.",
        b"\x80\x02I12x\n.",
    ],
)  # fmt: skip
def test_malformed_pickles_are_refused(write: Write, program: bytes) -> None:
    assert refused(write(program, "m.pkl")).code in {"RA-IN-043", "RA-IN-073"}


def legacy_bytes() -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(6.0)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def test_legacy_files_cut_changed_and_extended(write: Write) -> None:
    data = legacy_bytes()
    error = refused(write(data[:-4], "cut.pt"))
    assert (error.code, error.hint) == ("RA-IN-075", "Download it again.")
    changed = bytearray(data)
    changed[-32] = 5  # the count in front of the storage
    assert refused(write(bytes(changed), "changed.pt")).code == "RA-IN-051"
    assert refused(write(data[:200], "pickle.pt")).code == "RA-IN-043"
    with open_checkpoint(write(data + b"tail", "tail.pt")) as checkpoint:
        assert "4 bytes follow the checkpoint and were not read" in checkpoint.warnings


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutation_opens_or_raises_input_error(
    torch_zip_bytes: Bytes, write: Write, opcodes: Any, data: Any
) -> None:
    archive = data.draw(st.booleans())
    pickled = opcodes.mapping(w=opcodes.tensor(), b=opcodes.tensor((3,), (2,), 1))
    whole = bytearray(torch_zip_bytes(pickled, {"0": bytes(24)}) if archive else legacy_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(whole) - 1, 0)))
        if data.draw(st.booleans()) and whole:
            whole[at] = data.draw(st.integers(0, 255))
        else:
            whole[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    error = outcome(write(bytes(whole), "m.pt"))
    assert error is None or str(error).isprintable()


INSTRUCTIONS = [bytes([op]) for op in b"()]}0.12aehqrstubeRNKMQX\x81\x85\x86\x87\x88\x8f\x90\x91\x93"]
INSTRUCTIONS += [b"\x00", b"\x01", b"X\x01\x00\x00\x00w", b"cfoo\nBar\n", b"cnumpy\ndtype\n"]
INSTRUCTIONS += [b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.lists(st.sampled_from(INSTRUCTIONS), max_size=30))
def test_any_program_opens_or_raises_input_error(write: Write, program: list[bytes]) -> None:
    error = outcome(write(b"\x80\x02" + b"".join(program) + b".", "m.pkl"))
    assert error is None or str(error).isprintable()


def outcome(path: Path) -> InputError | None:
    """Open a file and read all of it; return the refusal, and let any other exception out."""
    try:
        with open_checkpoint(path) as checkpoint:
            for spec in checkpoint.tensors:
                if spec.unreadable is None:
                    assert tuple(checkpoint.read(spec.name).shape) == spec.shape
    except InputError as error:
        return error
    return None
