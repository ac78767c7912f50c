"""Sign-in by OpenID Connect: citizens as FranceConnect has it, the city's people at the city's own provider."""
