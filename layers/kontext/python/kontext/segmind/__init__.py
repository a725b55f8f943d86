"""The vendor: `client` asks, `answers` says what comes back means, `links` and `named` find pictures and jobs in it."""
