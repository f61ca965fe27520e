"""Code shared by the three services: settings, connections, migrations, HTTP server, logs, metrics."""
