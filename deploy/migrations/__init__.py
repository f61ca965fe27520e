"""The database's schema as numbered SQL files. `services.runtime.migrations` applies them."""
