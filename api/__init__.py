"""Floor 4: settings, HTTP, dashboard, workers and the command. Nothing imports it."""
