"""Formatters: lists as configuration of other programs that can enforce them."""
