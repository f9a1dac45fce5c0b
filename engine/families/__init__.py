"""Which functions answer the operations of an API family as they are."""
