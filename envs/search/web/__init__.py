"""The live web as a source for the search environment: search APIs, and pages fetched behind a guard."""
