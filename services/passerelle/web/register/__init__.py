"""For everybody: the agreements and flows in force, and the ledger's checkpoint."""
