"""Authentication and authorization: tokens, console sessions, one-time links, scopes, and the rate limit of logins.

This folder does not know lists: the API and the console check what a principal may do with them.
"""
