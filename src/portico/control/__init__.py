"""The control side: apps and their versions, secrets, tokens, logs, calls, and the API over them."""
