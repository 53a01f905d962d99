"""How much room a rate limit has: pure decisions over one small record."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Bucket", "BucketRules"]


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is left at the time `at`. Less than nothing is what calls that are waiting have taken ahead."""

    requests: float
    tokens: float
    at: float

    def to_json(self) -> list[float]:
        return [self.requests, self.tokens, self.at]

    @staticmethod
    def from_json(data: list[float]) -> Bucket:
        return Bucket(*data)


@dataclass(frozen=True, slots=True)
class BucketRules:
    """So many requests and tokens per `per` seconds, refilled steadily; None is no limit."""

    requests: float | None
    tokens: float | None
    per: float

    @property
    def full(self) -> Bucket:
        return Bucket(self.requests or 0.0, self.tokens or 0.0, 0.0)

    def take(
        self, bucket: Bucket, now: float, tokens: float, max_wait: float
    ) -> tuple[Bucket, tuple[bool, float]]:
        """Takes one request and so many tokens: (whether, seconds to wait until then). What would have to
        wait longer than `max_wait` is refused and takes nothing."""
        bucket = self._at(bucket, now)
        wait = 0.0
        if self.requests is not None:
            # A whole bucket may be less than one request.
            wanted = min(1.0, self.requests)
            wait = max(wait, (wanted - bucket.requests) * self.per / self.requests)
        if self.tokens is not None:
            # More than a whole bucket never fits: it goes when the bucket is full, and leaves it in debt.
            wanted = min(tokens, self.tokens)
            wait = max(wait, (wanted - bucket.tokens) * self.per / self.tokens)
        if wait > max_wait:
            return bucket, (False, wait)
        return Bucket(bucket.requests - 1, bucket.tokens - tokens, bucket.at), (True, wait)

    def give_back(self, bucket: Bucket, now: float, requests: float, tokens: float) -> tuple[Bucket, None]:
        """What was taken and not used; negative tokens are those used beyond what was taken."""
        bucket = self._at(bucket, now)
        return self._at(Bucket(bucket.requests + requests, bucket.tokens + tokens, bucket.at), now), None

    def _at(self, bucket: Bucket, now: float) -> Bucket:
        # A clock that goes back refills nothing. One that goes back further than the clocks of instances
        # differ counts from there: waiting for it to catch up would refuse everything until then.
        at = bucket.at if bucket.at - now <= self.per else now
        passed = max(0.0, now - at) / self.per
        requests, tokens = self.requests or 0.0, self.tokens or 0.0
        return Bucket(
            min(requests, bucket.requests + passed * requests),
            min(tokens, bucket.tokens + passed * tokens),
            max(now, at),
        )
