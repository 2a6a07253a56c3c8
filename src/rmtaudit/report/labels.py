"""Names of layers as a table shows them: what they share is stated once, and no two rows look alike.

:func:`labels_of` strips the prefix and the suffix that most names have, at the separators of the name,
and says so in one line: ``model.layers.*.weight``. A name that lacks either is shown in full.
:meth:`Labels.fitted` then shortens what is too long for a column. Whatever the width, two names that differ
are shown as two texts that differ, and the number of the block stays: where a narrow column cannot hold both,
the text is wider than it.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rmtaudit.names import display_name

_TOKEN = re.compile(r"[^./:]*[./:]?")
_SEPARATORS = "./:"
_PART = re.compile(r"#[^#./:]*$")
"""What names a part of a tensor, as ``#q`` in ``attn.qkv.weight#q``."""

_NUMBER = re.compile(r"(?<!\d)\d{1,6}(?!\d)")
_MOST_NUMBERS = 4
"""Numbers of a name that always stay: blocks, stages and experts are counted by no more."""

_LONGEST_TOKEN = 16
_SHARE = 0.75
"""Share of the names that must have the prefix and the suffix that are stripped."""

_STEP = 4
_MOST_COMPARISONS = 1_000_000
"""About a second, for the tens of thousands of layers of a mixture of experts."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The texts that stand for names.

    Attributes
    ----------
    texts
        One for each name, in their order; they differ where the names differ.
    rule
        What was stripped, with ``*`` for the text; empty where nothing was.
    """

    texts: tuple[str, ...]
    rule: str = ""

    def fitted(
        self, width: int, *, measure: Callable[[str], int] = len, ellipsis: str = "…"
    ) -> tuple[str, ...]:
        """Return the texts in at most ``width`` cells each where that leaves them distinct.

        ``measure`` returns the cells that a text takes. Numbers of up to six digits, the first four of a
        name, are never cut; equal texts stay equal.
        """
        known = _Known(dict.fromkeys(self.texts))
        shown = {text: _fitted(text, width, known, measure, ellipsis) for text in known.forward}
        while clashing := _clashing(shown):  # names that hold the sign of a gap themselves
            shown |= {text: text for text in clashing}
        return tuple(shown[text] for text in self.texts)


def labels_of(names: Sequence[str], *, printable: Callable[[str], str] | None = None) -> Labels:
    """Return the texts for names, which are hostile: control characters are written as escapes.

    ``printable`` makes a name printable, by default :func:`rmtaudit.names.display_name` without a limit of
    length. Names that look the same once they are printable get their place among the names in addition.
    """
    show = printable or _printable
    parts = [_PART.search(name) for name in names]
    stems = [name[: part.start()] if part else name for name, part in zip(names, parts, strict=True)]
    distinct = list(dict.fromkeys(stems))
    for prefix, suffix in _affixes(distinct):
        cut = {stem: _stripped(stem, prefix, suffix) for stem in distinct}
        outside = [stem for stem, inner in cut.items() if inner is None]
        if not all(_is_whole(stem, prefix, suffix) for stem in outside):
            continue
        raw = [
            (inner if (inner := cut[stem]) is not None else stem) + (part.group() if part else "")
            for stem, part in zip(stems, parts, strict=True)
        ]
        texts = [show(text) for text in raw]
        if len(set(texts)) == len(set(names)):
            return Labels(tuple(texts), f"{prefix and show(prefix)}*{suffix and show(suffix)}")
    return Labels(told_apart(names, [show(name) for name in names]))


def whole_labels(names: Sequence[str]) -> Labels:
    """Return the names as they are, printable, with nothing stripped."""
    return Labels(told_apart(names, [_printable(name) for name in names]))


def _printable(name: str) -> str:
    return display_name(name, longest=max(len(name), 1)) or '""'


