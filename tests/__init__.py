"""Tests: `unit` needs nothing, `integration` a Kafka and a PostgreSQL, `system` the three services as processes."""
