"""How containers are confined."""
