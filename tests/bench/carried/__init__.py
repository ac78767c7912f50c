"""What the benches of the agents share: the same rules, carried by our SDK or by Faust as its first page shows it."""
