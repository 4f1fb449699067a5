"""The data plane: HTTP and WebSocket traffic from clients to containers."""
