"""A policy with everything that it extends: presets by name, files by path."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from rmtaudit.engine.gate.policy import PolicyFile, Rule, SuppressionEntry, listed
from rmtaudit.engine.gate.policy_errors import (
    endless_extension,
    no_rules,
    no_such_policy,
    no_such_rule,
)
from rmtaudit.engine.gate.policy_text import parse_policy
from rmtaudit.errors import UsageError

CONFIDENCE = 0.95
"""Of the intervals, where neither a rule nor its policy says."""

_LARGEST = 1 << 20
_FOLDER = Path(__file__).parents[2] / "configs" / "policies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy, resolved.

    Attributes
    ----------
    name, version
        Of the file itself; its stem and ``unversioned`` where it has none.
    confidence
        Of rules without one.
    rules, suppress
        In the order of the files, the extended ones first.
    sources
        Files and presets, the base first.
    places
        File and line of every rule, for messages.
    """

    name: str
    version: str
    confidence: float
    rules: tuple[Rule, ...]
    suppress: tuple[SuppressionEntry, ...] = ()
    sources: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Digest of what is applied: rules, exceptions, confidence."""
        applied = (self.rules, self.suppress, self.confidence)
        return hashlib.sha256(msgspec.json.encode(applied, order="sorted")).hexdigest()

    def with_claim(self, claim: str) -> Policy:
        """Return the policy with a rule that a claim about the candidate must hold."""
        rule = Rule(id="claim", why="The file must agree with the claim that is made about it.", claim=claim)
        rules = (*(each for each in self.rules if each.id != rule.id), rule)
        places = {**self.places, rule.id: "--claim"}
        return Policy(
            name=self.name,
            version=self.version,
            confidence=self.confidence,
            rules=rules,
            suppress=self.suppress,
            sources=(*self.sources, "--claim"),
            places=places,
        )


def policy_presets() -> tuple[str, ...]:
    """Return the names of the shipped policies."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def load_policy(name: str | Path) -> Policy:
    """Return a preset, or the policy of a file.

    Raises
    ------
    UsageError
        RA-PO-001 to RA-PO-010, and RA-CF-001 to RA-CF-007 where the file is no plain YAML.
    """
    policy = _load(str(name), folder=Path(), above=(), where="")
    if not policy.rules:
        raise no_rules(policy.sources[-1])
    known = [rule.id for rule in policy.rules]
    for exception in policy.suppress:
        if exception.rule not in known:
            raise no_such_rule(exception.rule, known, policy.places[f"suppress {exception.rule}"])
    return policy


def _load(name: str, *, folder: Path, above: tuple[str, ...], where: str) -> Policy:
    source, text = _text(name, folder, where)
    if source in above:
        raise endless_extension(name, where)
    file, places = parse_policy(text, source)
    bases = [
        _load(each, folder=_folder(source), above=(*above, source), where=places["extends"])
        for each in listed(file.extends)
    ]
    return _merged(file, bases, source, places)


def _merged(file: PolicyFile, bases: list[Policy], source: str, places: Mapping[str, str]) -> Policy:
    rules = {rule.id: rule for base in bases for rule in base.rules}
    for identifier in file.without:
        if identifier not in rules:
            raise no_such_rule(identifier, list(rules), places["without"])
        del rules[identifier]
    rules |= {rule.id: rule for rule in file.rules}
    inherited = next((base.confidence for base in reversed(bases)), CONFIDENCE)
    sources = [each for base in bases for each in base.sources]
    merged_places = {key: place for base in bases for key, place in base.places.items()}
    return Policy(
        name=file.name or Path(source).stem,
        version=file.version or "unversioned",
        confidence=inherited if file.confidence is None else file.confidence,
        rules=tuple(rules.values()),
        suppress=(*(each for base in bases for each in base.suppress), *file.suppress),
        sources=tuple(dict.fromkeys([*sources, source])),
        places=merged_places | dict(places),
    )


def _text(name: str, folder: Path, where: str) -> tuple[str, str]:
    """Return the name of a source and its text."""
    presets = policy_presets()
    if name in presets:
        return name, (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    path = folder / name
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise no_such_policy(name, presets, where) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError("RA-CF-001", f"The file cannot be read: {reason}.", where=str(path)) from None
    if len(data) > _LARGEST:
        raise UsageError("RA-CF-001", "A policy above 1 MiB is not read.", where=str(path))
    try:
        return str(path), data.decode()
    except UnicodeDecodeError as error:
        message = f"The policy is not UTF-8 at byte {error.start}; is it a checkpoint?"
        raise UsageError("RA-CF-001", message, where=str(path)) from None


def _folder(source: str) -> Path:
    return Path() if source in policy_presets() else Path(source).parent
