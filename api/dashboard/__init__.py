"""The dashboard: plain pages rendered here, that work without JavaScript."""
