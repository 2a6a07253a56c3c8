"""How the activations of a network look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.names import display_name

_SHOWN = 3
_NOTES = (
    "rank: effective rank of the covariance of a layer's inputs, corrected for the number of "
    "samples, ± its standard error. top, lowest: variance of the inputs along the weight's top "
    "and lowest singular directions, 1 for random directions; (z) in their standard deviations. "
    "made, random: effective rank of the features that the layer computes, and of those that "
    "random weights compute."
)


def draw_activations(console: Console, document: Mapping[str, Any], *, top: int) -> None:
    """Print the document of :mod:`rmtaudit.engine.activations.requests` on a console; ``top`` 0: all rows."""
    subject, run = document["subject"], document["run"]
    console.print(Text(display_name(subject["network"]["name"]), style="bold", overflow="fold"))
    data, method = subject["data"], document["method"]
    console.print(
        Text(
            f"{data['samples']:,} samples of {data['name']}, {method['row']}; network in"
            f" {subject['network']['dtype']}",
            style="dim",
        )
    )
    layers = document["layers"]
    shown = layers[:top] if top else layers
    console.print(_table([each for each in shown if each["status"] == "ok"]))
    for each in shown:
        if each["status"] != "ok":
            console.print(Text(f"{display_name(each['name'])}: {_reason(each, method)}", style="yellow"))
    needs = {
        f"{_words(name)}: {number['reason']}": None
        for each in shown
        for name, number in each["numbers"].items()
        if number["status"] == "too few samples"
    }
    for line in list(needs)[-_SHOWN:]:
        console.print(Text(f"too few samples for some layers; {line}", style="yellow"))
    failed = [
        f"{display_name(each['name'])}: no {_words(name)}: {number['reason']}"
        for each in shown
        if each["shares_input_with"] is None
        for name, number in each["numbers"].items()
        if number["status"] == "failed"
    ]
    for line in failed[:_SHOWN]:
        console.print(Text(line, style="yellow"))
    if len(failed) > _SHOWN:
        console.print(Text(f"and {len(failed) - _SHOWN:,} more numbers", style="yellow"))
    if len(shown) < len(layers):
        console.print(Text(f"and {len(layers) - len(shown):,} more layers: --top 0", style="dim"))
    for warning in document["warnings"]:
        console.print(Text(f"{warning['code']} {warning['message']}", style="yellow"))
    console.print(Text(_NOTES, style="dim"))
    threads = f"{run['threads']} thread{'s' * (run['threads'] != 1)}"
    console.print(
        Text(f"{run['wall_seconds']:.1f} s ({run['cpu_seconds']:.1f} s CPU), {threads}", style="dim")
    )


def _reason(layer: Mapping[str, Any], method: Mapping[str, Any]) -> str:
    if layer["reason"] == "too few samples":
        return f"too few samples: at least {method['fewest_samples']} are needed"
    return {
        "not run": "it does not run on these samples",
        "no row for each sample": "its input does not have one row for each sample",
        "memory": "it does not fit the memory: --memory",
        "constant input": "its input is the same for all samples",
        "not finite": "its input is not finite",
    }[layer["reason"]]


def _table(layers: list[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("layer", overflow="fold")
    for head in ("inputs", "rank", "log det", "alpha", "kappa", "fit", "top", "lowest", "made", "random"):
        table.add_column(head, justify="right", no_wrap=True)
    for layer in layers:
        facts, numbers = layer["activations"], layer["numbers"]
        mark = "*" if facts["lengths"]["uneven"] else ""
        if layer["shares_input_with"] is None:
            own = (
                f"{layer['shape'][1]}",
                _number(numbers["effective_rank"]) + mark,
                _number(numbers["log_determinant"]) + mark,
                _plain(numbers["alpha"]["value"]),
                _plain(numbers["kappa"]["value"]),
                _plain((facts["law"] or {}).get("ks_distance")),
            )
        else:
            own = (f"{layer['shape'][1]}", "same input", "", "", "", "")
        table.add_row(
            Text(display_name(layer["name"])),
            *(Text(cell) for cell in own),
            *(Text(_overlap(facts["overlap"], end)) for end in ("top", "lowest")),
            *(Text(cell) for cell in _made(facts["conjugate"])),
        )
    return table


def _number(number: Mapping[str, Any]) -> str:
    if number["value"] is None:
        return str(number["reason"] if number["status"] == "too few samples" else number["status"])
    return f"{number['value']:.4g} ± {number['se']:.1g}"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _overlap(overlap: Mapping[str, Any] | None, end: str) -> str:
    if overlap is None:
        return ""
    z = overlap[end]["z"]
    return f"{overlap[end]['overlap']:.2g}" + ("" if z is None else f" ({z:+.1f})")


def _made(conjugate: Mapping[str, Any] | None) -> tuple[str, str]:
    if conjugate is None:
        return "", ""
    ranks = conjugate["effective_rank"]
    return f"{ranks['measured']:.3g}", f"{ranks['random_mean']:.3g} ± {ranks['random_sd']:.1g}"


def _words(name: str) -> str:
    return name.replace("_", " ")
