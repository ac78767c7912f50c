"""What needs no trust in whoever keeps the log: read what is published, verify, prove, scan, monitor, witness."""
