"""Pools: the containers of one function, their queue, and how many of them there should be."""
