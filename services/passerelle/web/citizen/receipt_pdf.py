"""A receipt as an accessible PDF (PDF/UA-1: tagged) that is made for keeping (PDF/A-3), the signed file attached to it.

What proves is the attachment; the page is for reading. Typst makes it of `templates/citizen/receipt.typ`: values reach
the template as JSON, never as markup. The font is embedded, and has the letters of Latin, Greek and Cyrillic.
"""

import json
from dataclasses import asdict, replace
from typing import Any

import typst

from passerelle.web.citizen.paper import Paper
from passerelle.web.rendering import TEMPLATES

TEMPLATE = TEMPLATES / "citizen/receipt.typ"


def receipt_pdf(paper: Paper, sealed: str) -> bytes:
    """Return the file; the same values make the same bytes. Some 20 ms of computation.

    ``sealed``: the JWS as the city signed it. A name that the font cannot write is left out: no letter is ever missing
    from a paper of this standard.
    """
    try:
        return _compiled(paper, sealed)
    except typst.TypstError:
        return _compiled(replace(paper, issued_to=""), sealed)


def _compiled(paper: Paper, sealed: str) -> bytes:
    said: dict[str, Any] = {**asdict(paper), "created": paper.created.isoformat()}
    compiled = typst.compile(
        TEMPLATE,
        root=TEMPLATE.parent,
        sys_inputs={"paper": json.dumps(said), "sealed": sealed},
        ignore_system_fonts=True,
        pdf_standards=["a-3a", "ua-1"],
        timestamp=int(paper.created.timestamp()),
    )
    assert isinstance(compiled, bytes)  # noqa: S101 - one document, and no path to write it to
    return compiled