def _affixes(names: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield the prefixes and suffixes to try: those of most names, then those of all."""
    if len(names) < 2:
        return
    for least in (max(2.0, _SHARE * len(names)), float(len(names))):
        prefix = _longest(Counter(start for name in names for start in _starts(name)), least)
        inside = [name for name in names if name.startswith(prefix)]
        suffix = _longest(Counter(end for name in inside for end in _ends(name[len(prefix) :])), least)
        if prefix or suffix:
            yield prefix, suffix


def _longest(counts: Counter[str], least: float) -> str:
    return max((text for text, count in counts.items() if count >= least), key=len, default="")


def _starts(name: str) -> Iterable[str]:
    """Yield the beginnings of a name at its separators, before the first token with a digit."""
    end = 0
    for token in _TOKEN.findall(name):
        end += len(token)
        if end >= len(name) or any(map(str.isdigit, token)):
            return
        yield name[:end]


def _ends(name: str) -> Iterable[str]:
    """Yield the endings of a name at its separators, after the last token with a digit or the first one."""
    end = len(name)
    while (start := max(name.rfind(separator, 0, end) for separator in _SEPARATORS)) > 0:
        if any(map(str.isdigit, name[start:end])):
            return
        yield name[start:]
        end = start


def _stripped(name: str, prefix: str, suffix: str) -> str | None:
    """Return the name without prefix and suffix; ``None`` where it lacks one of them or nothing is left."""
    long_enough = len(name) > len(prefix) + len(suffix)
    fits = long_enough and name.startswith(prefix) and name.endswith(suffix)
    return name[len(prefix) : len(name) - len(suffix)] if fits else None


def _is_whole(name: str, prefix: str, suffix: str) -> bool:
    """Whether a reader sees that nothing was stripped of a name: it shows the prefix or the suffix."""
    return bool((prefix and name.startswith(prefix)) or (suffix and name.endswith(suffix)))


def told_apart(names: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """Return the texts, with the place of the name where different names look the same."""
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for name, text in dict(zip(names, texts, strict=True)).items():
        owners[text].append(name)
    taken = set(owners)
    shown: dict[str, str] = {}
    for text, same in owners.items():
        shown[same[0]] = text
        for place, name in enumerate(same[1:], start=2):
            count = place
            while (candidate := f"{text} ({count})") in taken:
                count += 1
            taken.add(candidate)
            shown[name] = candidate
    return tuple(shown[name] for name in names)


def _clashing(shown: Mapping[str, str]) -> list[str]:
    counts = Counter(shown.values())
    return [text for text, short in shown.items() if counts[short] > 1 and short != text]


@dataclass(frozen=True, slots=True)
class _Run:
    """What stays of a text between two gaps, and whether it begins where a word does."""

    text: str
    whole: bool = True


class _Known:
    """All texts, to see which of them a shortened one may stand for."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.forward = sorted(texts)
        self.backward = sorted(text[::-1] for text in self.forward)
        self.budget = _MOST_COMPARISONS
        self.frequency = Counter(token for text in self.forward for token in _TOKEN.findall(text))

    def only(self, text: str, runs: Sequence[_Run]) -> bool:
        """Whether no other text has these runs in this order, the first and the last at its ends.

        False as well where that would take too many comparisons: the text is then shown in full.
        """
        first, last = runs[0].text, runs[-1].text
        if first or not last:
            candidates = _with_prefix(self.forward, first)
        else:
            candidates = [other[::-1] for other in _with_prefix(self.backward, last[::-1])]
        self.budget -= len(candidates)
        if self.budget < 0:
            return False
        return all(other == text or not _matches(other, runs) for other in candidates)


def _with_prefix(ordered: Sequence[str], prefix: str) -> Sequence[str]:
    start = bisect.bisect_left(ordered, prefix)
    end = start
    while end < len(ordered) and ordered[end].startswith(prefix):
        end += 1
    return ordered[start:end]


def _matches(text: str, runs: Sequence[_Run]) -> bool:
    place = len(runs[0].text)
    for run in runs[1:-1]:
        place = _after(text, run, place)
        if place < 0:
            return False
    last = runs[-1]
    start = len(text) - len(last.text)
    return (
        text.startswith(runs[0].text)
        and text.endswith(last.text)
        and start > place
        and _starts_at(text, last, start)
    )


def _after(text: str, run: _Run, place: int) -> int:
    """Return where the first such run ends that leaves something for the gap before it; -1 for none."""
    start = text.find(run.text, place + 1)
    while start >= 0 and not _starts_at(text, run, start):
        start = text.find(run.text, start + 1)
    return start + len(run.text) if start >= 0 else -1


def _starts_at(text: str, run: _Run, start: int) -> bool:
    return not run.whole or not run.text or text[start - 1] in _SEPARATORS


def _fitted(text: str, width: int, known: _Known, measure: Callable[[str], int], ellipsis: str) -> str:
    """Return the text, or the shortest form of at least ``width`` cells that stands for no other text."""
    room = width
    while True:
        runs = _shortened(text, room, known.frequency, measure, ellipsis)
        short = _joined(runs, ellipsis)
        if len(runs) == 1 or measure(short) >= measure(text) or known.budget < 0:
            return text
        if known.only(text, runs):
            return short
        room = max(room, measure(short)) + max(_STEP, room // 2)


def _shortened(
    text: str, width: int, frequency: Counter[str], measure: Callable[[str], int], ellipsis: str
) -> list[_Run]:
    """Return what stays of a text in about ``width`` cells, with a gap between each two runs.

    Words without a number go first, the most frequent before the others; then the middle of the longest word.
    """
    pieces: list[str | None] = []
    loose: list[int] = []
    for piece, kept in _pieces(text):
        if not kept:
            loose.append(len(pieces))
        pieces.append(piece)

    words = [index for index in loose if (pieces[index] or "").strip(_SEPARATORS)]
    words = sorted(words, key=lambda index: (-frequency[pieces[index] or ""], index))[:-1]

    def without(count: int) -> list[str | None]:
        dropped = set(words[:count])
        return [None if index in dropped else piece for index, piece in enumerate(pieces)]

    def is_wide(count: int) -> bool:
        return measure(_joined(_runs(without(count)), ellipsis)) > width

    count = bisect.bisect_left(range(len(words)), True, key=lambda few: not is_wide(few))
    pieces = without(count)
    left = [index for index in loose if pieces[index] is not None]
    if left and is_wide(count):
        index = max(left, key=lambda index: len(pieces[index] or ""))
        word = pieces[index] or ""
        others = measure(_joined(_runs([*pieces[:index], *pieces[index + 1 :]]), ellipsis))
        keep = min(max(width - others - 2 * measure(ellipsis), 2), len(word) - 1)
        if keep > 0:
            head, tail = word[: (keep + 1) // 2], word[len(word) - keep // 2 :]
            return [*_runs([*pieces[:index], head]), *_runs([tail, *pieces[index + 1 :]], whole=False)]
    return _runs(pieces)


def _runs(pieces: Sequence[str | None], *, whole: bool = True) -> list[_Run]:
    """Return the runs of pieces between gaps, which are ``None``; ``whole`` is that of the first run."""
    texts = [""]
    gap = False
    for piece in pieces:
        if piece is not None:
            texts[-1] += piece
            gap = False
        elif not gap:
            texts.append("")
            gap = True
    return [_Run(text, whole or index > 0) for index, text in enumerate(texts)]


def _joined(runs: Sequence[_Run], ellipsis: str) -> str:
    return ellipsis.join(run.text for run in runs)


def _pieces(text: str) -> list[tuple[str, bool]]:
    """Return the tokens of a text, and whether each is kept whole: it holds one of its first numbers."""
    pieces: list[tuple[str, bool]] = []
    numbers = 0
    for token in _TOKEN.findall(text):
        if not token:
            continue
        kept = numbers < _MOST_NUMBERS and bool(_NUMBER.search(token))
        numbers += kept
        if kept and len(token) > _LONGEST_TOKEN:
            pieces += _around_numbers(token)
        else:
            pieces.append((token, kept))
    return pieces


def _around_numbers(token: str) -> list[tuple[str, bool]]:
    pieces: list[tuple[str, bool]] = []
    end = 0
    for number in _NUMBER.finditer(token):
        if number.start() > end:
            pieces.append((token[end : number.start()], False))
        pieces.append((number.group(), True))
        end = number.end()
    if end < len(token):
        pieces.append((token[end:], False))
    return pieces
