"""DispatchService: the life of a message, from accepted to its final state."""
