"""From recipe to environment."""
