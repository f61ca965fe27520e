"""What travels between agencies, services and readers. Pure: no I/O, no clock, no settings."""
