"""Three processes (ingest, aggregator, publisher), what they share (runtime), and the `ddor` command (cli)."""
