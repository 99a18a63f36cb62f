"""Floor 1: tasks, tools, evidence, scores, and the three environments. Imports nothing else of trajc."""
