"""The async client of the control API, with its blocking twins."""
