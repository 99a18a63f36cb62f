"""Files that trainers read, each written from the same canonical examples. Sizes in tokens; text is UTF-8."""
