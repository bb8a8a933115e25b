"""The agent firewall: which tools an agent may use, decided per call.

``engine/`` says what a policy means and is pure. The rest of the app keeps
policies, rules, runs and events, and shows them. What happens to a call on its
way to a provider is in ``orcarouter/gateway``, which uses this app.
"""
