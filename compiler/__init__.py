"""Floor 3: trajectories become ACC examples, examples become published dataset versions."""
