"""Keys: what an agent may reach, the providers it reaches, and what it used.

An ``ApiKey`` is a scope: models, addresses, expiry, environment, policy. A ``ProviderCredential`` is where calls go. ``Usage``
has one row a finished call. The gateway reads all of it through ``selectors.grant``.
"""
