"""The site of the publisher as files: every page and file with relative links, for any web server or archive."""
