"""What several tests need: events, an independent model, and looking at Kafka, PostgreSQL and running services."""
