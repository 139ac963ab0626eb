"""Where mkold keeps files of its own."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """The folder for compiled code: ``$MKOLD_CACHE``, or mkold's in the user's cache."""
    chosen = os.environ.get("MKOLD_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mkold"
