"""The frame of an HTML page that needs nothing else: its own style, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

STYLE = """
:root{color-scheme:light dark;--line:#8a929b;--soft:#f6f8fa;--ink:#1b1f24;--ground:#fff;
--ok:#11705a;--bad:#b3261e;--open:#a15c00}
@media(prefers-color-scheme:dark){:root{--line:#6b7480;--soft:#20252b;--ink:#e6e6e6;
--ground:#15181c;--ok:#6fd8bd;--bad:#ff8a80;--open:#ffb74d}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);
max-width:76rem;margin:2rem auto;padding:0 1rem}
code,pre,td:first-child{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,monospace}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;
vertical-align:top}th{border-bottom:1px solid var(--line)}
section{border-top:2px solid var(--line);margin-top:2.5rem}
pre{overflow-x:auto;padding:.6rem;background:var(--soft);font-size:13px;line-height:1.35}
figure{margin:1rem 0;overflow-x:auto}
figure svg{border:1px solid var(--line);max-width:100%;height:auto;
box-sizing:border-box}
"""


def page(title: str, body: Iterable[str], style: str = "") -> Iterator[str]:
    """The lines of a page; ``title`` and ``body`` are HTML, ``style`` is added to ``STYLE``."""
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>{title}</title>\n<style>{STYLE}{style}</style></head><body>"
    yield f"<h1>{title}</h1>"
    yield from body
    yield "</body></html>"
