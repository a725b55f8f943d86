"""Pictures: what kind and size they are, and whether they are complete."""
