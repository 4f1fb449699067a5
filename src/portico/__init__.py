"""Portico: serverless Python functions with URLs, on machines you own."""
