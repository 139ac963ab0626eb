"""What is asked of single reads and of final words, to list fewer candidates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mkold.lkmm.graph.values import Constraint, Value, evaluate, reads_of


class Facts:
    """What constraints ask of single reads, and the question of final words."""

    def __init__(
        self, constraints: Sequence[Constraint], final_wanted: Mapping[int, int]
    ) -> None:
        self.final_wanted = final_wanted
        self._unary: dict[int, list[Constraint]] = {}
        for constraint in constraints:
            reads = reads_of(constraint.value)
            if len(reads) == 1:
                self._unary.setdefault(next(iter(reads)), []).append(constraint)

    @property
    def restricted(self) -> Collection[int]:
        """Reads of which something is asked."""
        return self._unary.keys()

    def allow(self, read: int, word: Value) -> bool:
        """Whether ``read`` may find ``word``, as far as is known."""
        unary = self._unary.get(read)
        if unary is None or not isinstance(word, int):
            return True
        return all(one.met_by(evaluate(one.value, lambda _: word)) for one in unary)
