"""The floor: a loop over plain dicts, written by hand. What it costs, no framework can save."""

import asyncio
import json

from plan import FINAL, PROMPT, SYSTEM, Plan, Subject

NAME = "raw asyncio"
ROLE = "floor"
INSTALL = []
PACKAGE = "asyncio"
IMPORT = "import asyncio, json"
ENV = {}


def prepare(plan: Plan) -> Subject:
    tools = {"add": plan.tool()}

    async def ask(messages):
        await plan.think()
        last = messages[-1]
        calls = plan.calls(last["call_id"] if last["role"] == "tool" else None)
        if not calls:
            return {"role": "assistant", "content": FINAL}
        wanted = [{"id": name, "name": "add", "arguments": json.dumps(given)} for name, given in calls]
        return {"role": "assistant", "tool_calls": wanted}

    async def call(wanted):
        result = await tools[wanted["name"]](**json.loads(wanted["arguments"]))
        return {"role": "tool", "call_id": wanted["id"], "content": json.dumps(result)}

    async def run():
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
        while True:
            reply = await ask(messages)
            messages.append(reply)
            wanted = reply.get("tool_calls")
            if not wanted:
                return reply["content"]
            if len(wanted) == 1:
                messages.append(await call(wanted[0]))
            else:
                messages += await asyncio.gather(*map(call, wanted))

    async def stream():
        await plan.think()
        for piece in plan.pieces():
            yield piece

    return Subject(run, stream)
