"""Kill, stop and restart everything while events stream in; then compare the database with the log."""
