"""Model output on the page: escaped first, then marked."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from seelevel.scorers.views import Span


def marked(text: str, spans: Sequence[Span] = ()) -> Markup:
    """The text as HTML, every character escaped, with the spans as `<mark>`.

    A span is cut at the end of the text. Of two that overlap, the one that starts first is kept, or the longer one if
    both start together.
    """
    parts, at = [Markup()], 0
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        start, end = span.start, min(span.end, len(text))
        if start < at or start >= end:
            continue
        said = Markup('<span class="said"> ({})</span>').format(span.said) if span.said else ""
        parts.append(escape(text[at:start]))
        parts.append(
            Markup('<mark class="{}" title="{}">{}</mark>{}').format(span.kind, span.note, text[start:end], said)
        )
        at = end
    parts.append(escape(text[at:]))
    return Markup("").join(parts)
