"""What a user should know and that is no error: a line on stderr, once."""

from __future__ import annotations

from collections.abc import Iterable

import typer

__all__ = ["Notes"]


class Notes:
    """Says each note the first time it is heard."""

    def __init__(self) -> None:
        self._said: set[tuple[str | None, str]] = set()

    def say(self, notes: Iterable[str], *, about: str | None = None) -> None:
        """Write those that were not said before.

        Args:
            notes: one sentence each.
            about: what they are about, where that is not clear.
        """
        for note in notes:
            if (about, note) not in self._said:
                self._said.add((about, note))
                typer.echo(f"note: {note}" if about is None else f"note: {about}: {note}", err=True)
