"""Passerelle: a city's consent-first event bus."""
