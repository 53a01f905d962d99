"""What the conformance suite runs: an agent that calls every tool of the server at an address, and a person
who agrees to whatever is asked."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from agentfootprint import Agent, Paused
from agentfootprint.providers import MockProvider
from agentfootprint.tools import MCPClient, RunContext

RETURN = "http://localhost:3000/callback"


def filled(schema: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"integer": 5, "number": 5, "boolean": True, "array": [], "object": {}}
    properties = schema.get("properties", {})
    return {name: kinds.get(properties[name].get("type"), "text") for name in schema.get("required", ())}


class Kept:
    """What the SDK keeps of signing in, for as long as this process lives."""

    def __init__(self, client: OAuthClientInformationFull | None) -> None:
        self.tokens: OAuthToken | None = None
        self.client = client

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def signing_in(url: str, scenario: str, context: Mapping[str, Any]) -> httpx2.Auth:
    """The SDK's provider for a scenario."""
    client = context.get("client_id", "")
    if scenario.endswith("client-credentials-basic"):
        return ClientCredentialsOAuthProvider(url, Kept(None), client, context["client_secret"])
    if scenario.endswith("client-credentials-jwt"):
        signing = SignedJWTParameters(
            issuer=client,
            subject=client,
            signing_key=context["private_key_pem"],
            signing_algorithm=context["signing_algorithm"],
        )
        return PrivateKeyJWTOAuthProvider(url, Kept(None), client, signing.create_assertion_provider())
    return with_a_person(url, context)


def with_a_person(url: str, context: Mapping[str, Any]) -> httpx2.Auth:
    """A person agrees at once to whatever the browser shows."""
    agreed: list[AuthorizationCodeResult] = []

    async def agree(address: str) -> None:
        async with httpx2.AsyncClient() as browser:
            answer = await browser.get(address, follow_redirects=False)
        [query] = [parse_qs(urlsplit(answer.headers["location"]).query)]
        told = {name: query[name][0] for name in ("code", "state", "iss") if name in query}
        agreed.append(AuthorizationCodeResult(**told))

    async def came_back() -> AuthorizationCodeResult:
        return agreed.pop()

    known = None
    if "client_id" in context:
        known = OAuthClientInformationFull(
            client_id=context["client_id"],
            client_secret=context.get("client_secret"),
            redirect_uris=[AnyUrl(RETURN)],
            token_endpoint_auth_method="client_secret_basic" if "client_secret" in context else "none",
        )
    return OAuthClientProvider(
        url,
        OAuthClientMetadata(client_name="agentfootprint", redirect_uris=[AnyUrl(RETURN)]),
        Kept(known),
        agree,
        came_back,
        client_metadata_url="https://conformance-test.local/client-metadata.json",
    )


async def main(url: str, scenario: str) -> None:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    auth = signing_in(url, scenario, context) if scenario.startswith("auth/") else None
    async with MCPClient.http(url, tool_timeout=20, auth=auth) as mcp:
        tools = await mcp.tools(RunContext(None, None, "conformance"))
        if scenario == "initialize":
            return
        calls = [MockProvider.call(each.name, **filled(each.spec.schema)) for each in tools]
        async with Agent(MockProvider(replies=[calls, "done"]), tools=[mcp]) as agent:
            result = await agent.run("Go.")
            while isinstance(result, Paused):
                result = await agent.resume(result.checkpoint, answers={ask.id: {} for ask in result.asks})
            for message in result.messages:
                print(message.role, message.text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[-1], os.environ.get("MCP_CONFORMANCE_SCENARIO", "")))
