"""``manage.py demo``: an agent on the official ``openai`` SDK plays stories against a running OrcaRouter.

``stories`` is what is played and how it has to end; ``toolbox`` the agent's tools, with canned results; ``agent`` the loop;
``installation`` what the stories need of the management API; ``play`` puts them together; ``screen`` prints.

Nothing here reads the database: what the gateway did is read back over its API, as anybody would.
"""
