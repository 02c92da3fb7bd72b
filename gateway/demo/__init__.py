"""`make demo`: a throw-away PostgreSQL with sample data, the gateway in front of it, and a tour. Also what the tests start."""
