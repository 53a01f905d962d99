"""Names of the OpenTelemetry semantic conventions that are used here, and our own beside them.

They follow the conventions for generative AI (open-telemetry/semantic-conventions-genai), which are in
development: whatever is renamed there is renamed here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

# ── operations: the values of gen_ai.operation.name, which begin the names of spans ─────────────────

INVOKE_AGENT = "invoke_agent"
CHAT = "chat"
EXECUTE_TOOL = "execute_tool"
EMBEDDINGS = "embeddings"
RETRIEVAL = "retrieval"
SEARCH_MEMORY = "search_memory"
UPSERT_MEMORY = "upsert_memory"
UPDATE_MEMORY = "update_memory"

# ── attributes ──────────────────────────────────────────────────────────────────────────────────────

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
AGENT_NAME = "gen_ai.agent.name"
CONVERSATION_ID = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
INPUT_MESSAGES = "gen_ai.input.messages"
MEMORY_STORE = "gen_ai.memory.store.id"
MEMORY_COUNT = "gen_ai.memory.record.count"
MEMORY_RECORD = "gen_ai.memory.record.id"
DATA_SOURCE = "gen_ai.data_source.id"
RETRIEVAL_TOP_K = "gen_ai.retrieval.top_k"
EMBEDDING_DIMENSIONS = "gen_ai.embeddings.dimension.count"
ERROR_TYPE = "error.type"

RUN_ID = "agentfootprint.run.id"
RUN_STATUS = "agentfootprint.run.status"
RUN_REASON = "agentfootprint.run.stop_reason"
STEP = "agentfootprint.step.id"
TENANT = "agentfootprint.tenant"
RESUMED = "agentfootprint.run.resumed"
COST = "agentfootprint.cost.usd"
COST_KIND = "agentfootprint.cost.kind"
BUDGET = "agentfootprint.budget"
RUN_BUDGET_USED = "agentfootprint.budget.run.used"
WINDOW_BUDGET_USED = "agentfootprint.budget.window.used"
OUTCOME = "agentfootprint.tool.outcome"
TURNS = "agentfootprint.memory.turns"
PASSAGES = "agentfootprint.retrieval.passages"
TEXTS = "agentfootprint.embeddings.texts"
MESSAGES = "agentfootprint.request.messages"
TOOLS = "agentfootprint.request.tools"
TOOL_CALLS = "agentfootprint.response.tool_calls"
LINK = "agentfootprint.link"
OWN = "agentfootprint."
"""Begins the names of span events, and of the attributes that are fields of our events."""

# ── metrics ─────────────────────────────────────────────────────────────────────────────────────────

OPERATION_DURATION = "gen_ai.client.operation.duration"
TOKEN_USAGE = "gen_ai.client.token.usage"
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
AGENT_DURATION = "gen_ai.invoke_agent.duration"
AGENT_INFERENCES = "gen_ai.invoke_agent.inference_calls"
AGENT_TOOL_CALLS = "gen_ai.invoke_agent.tool_calls"
TOOL_DURATION = "gen_ai.execute_tool.duration"
COST_TOTAL = "agentfootprint.cost"
BUDGET_USED = "agentfootprint.budget.used"
EVENTS_TOTAL = "agentfootprint.events"
DROPPED = "agentfootprint.telemetry.dropped_events"
UNSAMPLED = "agentfootprint.telemetry.unsampled_runs"

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
SHARES = (0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 1, 2)
COUNTS = (0, 1, 2, 4, 8, 16, 32, 64, 128)

# ── values ──────────────────────────────────────────────────────────────────────────────────────────

_PROVIDERS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "bedrock": "aws.bedrock",
    "cohere": "cohere",
    "groq": "groq",
    "mistral": "mistral_ai",
    "deepseek": "deepseek",
    "perplexity": "perplexity",
    "xai": "x_ai",
}


def provider_name(name: str) -> str:
    """A provider's name as the conventions know it; others are told as they call themselves."""
    return _PROVIDERS.get(name, name)


_FINISHED: Mapping[str, str] = {"end": "stop", "max_tokens": "length", "tool_calls": "tool_call"}


def finish_reason(stop_reason: str) -> str:
    """Why a model stopped, in the conventions' words where they have one."""
    return _FINISHED.get(stop_reason, stop_reason)
