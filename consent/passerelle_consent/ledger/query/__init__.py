"""Questions about the log: an index of what is published, pages, counts, exports, disclosures."""
