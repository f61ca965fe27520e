"""Shared test code: events, an independent model, and access to Kafka, PostgreSQL and running services."""
