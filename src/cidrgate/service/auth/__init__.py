"""Who may use the service: tokens, console sessions, one-time links, their scopes, and the rate limit of logins.

Nothing here knows lists: what a principal may do with them is asked by the API and the console.
"""
