"""``mkold run -o report.html``: the report of a run as one page with pictures.

``plots``  the pictures, drawn by matplotlib, coloured by the page
``page``   the page: the table, the notes, the pictures of each guest
"""

from mkold.view.report.page import report_html

__all__ = ["report_html"]
