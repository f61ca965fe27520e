"""Measured tables. Speeds are ratios within one run on one machine; no test depends on them."""
