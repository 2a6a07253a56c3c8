"""How a probe looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from rmtaudit.cli.edit_tables import print_rows
from rmtaudit.cli.grid import label_grid
from rmtaudit.names import display_name

_NOT_FINITE = "not finite"


def draw_probe(console: Console, document: Mapping[str, Any], top: int) -> None:
    """Print the document of :mod:`rmtaudit.report.probe`; ``top`` rows of the table, 0 for all."""
    console.print(Text(document["subject"]["model"], style="bold", overflow="fold"))
    console.print(label_grid(_facts(document)))
    for warning in document["warnings"]:
        console.print(Text(f"{warning['code']} {warning['message']}", style="yellow"))
    with_edit = document["edit"] is not None
    heads = (
        "layer",
        "shape",
        *(("harm", "±", "2nd order", "kind", "error") if with_edit else ("sensitivity", "±")),
    )
    rows = [_row(each, with_edit=with_edit) for each in document["layers"]]
    print_rows(console, heads, rows, top)
    console.print(Text(_legend(with_edit=with_edit), style="dim"))
    if document["advice"] is not None:
        for line in _advice(document):
            console.print(Text(line))
    run = document["run"]
    console.print(
        Text(
            f"{len(rows):,} layers; {run['wall_seconds']:.1f} s ({run['cpu_seconds']:.1f} s CPU),"
            f" {run['threads']} thread{'s' * (run['threads'] != 1)}",
            style="dim",
        )
    )


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    noise, edit = document["noise"], document["edit"]
    if edit is not None:
        settings = [f"{key} {value}" for key, value in edit.items() if key != "kind" and value is not None]
        yield "edit", f"{edit['kind']}, {', '.join(settings)}, one layer at a time"
    yield "inputs", document["inputs"]["description"]
    yield "measured", document["measure"]["description"]
    yield "noise", f"{noise['draws']} draws of relative size {noise['relative_size']:g}"


def _row(layer: Mapping[str, Any], *, with_edit: bool) -> tuple[str, ...]:
    count = f"{layer['matrices']}×" if layer["matrices"] > 1 else ""
    shape = count + "×".join(map(str, layer["shape"]))
    main = layer["harm"] if with_edit else layer["sensitivity"]
    value = _NOT_FINITE if main is None else f"{main['value']:.3g}"
    error = "" if main is None or main["se"] is None else f"{main['se']:.1g}"
    if not with_edit:
        return display_name(layer["name"]), shape, value, error
    others = [layer["second_order"], layer["kind_harm"], layer["relative_error"]]
    return (
        display_name(layer["name"]), shape, value, error,
        *("" if each is None else f"{each:.3g}" for each in others),
    )  # fmt: skip


def _legend(*, with_edit: bool) -> str:
    if not with_edit:
        return (
            "sensitivity: change of the output under noise in the layer, over the square of the noise's "
            "relative size. ±: standard error."
        )
    return (
        "harm: change of the output when this layer alone is edited. ±: standard error. 2nd "
        "order: the effect of noise of the edit's size. kind: mean harm of the other layers of "
        "its kind. error: norm of the change over that of the weight."
    )


def _advice(document: Mapping[str, Any]) -> Iterator[str]:
    advice = document["advice"]
    every = _NOT_FINITE if advice["every"] is None else f"{advice['every']:.3g}"
    yield f"All layers edited: {every} measured, {advice['total']:.3g} the sum over layers."
    keep = advice["keep"]
    if not keep:
        yield (
            "No small group of layers accounts for half of the harm, so exempting some layers gains little."
        )
        return
    others = _NOT_FINITE if advice["others"] is None else f"{advice['others']:.3g}"
    plural = "s" * (len(keep) != 1)
    yield (
        f"All but {len(keep)} layer{plural} ({advice['share']:.1%} of the parameters): {others} measured. "
        f"Leave as {'they are' if plural else 'it is'}:"
    )
    for name in keep:
        yield f"  {display_name(name)}"
