"""A schema registry that the city runs already: the contracts are put there under the ids that the lock gave them."""
