"""agno, with a model of its own base class that answers from the plan."""

import json
import uuid

from plan import FINAL, PROMPT, SYSTEM, Plan, Subject

NAME = "agno"
ROLE = "peer"
INSTALL = ["agno"]
PACKAGE = "agno"
IMPORT = "from agno.agent import Agent"
ENV = {"AGNO_TELEMETRY": "false"}


def prepare(plan: Plan) -> Subject:
    from agno.agent import Agent
    from agno.models.base import Model
    from agno.models.response import ModelResponse

    def wanted(name, given):
        function = {"name": "add", "arguments": json.dumps(given)}
        return {"id": name, "type": "function", "function": function}

    class Fake(Model):
        def invoke(self, *args, **kwargs):
            raise RuntimeError("only the asynchronous face is measured")

        invoke_stream = invoke

        async def ainvoke(self, messages, *args, **kwargs):
            await plan.think()
            last = messages[-1]
            calls = plan.calls(last.tool_call_id if last.role == "tool" else None)
            if not calls:
                return ModelResponse(role="assistant", content=FINAL)
            return ModelResponse(role="assistant", tool_calls=[wanted(*call) for call in calls])

        async def ainvoke_stream(self, messages, *args, **kwargs):
            await plan.think()
            for piece in plan.pieces():
                yield ModelResponse(role="assistant", content=piece)

        def _parse_provider_response(self, response, **kwargs):
            return response

        def _parse_provider_response_delta(self, response):
            return response

    tool = plan.tool()

    def build():
        return Agent(model=Fake(id="fake"), tools=[tool], instructions=SYSTEM, telemetry=False)

    agent = build()

    async def run():
        return (await agent.arun(PROMPT, session_id=uuid.uuid4().hex)).content

    async def stream():
        async for event in agent.arun(PROMPT, session_id=uuid.uuid4().hex, stream=True):
            if event.event == "RunContent" and event.content:
                yield event.content

    return Subject(run, stream, build)
