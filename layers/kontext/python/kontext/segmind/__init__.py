"""The vendor: its API, and what its answers mean."""
