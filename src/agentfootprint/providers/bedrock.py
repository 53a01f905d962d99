"""Amazon Bedrock's models through its Converse API: over signed HTTP, or a given boto3 client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..messages import LLMRequest
from ..vendors.bedrock import bedrock_transport
from ..vendors.http_client import ApiKey
from .base import Capability
from .bedrock_wire import BedrockWire
from .wire import WireProvider

__all__ = ["BedrockProvider"]


class BedrockProvider(WireProvider):
    """Models in Amazon Bedrock, of any maker (`pip install 'agentfootprint[bedrock]'`). For Anthropic's
    it is a `CountsTokens` too.

    Requests are signed with the credentials that boto3 finds: environment, profile, SSO, the machine's role.
    They are made here and not by boto3, whose calls hold a thread each and cannot be broken off.

    Args:
        model: a model id or inference profile, such as `"us.anthropic.claude-sonnet-4-5-20250929-v1:0"`.
        region: default AWS_REGION, AWS_DEFAULT_REGION or the profile's.
        endpoint_url: another server of the same API, such as a VPC endpoint; default
            AWS_ENDPOINT_URL_BEDROCK_RUNTIME, AWS_ENDPOINT_URL or the region's. One on this machine
            needs neither region nor credentials.
        client: a boto3 client of `bedrock-runtime` of one's own, which then makes the calls, in threads. Make
            it with `Config(retries={"total_max_attempts": 1})`, so that `with_retry` sees every attempt.
            A call that is cancelled before its answer has begun leaves its thread waiting.
        api_key: a Bedrock API key, or a (possibly async) function that gives it for each request; default
            AWS_BEARER_TOKEN_BEDROCK. With one nothing is signed.
        cache: mark tools and system prompt for the vendor's cache; default: for models known to have it.
        extra_body: joins every request, such as `{"guardrailConfig": {...}}`.
        name: shown in events and errors.

    Raises:
        MissingExtra, ConfigurationError: boto3 is not installed; no region is known.
        Unauthorized (when asked): no credentials were found.
    """

    _wire: BedrockWire

    def __init__(
        self,
        model: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        client: Any = None,
        api_key: ApiKey | None = None,
        cache: bool | None = None,
        extra_body: Mapping[str, Any] | None = None,
        name: str = "bedrock",
    ) -> None:
        if cache is None:
            cache = any(maker in model for maker in ("anthropic.claude", "amazon.nova"))
        wire = BedrockWire(name, model, cache, extra_body)
        transport = bedrock_transport(
            "BedrockProvider",
            name,
            model,
            region=region,
            endpoint_url=endpoint_url,
            client=client,
            api_key=api_key,
        )
        super().__init__(name, model, wire, transport)
        if "anthropic." in model:
            # An ability is there or it is not: the vendor counts for these models only.
            vars(self)["count_tokens"] = self._count

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        found: frozenset[Capability] = frozenset(
            ("tools", "images", "documents", "structured_output", "reasoning")
        )
        if self._wire.caches:
            found |= {"prompt_cache"}
        return found | {"token_counting"} if "anthropic." in self.model else found

    async def _count(self, request: LLMRequest) -> int:
        return await self._counted(self._wire.count_path, self._wire.counted(request), "inputTokens")
