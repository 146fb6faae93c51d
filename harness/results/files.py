"""The files of a published profile, by which it is known without being opened."""

from __future__ import annotations

ARCHIVE_FILE = "bundle.tar.gz"
STATEMENT_FILE = "bundle.intoto.jsonl"
