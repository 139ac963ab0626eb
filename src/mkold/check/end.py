"""A final state, as a scenario's tests see it."""

from __future__ import annotations

from collections.abc import Mapping

from mkold.check import door


class End:
    """A final state: watched words by name, results by thread.

    ``end["pte0"]`` is the final word watched under that name; ``end.result("walker")``
    the first result of that thread's last call (``end.result("walker", i, k)``: result
    ``k`` of its call ``i``). ``seen`` are the names of words that were asked for,
    ``heard`` those of threads.
    """

    def __init__(self, words: Mapping[str, int], results: Mapping[tuple[str, int, int], int]):
        self._words, self._results = words, results
        self.seen: set[str] = set()
        self.heard: set[str] = set()

    def __getitem__(self, name: str) -> int:
        word = self._words.get(door.text("the name of a word", name))
        if word is None:
            door.known("word that is watched", [name], self._words)
        self.seen.add(name)
        return self._words[name]

    def result(self, thread: str, call: int = -1, index: int = 0) -> int:
        """One result word of one call of a thread, calls in program order."""
        door.text("the name of a thread", thread)
        call, index = door.whole("the number of a call", call), door.word("index", index)
        number = call if call >= 0 else call + 1 + self._last_call(thread)
        word = self._results.get((thread, number, index))
        if word is None:
            n = sum((name, i) == (thread, number) for name, i, _ in self._results)
            raise door.wrong(
                f"call {door.shown(call)} of thread {thread} has {n} results, no result {index}"
            )
        self.heard.add(thread)
        return word

    def _last_call(self, thread: str) -> int:
        calls = [i for name, i, _ in self._results if name == thread]
        if not calls:
            door.known("thread with a result", [thread], {name for name, _, _ in self._results})
        return max(calls)
