"""A support desk for two shops: `python -m agentfootprint.demo`.

`app.py` is the agent, `orders.py` its database, `model.py` the stand-in for a language model,
`__main__.py` the story that is told, `approve.py` what a second process does in it.
"""
