"""The domain of kontext-drop. No AWS event is ever seen here: modules take values, clients and the time."""
