"""For auditors: the ledger's entries, proofs checked in the page, one person under a mandate."""
