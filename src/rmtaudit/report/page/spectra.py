"""The gallery of spectra on a page: two charts a layer, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rmtaudit.names import display_name
from rmtaudit.report.cells import shape_cell, signal_cell
from rmtaudit.report.model import LayerResult
from rmtaudit.report.page.parts import Fact, State, state_of
from rmtaudit.report.plots.esd import EsdCharts, EsdCollector
from rmtaudit.report.plots.svg import chart_svg

BUDGET = 3_400_000
"""Bytes of the charts of one page, so that a page of 300 layers stays below 5 MB."""

OPEN = 12
"""Panels that are shown at once; the others open on demand, and are not printed."""

_NOT_SAVED = (
    "A saved report holds no spectra, so there is nothing to draw here. Run rmtaudit scan MODEL "
    "-o report.html to draw every layer while its spectrum is available."
)
_NOT_COMPUTED = "The analyzers of this scan computed no spectrum that could be drawn."
_MOST_REASONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelView:
    """The charts of one layer."""

    id: str
    name: str
    state: State
    about: str
    linear: Markup
    logarithmic: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The panels of a report, worst layers first, and what has none.

    ``places`` are the ids of the panels by the name of the layer.
    """

    panels: tuple[PanelView, ...]
    places: Mapping[str, str]
    remark: str
    not_drawn: tuple[Fact, ...]

    @property
    def first(self) -> tuple[PanelView, ...]:
        """Those that are shown at once."""
        return self.panels[:OPEN]

    @property
    def rest(self) -> tuple[PanelView, ...]:
        """The others."""
        return self.panels[OPEN:]


def gallery(
    layers: Sequence[LayerResult],
    texts: Mapping[str, str],
    esd: EsdCollector | None,
    ident: str,
    budget: int = BUDGET,
) -> Gallery:
    """Return the panels of layers, in their order, as many as the budget of bytes allows.

    ``esd`` has the charts; ``None`` for a report that was saved before, which has none.
    """
    if esd is None:
        return Gallery(panels=(), places={}, remark=_NOT_SAVED, not_drawn=())
    charts, left_out = esd.charts, esd.left_out
    panels: list[PanelView] = []
    places: dict[str, str] = {}
    used = beyond = 0
    for layer in layers:
        if layer.name not in charts:
            continue
        panel = _panel(layer, texts[layer.name], charts[layer.name], f"{ident}-esd-{len(panels)}")
        used += len(panel.linear) + len(panel.logarithmic)
        if used > budget:
            beyond = sum(other.name in charts for other in layers) - len(panels)
            break
        panels.append(panel)
        places[layer.name] = panel.id
    remark = "" if panels else _NOT_COMPUTED
    if beyond:
        remark = (
            f"{beyond} more layers are omitted to keep the page small; run rmtaudit scan --plots "
            "DIR to draw every layer."
        )
    reasons = [Fact(texts.get(name, name), why) for name, why in sorted(left_out.items())]
    if len(reasons) > _MOST_REASONS:
        reasons = [*reasons[:_MOST_REASONS], Fact(f"and {len(reasons) - _MOST_REASONS} more", "")]
    return Gallery(panels=tuple(panels), places=places, remark=remark, not_drawn=tuple(reasons))


def _panel(layer: LayerResult, text: str, charts: EsdCharts, ident: str) -> PanelView:
    linear, logarithmic = (
        Markup(chart_svg(chart, f"{ident}-{letter}-", f"Eigenvalues of {display_name(text)}, {axes}"))
        for chart, letter, axes in (
            (charts.linear, "a", "linear axes"),
            (charts.logarithmic, "b", "logarithmic axes, with the laws that were fitted"),
        )
    )
    return PanelView(
        id=ident,
        name=text,
        state=state_of(layer.integrity.word),
        about=f"{shape_cell(layer)} · {layer.kind} · {signal_cell(layer)}",
        linear=linear,
        logarithmic=logarithmic,
    )
