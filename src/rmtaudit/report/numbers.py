"""Numbers as people read them: few digits, one form everywhere."""

from __future__ import annotations

import math

from rmtaudit.names import display_name
from rmtaudit.report.model import MetricResult

_SHORT = 0.1
_MOST_DECIMALS = 12  # of a percentage: a double near 100 has no more
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def format_value(value: float | int | str | bool | None) -> str:
    """Return a value with four significant digits; ``—`` for none, ``yes`` or ``no``, a text printable."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return display_name(value) or "—"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**9 else f"{value:.3e}"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        return f"{value:.{max(3 - exponent, 0)}f}"
    return f"{value:.3e}"


def format_metric(result: MetricResult | None, *, with_se: bool) -> str:
    """Return a metric's value, with its interval or standard error where it has one and that is asked for.

    ``3.21 [2.60–3.87]`` or ``3.21 ± 0.15``: two decimals, so that a column of them can be compared, or with
    exponents where that would be uninformative. A count that is a lower bound reads ``≥14``; a metric that
    failed ``failed``; one that does not apply, or that the layer does not have, ``—``.
    """
    if result is None or result.status == "skipped":
        return "—"
    if result.status == "failed":
        return "failed"
    value, se, ci = result.value, result.se, result.ci
    if isinstance(value, int) and ci is not None and value == ci[0] < ci[1]:
        return f"≥{format_value(value)}"
    if not with_se or se is None or isinstance(value, bool | str) or value is None:
        return format_value(value)
    if ci is not None and ci[1] - ci[0] >= 0.005 and max(map(abs, ci)) < 1000:
        return f"{value:.2f} [{ci[0]:.2f}–{ci[1]:.2f}]"
    if 0.005 <= se < 1000 and abs(value) < 10**6:
        return f"{value:.2f} ± {se:.2f}"
    return f"{format_value(float(value))} ± {se:.1e}"


def human_count(count: int) -> str:
    """Return a count with three significant digits and a decimal prefix: ``22.7 M``; below 1000 as it is."""
    if count < 1000:
        return str(count)
    power = min((len(str(count)) - 1) // 3, len(_PREFIXES) - 1)
    number = count / 1000**power
    if float(f"{number:.3g}") >= 1000 and power < len(_PREFIXES) - 1:
        number, power = number / 1000, power + 1
    text = f"{number:.3g}" if number < 1000 else f"{number:.0f}"
    return f"{text} {_PREFIXES[power]}"


def percent(fraction: float) -> str:
    """Return a share as ``99.4 %``, or with as many digits as it takes to tell it from nothing and from all.

    ``0.00007 %``, ``99.9998 %``; ``0 %`` and ``100 %`` are for nothing and all alone.
    """
    if fraction in (0, 1):
        return f"{fraction:.0%}".replace("%", " %")
    share = 100 * fraction
    rest = min(share, 100 - share)
    if rest >= _SHORT:
        return f"{share:.1f} %"
    decimals = min(-math.floor(math.log10(rest)), _MOST_DECIMALS) if rest > 0 else _MOST_DECIMALS
    smallest = 10.0**-decimals
    return f"{min(max(share, smallest), 100 - smallest):.{decimals}f} %"
