"""Configuration, and the composition root that builds, wires, starts and stops every part."""
