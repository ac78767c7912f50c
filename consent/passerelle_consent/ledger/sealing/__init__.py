"""From what the bus recorded to sealed entries. Pure."""
