"""What the three services share: settings, connections, HTTP server, logs and metrics."""
