"""The `ddor` command."""
