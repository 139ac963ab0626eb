"""Jobs for a process of its own, good and bad."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from mkold.base.errors import InputError


def echo(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    return {**request, "pid": os.getpid(), "read": [os.read(fd, 10).decode() for fd in files]}


def refuse(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    raise InputError("no good")


def abort(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    print("thread panicked", file=sys.stderr, flush=True)
    os.abort()


def leave(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    raise SystemExit("gone")


def grow(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    return {"n": len(bytearray(1 << 34))}


def sleep(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    time.sleep(60)
    return {}
