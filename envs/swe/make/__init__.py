"""Where software-engineering tasks come from: folders with a known bug, and bugs planted in real packages."""
