"""Times one import line in this fresh interpreter.

python importing.py "from agentfootprint import Agent"
"""

import sys

from gauge import Stopwatch, gauged

line = compile(sys.argv[1], "import", "exec")
before = gauged()
with Stopwatch() as watch:
    exec(line, {})  # noqa: S102 - the constant of a framework's file
speed = (before + gauged()) / 2
modules = len(sys.modules)

import json  # noqa: E402 - part of what is timed, where a package imports it

timing = {"wall": watch.wall, "cpu": watch.cpu, "gauge": speed}
print("\n" + json.dumps({"import": timing, "import_modules": {"value": modules}}), flush=True)
