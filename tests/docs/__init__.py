"""The documentation holds what it says: its words, its links, its commands and its pages."""
