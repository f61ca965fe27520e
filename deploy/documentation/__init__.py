"""The documentation: generated pages (`settings_page`, `commands_page`) and the site (`make docs`)."""
