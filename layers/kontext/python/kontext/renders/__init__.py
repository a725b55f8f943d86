"""One render's life in the table, what it costs, and the workflow that watches its job."""
