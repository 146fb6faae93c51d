"""Tokens, and which of them are trained. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence

from harness.records import record


@record
class Example:
    """One sequence as a policy sees it.

    Attributes:
        tokens: everything in order: T.
        trained: positions of the trained tokens, ascending: N. Each is predicted from all tokens
            before it, so that the first can never be one.
    """

    tokens: tuple[int, ...]
    trained: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.trained and not 0 < self.trained[0] <= self.trained[-1] < len(self.tokens):
            message = f"trained positions must lie in 1..{len(self.tokens) - 1}"
            raise ValueError(message)


def masked(tokens: Sequence[int], mask: Sequence[bool]) -> Example:
    """Return the example whose tokens are trained where `mask` says so."""
    pairs = zip(range(len(tokens)), mask, strict=True)
    return Example(tokens=tuple(tokens), trained=tuple(at for at, is_on in pairs if is_on))
