"""TLS: certificates from files, which are read again when they change, and the connections of the HTTP servers."""
