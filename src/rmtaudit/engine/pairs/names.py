"""Matching by what names say: equal names, equal endings under another prefix, equal places and roles."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping

from rmtaudit.engine.pairs.refs import TensorRef

Named = Mapping[str, TensorRef]
Couple = tuple[TensorRef, TensorRef]
Change = tuple[str, str]

_TOKEN = re.compile(r"[./]")
_BLOCK = re.compile(r"(?:^|[._/])(?:layers?|blocks?|blk|h|stages?)[._/](\d+)(?=[._/])")
_VOTERS = 400
"""References of the base that vote on a common prefix: an even sample where there are more."""

_CROWD = 4000
"""Candidates with the same last words that a voter looks at."""

_NEARLY = 0.6
"""A change of prefix with more than this share of the winner's votes is its rival. Blocks of one model that
are matched one further have at most half."""

_ROLES: tuple[tuple[str, str], ...] = (
    ("query", r"(q|query|q_proj|attn_q|wq|q_lin|query_proj)"),
    ("key", r"(k|key|k_proj|attn_k|wk|k_lin|key_proj)"),
    ("value", r"(v|value|v_proj|attn_v|wv|v_lin|value_proj)"),
    ("attention output", r"(o_proj|attn_output|wo|out_proj|out_lin|attention\.output\.dense)"),
    ("gate", r"(gate|gate_proj|ffn_gate|w1)"),
    ("up", r"(up|up_proj|ffn_up|w3)"),
    ("down", r"(down|down_proj|ffn_down|w2)"),
    ("attention norm", r"(input_layernorm|attn_norm|attention_norm)"),
    ("feed-forward norm", r"(post_attention_layernorm|ffn_norm)"),
    ("token embedding", r"(embed_tokens|token_embd|tok_embeddings|word_embeddings|wte)"),
    ("head", r"(lm_head|output)"),
    ("last norm", r"(norm|output_norm|ln_f)"),
)
"""Words of Hugging Face, GGUF and the original Llama for the same place in a block, as whole
words of a name."""

_ROLE_PATTERNS = tuple(
    (role, re.compile(rf"(?:^|[./#]){words}(?:[./](?P<leaf>weight|bias|kernel))?$")) for role, words in _ROLES
)


def same_shape(a: TensorRef, b: TensorRef) -> bool:
    """Whether two references have the same sides, in either order."""
    return a.shape in (b.shape, b.shape[::-1])


def by_name(base: Named, candidate: Named) -> Iterator[Couple]:
    """Yield the references with equal names and equal sides."""
    for name, ref in base.items():
        other = candidate.get(name)
        if other is not None and same_shape(ref, other):
            yield ref, other


def by_suffix(base: Named, candidate: Named) -> Iterator[Couple]:
    """Yield references whose names differ in a prefix that many of them share.

    The prefixes are put to a vote: of all pairs with equal sides and equal last words, the two prefixes in
    front of the longest common ending are counted, and the most frequent ones win; then those of what is
    left. What another change of prefix explains nearly as well (two branches of one graph, two towers) is
    left over, for content to decide.
    """
    yield from _by_suffix(base, candidate, clear=True)


def by_likeliest_suffix(base: Named, candidate: Named, matched: Iterable[Couple]) -> Iterator[Couple]:
    """Yield references as :func:`by_suffix` does; where several would do, as most of ``matched`` are."""
    prior = Counter(_prefixes(ref.name, other.name) for ref, other in matched)
    yield from _by_suffix(base, candidate, clear=False, prior=prior)


def _by_suffix(
    base: Named, candidate: Named, *, clear: bool, prior: Mapping[Change, int] | None = None
) -> Iterator[Couple]:
    left, right = dict(base), dict(candidate)
    while left and right:
        counted = _votes(left, right)
        for change, number in (prior or {}).items():
            if change in counted:
                counted[change] += number
        votes = counted.most_common()
        if not votes:
            return
        (change, count), *others = votes
        couples = _couples(left, right, change)
        for ref, other in couples:
            del left[ref.name], right[other.name]
        rivals = [rival for rival, number in others if number > _NEARLY * count] if clear else []
        claimed = {name for rival in rivals for name in _claims(base, candidate, rival, change)}
        yield from (couple for couple in couples if claimed.isdisjoint(_keys(couple)))
        if not couples:
            return


def _couples(left: Named, right: Named, change: Change) -> list[Couple]:
    old, new = change
    couples = []
    for name, ref in left.items():
        other = right.get(new + name[len(old) :]) if name.startswith(old) else None
        if other is not None and same_shape(ref, other):
            couples.append((ref, other))
    return couples


def _claims(base: Named, candidate: Named, rival: Change, change: Change) -> Iterator[tuple[int, str]]:
    """Yield what a rival change of prefix matches otherwise than the change that won."""
    won = set(map(_keys, _couples(base, candidate, change)))
    for couple in _couples(base, candidate, rival):
        if _keys(couple) not in won:
            yield from _keys(couple)


def _keys(couple: Couple) -> tuple[tuple[int, str], tuple[int, str]]:
    return (0, couple[0].name), (1, couple[1].name)


def _votes(base: Named, candidate: Named) -> Counter[Change]:
    by_end: defaultdict[Hashable, list[str]] = defaultdict(list)
    for name, ref in candidate.items():
        by_end[_end(ref)].append(name)
    names = list(base)
    step = max(1, len(names) // _VOTERS)
    votes: Counter[Change] = Counter()
    for name in names[::step]:
        for other in by_end.get(_end(base[name]), ())[:_CROWD]:
            votes[_prefixes(name, other)] += 1
    return votes


def _end(ref: TensorRef) -> Hashable:
    return (*_TOKEN.split(ref.name)[-2:], *sorted(ref.shape))


def _prefixes(name: str, other: str) -> tuple[str, str]:
    """Return what stands in front of the longest common ending of whole words."""
    words, others = _words(name), _words(other)
    common = 0
    while common < min(len(words), len(others)) and words[-1 - common] == others[-1 - common]:
        common += 1
    return "".join(words[: len(words) - common]), "".join(others[: len(others) - common])


def _words(name: str) -> list[str]:
    """Return the words of a name, each with the separator that ends it."""
    return re.findall(r"[^./]*[./]|[^./]+", name)


def by_role(base: Named, candidate: Named) -> Iterator[Couple]:
    """Yield references at the same place of the same block: query, key, value, gate, up, norm.

    Only places that occur once on either side count.
    """
    left, right = _by_place(base.values()), _by_place(candidate.values())
    for place, refs in left.items():
        others = right.get(place, ())
        if len(refs) == 1 and len(others) == 1 and same_shape(refs[0], others[0]):
            yield refs[0], others[0]


def place_of(name: str) -> tuple[str, str, str] | None:
    """Return the block, the role and the leaf (``weight``, ``bias``) that a name states.

    >>> place_of("model.layers.3.self_attn.q_proj.weight")
    ('3', 'query', 'weight')
    >>> place_of("blk.3.attn_q.weight")
    ('3', 'query', 'weight')
    """
    block = block_of(name)
    for role, pattern in _ROLE_PATTERNS:
        match = pattern.search(name)
        if match is not None:
            leaf = match["leaf"] or "weight"
            return (block, role, "weight" if leaf == "kernel" else leaf)
    return None


def block_of(name: str) -> str:
    """Return the number of the block that a name states; ``""`` for none."""
    block = _BLOCK.search(name)
    return block[1] if block else ""


def _by_place(refs: Iterable[TensorRef]) -> dict[Hashable, list[TensorRef]]:
    places: defaultdict[Hashable, list[TensorRef]] = defaultdict(list)
    for ref in refs:
        place = place_of(ref.name)
        if place is not None:
            places[place, tuple(sorted(ref.shape))].append(ref)
    return places
