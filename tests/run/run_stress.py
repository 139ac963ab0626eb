"""How long a machine is stressed by the tests marked slow."""

from __future__ import annotations

import os

# Seconds, for each machine; set MKOLD_STRESS_S to let them run for a night.
LONG_S = float(os.environ.get("MKOLD_STRESS_S", "5"))
