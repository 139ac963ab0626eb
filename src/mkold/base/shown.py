"""Foreign text made fit to be shown: what a file, a name or a trace says is never obeyed.

Everything that prints text which mkold did not write (names, comments, commands, excerpts)
goes through ``shown``: a terminal would take control characters for orders, and XML does not
allow them. Escapes are Python's own (``\\x1b``), so what was there can be read off.
"""

from __future__ import annotations

import html
import re

# C0 and C1 controls, DEL, line and paragraph separators, marks that turn the direction of
# writing, and bytes that were no UTF-8 (which Python keeps as lone surrogates).
_RAW = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def shown(text: object, *, keep: str = "", most: int | None = None) -> str:
    """``text`` with every character that is not for showing escaped.

    Parameters
    ----------
    keep : characters left as they are, such as the newlines of a message of several lines
    most : longer text is cut to so many characters, the last three dots
    """
    found = _RAW.sub(lambda m: m[0] if m[0] in keep else _escape(m[0]), str(text))
    if most is not None and len(found) > most:
        return found[: most - 3] + "..."
    return found


def xml(text: object, *, quote: bool = False) -> str:
    """``text`` for XML and HTML: shown, and its markup escaped; ``quote`` in attributes."""
    return html.escape(shown(text, keep="\n\t"), quote=quote)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
