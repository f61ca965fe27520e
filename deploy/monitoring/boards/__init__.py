"""The dashboards as data, one module each."""
