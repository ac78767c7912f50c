"""A town of a million citizens and ten million ledger entries: how it is made by bulk means, and how it is served."""
