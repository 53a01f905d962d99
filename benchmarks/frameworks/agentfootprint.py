"""This project, through its public face alone, with everything recorded as it always is."""

from plan import FINAL, PROMPT, SYSTEM, Plan, Subject

NAME = "agentfootprint"
ROLE = "ours"
INSTALL = ["--editable", "{root}[redis,postgres,vectors,otel,prometheus,structlog]"]
PACKAGE = "agentfootprint"
IMPORT = "from agentfootprint import Agent"
ENV = {"PYTHONPATH": "{root}/src"}


def prepare(plan: Plan) -> Subject:
    from agentfootprint import Agent
    from agentfootprint.events import TextDelta
    from agentfootprint.messages import LLMChunk, LLMResponse, ToolCall

    class Fake:
        name = model = "fake"

        async def complete(self, request):
            await plan.think()
            last = request.messages[-1]
            calls = plan.calls(last.call_id if last.role == "tool" else None)
            if not calls:
                return LLMResponse(FINAL)
            return LLMResponse(tool_calls=[ToolCall(name, "add", given) for name, given in calls])

        async def stream(self, request):
            await plan.think()
            pieces = plan.pieces()
            for piece in pieces:
                yield LLMChunk(piece)
            yield LLMChunk(response=LLMResponse("".join(pieces)))

    tool = plan.tool()

    def build():
        return Agent(Fake(), system=SYSTEM, tools=[tool], max_iterations=None)

    agent = build()

    async def run():
        return (await agent.run(PROMPT)).output

    async def stream():
        async with agent.stream(PROMPT) as live:
            async for event in live:
                if type(event) is TextDelta:
                    yield event.text

    return Subject(run, stream, build)


def keeper(kind, folder):
    import kept

    return kept.keeper(kind, folder)
