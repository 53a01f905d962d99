"""A support desk for two shops: `python -m agentfootprint.demo`.

`app.py` is the agent, `orders.py` its database, `model.py` the stand-in for a language model,
`__main__.py` the story that is told, `approve.py` what a second process does in it. With DEMO_MODEL=local,
`local_model.py` starts a real model, and `wording.py` lets it write the answers.
"""
