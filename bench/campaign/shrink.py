"""The least program that still differs: statements are left out as long as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from campaign.tree import Body, Tree, bodies, with_bodies


def shrunk(tree: Tree, differs: Callable[[Tree], bool], most: int = 200) -> Tree:
    """A tree that ``differs`` and of which nothing can be left out, within ``most`` tries."""
    again = True
    while again:
        again = False
        for smaller in smaller_trees(tree):
            most -= 1
            if most < 0:
                return tree
            if differs(smaller):
                tree, again = smaller, True
                break
    return tree


def smaller_trees(tree: Tree) -> Iterator[Tree]:
    """The tree with one thing left out."""
    for i, body in enumerate(tree.threads):
        if len(tree.threads) > 1:
            yield replace(tree, threads=(*tree.threads[:i], *tree.threads[i + 1 :]),
                          bad=tree.bad)  # fmt: skip
        for less in smaller_bodies(body):
            yield replace(tree, threads=(*tree.threads[:i], less, *tree.threads[i + 1 :]))
    for i in range(len(tree.init)):
        yield replace(tree, init=(*tree.init[:i], *tree.init[i + 1 :]))


def smaller_bodies(body: Body) -> Iterator[Body]:
    """The body without a statement, with what is in it in its place, or with less in it."""
    for i, stmt in enumerate(body):
        before, after = body[:i], body[i + 1 :]
        yield (*before, *after)
        for inner in bodies(stmt):
            yield (*before, *inner, *after)
        for k, inner in enumerate(bodies(stmt)):
            for less in smaller_bodies(inner):
                new = (*bodies(stmt)[:k], less, *bodies(stmt)[k + 1 :])
                yield (*before, with_bodies(stmt, new), *after)
