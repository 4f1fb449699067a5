"""What runs inside a container: loading user code, its lifecycle, serving its inputs."""
