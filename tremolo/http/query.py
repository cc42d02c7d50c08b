"""Query: the fields of the query of a target (WHATWG URL, application/x-www-form-urlencoded)."""

from __future__ import annotations

from urllib.parse import parse_qs

_MOST = 1000    # More fields in a query string are refused.


def read_query(query: bytes) -> dict[str, list[str]]:
    """Return the fields, each with all its values. Raises `ValueError` for too many."""
    return parse_qs(query.decode('latin-1'), keep_blank_values=True, max_num_fields=_MOST)
