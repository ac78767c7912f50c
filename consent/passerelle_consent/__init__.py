"""Consent: the policy core, the consent service (records) and the ledger."""
