"""The city's manifest and the broker beneath it: what should exist, what exists, and the way from one to the other."""
