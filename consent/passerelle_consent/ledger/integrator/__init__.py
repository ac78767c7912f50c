"""The one leader that sequences, integrates and publishes, and asks witnesses for their cosignatures."""
