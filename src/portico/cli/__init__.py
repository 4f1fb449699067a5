"""The `portico` command: one module per command group."""
