"""Safe HTTP: a whole exchange ends in time, and only where it should go."""
