"""A page that shows all figures of a folder, with the names of the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from rmtaudit.names import display_name

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
body { margin: 1rem auto; max-width: 100rem; padding: 0 1rem; }
nav { columns: 22rem; font-size: .85rem; margin-bottom: 1rem; }
nav a { display: block; overflow-wrap: anywhere; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(34rem, 100%), 1fr)); }
figure { margin: 0; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
img { background: #fff; height: auto; width: 100%; }
"""


_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A figure: what it is called, and its file beside the page."""

    title: str
    file: str


def index_page(subject: str, entries: Sequence[Entry], left_out: Mapping[str, str]) -> str:
    """Return the page as HTML: links to the figures, the figures, and which layers were not drawn and why."""
    title = escape(display_name(subject))
    links = "\n".join(
        f'<a href="#plot-{index}">{escape(entry.title)}</a>' for index, entry in enumerate(entries)
    )
    figures = "\n".join(_figure(index, entry) for index, entry in enumerate(entries))
    missing = "".join(
        f"<li>{escape(display_name(name))}: {escape(reason)}</li>\n" for name, reason in left_out.items()
    )
    not_drawn = f"<h2>Not drawn</h2>\n<ul>\n{missing}</ul>\n" if missing else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Spectra of {title}</title>
<style>{_STYLE}</style>
<h1>Spectra of {title}</h1>
<nav aria-label="Figures">
{links}
</nav>
<main>
{figures}
</main>
{not_drawn}</html>
"""


def _figure(index: int, entry: Entry) -> str:
    file = quote(entry.file)
    image = f'<img src="{file}" loading="lazy" alt="{escape(entry.title, quote=True)}">'
    caption = f"<figcaption>{escape(entry.title)}</figcaption>"
    return f'<figure id="plot-{index}">{caption}<a href="{file}">{image}</a></figure>'
