"""A tangent kernel of a trained network from the command line: killed, resumed, compared, and read.

    python benchmarks/ntk_digits.py                  # a convolutional network on sklearn's digits, 8,000 rows
    python benchmarks/ntk_digits.py --case words     # a two-layer transformer on short texts, 704 rows

The network is trained for a few seconds. ``rmtaudit kernel ntk`` is killed by SIGKILL when two fifths of the
blocks are finished, and resumed; every finished block must have the same bytes afterwards. The Jacobians of a
few samples anywhere, by ``torch.func.jacrev``, give the entries that the kernel is compared with. Then
``rmtaudit density`` and ``rmtaudit logdet`` read the array: exact, by stochastic Lanczos quadrature with
a lower bound of the spectrum (of the words also without), and by FLODANCE from the first half of the samples.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

NETS = '''
import torch
from torch import nn

def digits():
    """Three convolutions on 8 x 8 images, 10 outputs: 77,066 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )

class Language(nn.Module):
    """Two layers of a transformer on 7 tokens of 11, of which 0 is padding; 11 outputs."""

    def __init__(self):
        super().__init__()
        self.embed, self.places = nn.Embedding(11, 16, padding_idx=0), nn.Embedding(7, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 11, bias=False)

    def forward(self, x):
        hidden = self.embed(x) + self.places(torch.arange(x.shape[1])[None])
        return self.head(self.body(hidden).mean(1))

def words():
    return Language()
