"""The demonstration: the first report's week through the whole system, with nothing but Python and pip."""
