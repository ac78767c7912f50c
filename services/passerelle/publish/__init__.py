"""A department's side: a typed producer, links to the identity register, CSV files."""
