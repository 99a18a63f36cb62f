"""Floor 2: the agent loop, model endpoints, trajectories and their store, the durable queue. Imports envs only."""
