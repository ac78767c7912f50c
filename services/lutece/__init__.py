"""Lutèce, the demonstration city: its agents, its people, and a day in it."""
