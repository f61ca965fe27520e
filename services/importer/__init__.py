"""Profiles that turn published files into detainer events. They decide; sending is the command's part."""
