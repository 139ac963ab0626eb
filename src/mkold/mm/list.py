"""Doubly linked lists, as include/linux/list.h; the caller holds the list's lock."""

from __future__ import annotations

from mkold.lang import Ptr, kernel
from mkold.mm.mm_types import ListHead


@kernel
def init_list_head(head: Ptr[ListHead]) -> None:
    """Make ``head`` an empty list."""
    head.next = head
    head.prev = head


@kernel
def list_empty(head: Ptr[ListHead]) -> bool:
    """Whether the list has no entry."""
    return head.next == head


@kernel
def list_add(new: Ptr[ListHead], head: Ptr[ListHead]) -> None:
    """Put ``new`` first."""
    first = head.next
    new.next = first
    new.prev = head
    first.prev = new
    head.next = new


@kernel
def list_add_tail(new: Ptr[ListHead], head: Ptr[ListHead]) -> None:
    """Put ``new`` last."""
    last = head.prev
    new.next = head
    new.prev = last
    last.next = new
    head.prev = new


@kernel
def list_del(entry: Ptr[ListHead]) -> None:
    """Take ``entry`` out; it then points at itself."""
    after = entry.next
    before = entry.prev
    before.next = after
    after.prev = before
    entry.next = entry
    entry.prev = entry
