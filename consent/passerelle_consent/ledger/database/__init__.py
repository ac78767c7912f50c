"""The ledger's database: what it holds, how it is read and written, and its own verification."""
