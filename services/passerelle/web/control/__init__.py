"""For who is on call: flows, lag, health, dead letters."""
