"""Sandboxes by the Docker Engine's API: one container for each agent."""
