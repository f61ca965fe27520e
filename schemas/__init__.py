"""The events, facts and reports that agencies, services and readers exchange. Pure: no I/O, no clock, no settings."""
