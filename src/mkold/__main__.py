"""``python -m mkold`` is the same as ``mkold``."""

import sys

from mkold.cli.main import main

sys.exit(main())