'''
SAMPLES = {"digits": 800, "words": 64}
BLOCK = {"digits": 80, "words": 8}
COMPARED = 24


def data(case: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return inputs and labels."""
    if case == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return digits.images[:, None] / 16, digits.target
    values = np.random.default_rng(0).integers(0, 11, (1200, 7))
    return values, np.array(
        [np.bincount(row, minlength=11).argmax() for row in values]
    )  # the commonest token


def module_of(case: str, state: Path | None = None) -> torch.nn.Module:
    """Return the network."""
    scope: dict[str, Any] = {}
    exec(NETS, scope)
    module: torch.nn.Module = scope[case]()
    if state is not None:
        module.load_state_dict(torch.load(state, weights_only=True))
    return module


def train(case: str, folder: Path) -> float:
    """Train on all but the last 360 samples, leave the files, and return the accuracy on those."""
    torch.manual_seed(0)
    inputs, labels = data(case)
    values = torch.from_numpy(inputs)
    values = values.float() if values.is_floating_point() else values
    targets = torch.from_numpy(labels)
    module, known = module_of(case), len(values) - 360
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    for _ in range(12 if case == "digits" else 40):
        for batch in torch.randperm(known).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(module(values[batch]), targets[batch]).backward()
            optimiser.step()
    (folder / "nets.py").write_text(NETS, encoding="utf-8")
    torch.save(module.state_dict(), folder / "state.pt")
    np.savez(folder / "data.npz", inputs=inputs, labels=labels)
    with torch.no_grad():
        return float((module.eval()(values[known:]).argmax(1) == targets[known:]).double().mean())


def command(*words: str) -> list[str]:
    """Return the command line of ``rmtaudit``."""
    return [sys.executable, "-m", "rmtaudit", *words, "--format", "json"]


def answered(folder: Path, *words: str) -> tuple[dict[str, Any], float]:
    """Return the document that a command prints, and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command(*words), cwd=folder, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not done.stdout:
        raise SystemExit(done.stderr)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    document: dict[str, Any] = json.loads(done.stdout)
    return document, seconds


def forming(case: str) -> list[str]:
    """Return the words of ``rmtaudit kernel``."""
    return [
        "kernel", "ntk", f"nets.py:{case}", "--state", "state.pt", "--allow-code", "--data", "data.npz",
        "--out", "K.zarr", "--limit", str(SAMPLES[case]), "--block", str(BLOCK[case]), "--shuffle",
        "--threads", "1",
    ]  # fmt: skip


def chunks(folder: Path, lines: list[str]) -> dict[str, str]:
    """Return the digests of the chunks of finished blocks, on both sides of the diagonal."""
    result = {}
    for line in lines:
        row, col = line.split()[:2]
        for name in (f"c/{row}/{col}", f"c/{col}/{row}"):
            result[name] = hashlib.sha256((folder / "K.zarr" / name).read_bytes()).hexdigest()
    return result


def form(case: str, folder: Path) -> None:
    """Form the kernel, killed once, and print what was lost."""
    blocks = -(-SAMPLES[case] // BLOCK[case])
    total = blocks * (blocks + 1) // 2
    journal = folder / "K.zarr/forming/journal"
    process = subprocess.Popen(command(*forming(case)), cwd=folder, stdout=subprocess.DEVNULL)
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2 * total // 5):
        if process.poll() is not None:
            raise SystemExit("the command ended before it was killed")
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = journal.read_text().splitlines()
    before = chunks(folder, lines)
    document, seconds = answered(folder, *forming(case), "--resume")
    same = chunks(folder, lines) == before
    run = document["run"]
    print(f"rows                     {document['result']['shape'][0]:,}")
    print(f"blocks                   {total}, {len(lines)} finished when it was killed")
    print(f"resumed                  {run['blocks_resumed']} kept, {run['blocks_damaged']} damaged")
    print(f"their chunks             {'unchanged' if same else 'CHANGED'}: {len(before)} by SHA-256")
    print(f"CPU seconds of the rest  {seconds:.1f}")
    print(f"journal unchanged        {journal.read_text().splitlines()[: len(lines)] == lines}")


def compare(case: str, folder: Path) -> None:
    """Print the largest difference from whole Jacobians of a few samples."""
    module = module_of(case, folder / "state.pt").double().eval()
    order = torch.randperm(SAMPLES[case], generator=torch.Generator().manual_seed(0))  # --shuffle, seed 0
    places = torch.randperm(SAMPLES[case], generator=torch.Generator().manual_seed(5))[:COMPARED]
    values = torch.from_numpy(data(case)[0])[order[places]]
    parameters = {name: each.detach() for name, each in module.named_parameters()}

    def run(own: dict[str, torch.Tensor], sample: torch.Tensor) -> torch.Tensor:
        returned: torch.Tensor = torch.func.functional_call(module, own, (sample[None],))[0]
        return returned

    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        jacobians = [torch.func.jacrev(run)(parameters, each) for each in values]
    whole = torch.cat([torch.cat([each.flatten(1) for each in one.values()], 1) for one in jacobians])
    true = whole @ whole.T
    outputs = len(whole) // COMPARED
    rows = (places[:, None] * outputs + torch.arange(outputs)).flatten().numpy()
    stored = torch.from_numpy(zarr.open_array(str(folder / "K.zarr"), mode="r").oindex[rows, rows])
    off = float((stored - true).abs().max() / true.abs().max())
    print(f"against jacrev           {off:.1e} of the largest entry, {COMPARED} samples anywhere")


def read(case: str, folder: Path) -> None:
    """Print the spectrum and the log-determinants."""
    document, seconds = answered(folder, "density", "K.zarr", "--symmetric", "--method", "eigenvalues")
    functionals = {name: each["value"] for name, each in document["prediction"]["functionals"].items()}
    print(f"density                  {document['verdict']['word']}, {seconds:.1f} CPU s")
    for name, value in functionals.items():
        print(f"    {name:<20} {value}")
    size = zarr.open_array(str(folder / "K.zarr"), mode="r").shape[0]
    samples = str(SAMPLES[case])
    half = str(SAMPLES[case] // 2)
    grown = ["--outputs", str(size // SAMPLES[case]), "--size", samples, "--up-to", half]
    lower = str(0.99 * functionals["lower_edge"])
    exact = log_determinant(folder, "exact", [], None)
    if case == "words":  # of the digits it takes minutes of CPU time
        log_determinant(folder, "slq", ["--method", "slq"], exact)
    log_determinant(folder, "slq --smallest", ["--method", "slq", "--smallest", lower], exact)
    log_determinant(folder, "flodance", ["--method", "flodance", *grown], exact)


def log_determinant(folder: Path, name: str, words: list[str], exact: float | None) -> float | None:
    """Print a log-determinant with its interval, and how far it is from the exact one."""
    document, seconds = answered(folder, "logdet", "K.zarr", "--symmetric", "--threads", "1", *words)
    result = document["result"]
    value: float | None = result["logdet"]
    if value is None:
        print(f"logdet {name:<17} {result['status']}: {result['reason']}; {seconds:.1f} CPU s", flush=True)
        return None
    margin = result["margin"]
    interval = f"{margin['kind']} {margin['low']:.2f} to {margin['high']:.2f}"
    off = (
        "" if exact is None else f", off by {abs(value - exact) / result['dimension']:.1e} nats per dimension"
    )
    print(f"logdet {name:<17} {value:.3f}{off}, {interval}; {seconds:.1f} CPU s", flush=True)
    return value


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--case", choices=SAMPLES, default="digits")
    parser.add_argument("--folder", type=Path, help="where the files go; otherwise they are removed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"accuracy                 {train(arguments.case, folder):.3f}", flush=True)
        form(arguments.case, folder)
        compare(arguments.case, folder)
        read(arguments.case, folder)


if __name__ == "__main__":
    main()
