"""The text of one function in LLVM IR: instructions, names for their results, blocks."""

from __future__ import annotations


class Lines:
    """Instructions in order; ``open`` while the current block still lacks its end."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.open = True
        self._n = 0

    def line(self, text: str) -> None:
        """Append an instruction."""
        self.lines.append(f"  {text}")

    def name(self, instruction: str) -> str:
        """Append an instruction and name its result."""
        self._n += 1
        self.lines.append(f"  %t{self._n} = {instruction}")
        return f"%t{self._n}"

    def label(self, hint: str) -> str:
        """A new label."""
        self._n += 1
        return f"{hint}{self._n}"

    def start(self, label: str) -> None:
        """Begin the block ``label``, falling into it if the last one is open."""
        if self.open:
            self.line(f"br label %{label}")
        self.lines.append(f"{label}:")
        self.open = True

    def end(self, text: str) -> None:
        """End the current block with a jump."""
        self.line(text)
        self.open = False

    def branch(self, condition: str, yes: str, no: str) -> None:
        """End the current block with a conditional jump on an ``i1``."""
        self.end(f"br i1 {condition}, label %{yes}, label %{no}")
