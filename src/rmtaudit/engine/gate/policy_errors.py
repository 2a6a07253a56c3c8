"""What can be wrong with a policy, each with the file and the line, and the word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rmtaudit.errors import UsageError
from rmtaudit.names import display_name, suggestion


def no_such_policy(name: str, presets: Sequence[str], where: str = "") -> UsageError:
    """Return the error for a policy that is neither a preset nor a file."""
    return UsageError(
        "RA-PO-001",
        f"There is no policy {display_name(name)!r}.{suggestion(name, presets)}",
        hint=f"Give a file, or one of the presets {', '.join(presets)}.",
        where=where,
    )


def unknown_policy_key(key: str, known: Sequence[str], where: str) -> UsageError:
    """Return the error for a key that the grammar does not have."""
    return UsageError(
        "RA-PO-002",
        f"Unknown key {display_name(key)!r}.{suggestion(key, known)}",
        hint=f"Keys at this place: {', '.join(known)}.",
        where=where,
    )


def wrong_value(key: str, problem: str, where: str, hint: str = "") -> UsageError:
    """Return the error for a value of the wrong type or form."""
    return UsageError("RA-PO-003", f"{display_name(key)}: {problem}", hint=hint, where=where)


def missing_key(key: str, what: str, hint: str, where: str) -> UsageError:
    """Return the error for a key that must be there."""
    return UsageError("RA-PO-004", f"{what} needs the key {key!r}.", hint=hint, where=where)


def contradiction(message: str, hint: str, where: str) -> UsageError:
    """Return the error for keys of a rule that do not belong together."""
    return UsageError("RA-PO-005", message, hint=hint, where=where)


def unknown_word(what: str, word: str, known: Iterable[str], where: str, hint: str = "") -> UsageError:
    """Return the error for a word that the key cannot have."""
    known = list(known)
    return UsageError(
        "RA-PO-006",
        f"There is no {what} {display_name(word)!r}.{suggestion(word, known)}",
        hint=hint or f"Known: {', '.join(known)}.",
        where=where,
    )


def repeated_rule(identifier: str, where: str) -> UsageError:
    """Return the error for two rules of one name."""
    return UsageError(
        "RA-PO-007",
        f"Two rules have the id {identifier!r}.",
        hint=(
            "Results are identified by it; give one of them another id, such as "
            f"'{identifier}-2'. A rule of an extended policy may be replaced."
        ),
        where=where,
    )


def no_such_rule(identifier: str, known: Sequence[str], where: str) -> UsageError:
    """Return the error for a reference to a rule that the policy does not have."""
    return UsageError(
        "RA-PO-008",
        f"The policy has no rule {display_name(identifier)!r}.{suggestion(identifier, known)}",
        hint=f"Rules: {', '.join(known) or 'none'}.",
        where=where,
    )


def endless_extension(name: str, where: str) -> UsageError:
    """Return the error for a policy that extends itself."""
    return UsageError(
        "RA-PO-009",
        f"The policy extends itself through {display_name(name)!r}.",
        hint="Remove it from `extends`.",
        where=where,
    )


def no_rules(where: str) -> UsageError:
    """Return the error for a policy that would pass everything."""
    return UsageError(
        "RA-PO-010",
        "The policy has no rules, so it would pass every model.",
        hint="Add `extends: standard`, or rules.",
        where=where,
    )
