"""Every error the library raises on purpose.

    AgentFootprintError
    ├── ConfigurationError            what was built cannot work; raised where it is built
    │   ├── MissingExtra              an optional package is not installed; names the command
    │   ├── IdentityInvalid           a part of an identity cannot be a key
    │   └── FlowInvalid               a chart with a missing, unreachable or doubled step
    ├── InputInvalid                  a run was asked for something it cannot start with
    ├── DocumentUnreadable            a file that is no text, Markdown or HTML (.source, .byte)
    ├── IdentityRequired              a run without a tenant on a store that outlives the process
    ├── RunError                      a run could not go on; like all that a run raises it carries .footprint
    │   ├── StepFailed                a step's own code raised; the cause is __cause__
    │   ├── JoinConflict              two branches wrote one key that has no reducer
    │   ├── CostBudgetExceeded        the next call could cost more than is left; it was not made
    │   ├── DeadlineExceeded          the run's time was over
    │   ├── PermissionHalted          the permission policy ended the run
    │   ├── OutputInvalid             the answer does not fit output=
    │   ├── MutatedInPlace            development mode: a written value was changed afterwards
    │   └── RecordedFailure           an effect failed when it was recorded, and so again now
    ├── ReplayError
    │   ├── ReplayDiverged            a replayed step did something else than recorded
    │   └── ReplayRefused             the record is redacted or cut, or asks for a live effect
    ├── ResumeRefused                 nothing was executed and the checkpoint is not used up
    │   ├── CheckpointTampered        its digest is unknown, or its signature does not fit
    │   ├── CheckpointExpired         its time is over
    │   ├── CheckpointUsed            it was resumed before
    │   ├── CheckpointMismatch        it belongs to another agent, flow, tool set or identity
    │   ├── CheckpointVersion         another schema version, and no migration
    │   ├── AnswerRequired            an open question got no answer
    │   └── AnswerInvalid             an answer has the wrong kind
    ├── ResumeDiverged                a resumed step asked or called something else than before
    ├── ConversationError
    │   ├── ConversationBusy          another turn of the conversation is running
    │   └── ConversationPaused        the conversation waits for a person
    ├── ToolError                     raise it in a tool: the model reads the message as the result
    │   └── QuestionExpired           nobody answered a tool's question in time
    ├── StoreError
    │   ├── StoreUnavailable          it cannot be reached, opened or written; says which and why
    │   ├── StoreConflict             a compare-and-set lost more often than is reasonable
    │   ├── EmbedderMismatch          vectors of two embedders in one index
    │   └── StoreCorrupt              what is stored is not what was written
    ├── MemoryModelFailed             a model that works for a memory gave no answer that can be used
    ├── JournalInvalid                a footprint or checkpoint that cannot be read
    ├── UnsupportedValue              a value that cannot be recorded
    └── ProviderError                 a language model could not answer (.status, .retry_after, .provider)
        ├── RateLimited, Overloaded, Unavailable, TimedOut, StreamTruncated
        ├── Unauthorized, InvalidRequest, ContextWindowExceeded, ContentFiltered
        ├── CircuitOpen               not asked: our own circuit breaker is open (.retry_after)
        ├── RateLimitExceeded         not asked: our own rate limit has no room in time (.retry_after)
        ├── AllProvidersFailed        every provider of a chain failed (.errors)
        └── MockExhausted             a MockProvider was asked more often than it has replies

Each class has a stable `code` (a string that may be logged, matched and alerted on). Messages say
what happened, why, and what to do; they never quote secrets or another tenant's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .agent.checkpoint import Checkpoint
    from .flow.footprint import Footprint


class AgentFootprintError(Exception):
    """Root of every error of this library.

    An error that a run raised carries `footprint`, everything that happened up to it, and, where the
    run can go on, `checkpoint`: `await agent.resume(error.checkpoint)` continues from the last step
    that finished.
    """

    code: ClassVar[str] = "agentfootprint"
    footprint: Footprint | None = None
    checkpoint: Checkpoint | None = None


class ConfigurationError(AgentFootprintError):
    """What was built cannot work."""

    code = "configuration"


class MissingExtra(ConfigurationError, ImportError):
    """An optional package is not installed."""

    code = "missing_extra"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package: pip install 'agentfootprint[{extra}]'")
        self.extra = extra


class IdentityInvalid(ConfigurationError, ValueError):
    """A part of an identity cannot be a key."""

    code = "identity_invalid"


class FlowInvalid(ConfigurationError):
    """A chart with a missing, unreachable or doubled step."""

    code = "flow_invalid"


class InputInvalid(AgentFootprintError, ValueError):
    """A run was asked for something it cannot start with."""

    code = "input_invalid"


class DocumentUnreadable(AgentFootprintError, ValueError):
    """A file cannot be read as a document.

    Args:
        source: what the document is called.
        byte: the offset of the byte that is the reason, where there is one.
    """

    code = "document_unreadable"

    def __init__(self, message: str, *, source: str = "", byte: int | None = None) -> None:
        super().__init__(message)
        self.source = source
        self.byte = byte


class IdentityRequired(AgentFootprintError):
    """A run without a tenant on a store that outlives the process."""

    code = "identity_required"


class RunError(AgentFootprintError):
    """A run could not go on."""

    code = "run_failed"


class StepFailed(RunError):
    """A step's own code raised."""

    code = "step_failed"


class JoinConflict(RunError):
    """Two branches wrote one key that has no reducer."""

    code = "join_conflict"


class DeadlineExceeded(RunError, TimeoutError):
    """The run's time was over."""

    code = "deadline_exceeded"


class CostBudgetExceeded(RunError):
    """The next call could cost more than is left of a budget; it was not made."""

    code = "cost_budget"


class PermissionHalted(RunError):
    """The permission policy ended the run at a call that it halts on; the call was not run."""

    code = "permission_halted"


class OutputInvalid(RunError):
    """The answer does not fit `output=`."""

    code = "output_invalid"


class MutatedInPlace(RunError):
    """A value was changed after it was written (checked in development mode only)."""

    code = "mutated_in_place"


class RecordedFailure(RunError):
    """An effect failed when it was recorded, and so again when the record answers for it."""

    code = "recorded_failure"


class ReplayError(AgentFootprintError):
    """A record could not be run again."""

    code = "replay"


class ReplayDiverged(ReplayError):
    """A replayed step did something else than was recorded."""

    code = "replay_diverged"


class ReplayRefused(ReplayError):
    """The record is redacted or cut, or the replay asked for an effect that was not recorded."""

    code = "replay_refused"


class ResumeRefused(AgentFootprintError):
    """A checkpoint was not accepted. Nothing was executed and the checkpoint is not used up."""

    code = "resume_refused"


class CheckpointTampered(ResumeRefused):
    code = "checkpoint_tampered"


class CheckpointExpired(ResumeRefused):
    code = "checkpoint_expired"


class CheckpointUsed(ResumeRefused):
    code = "checkpoint_used"


class CheckpointMismatch(ResumeRefused):
    code = "checkpoint_mismatch"


class CheckpointVersion(ResumeRefused):
    code = "checkpoint_version"


class AnswerRequired(ResumeRefused):
    code = "answer_required"


class AnswerInvalid(ResumeRefused):
    code = "answer_invalid"


class ResumeDiverged(AgentFootprintError):
    """A resumed step asked or called something else than on its first run."""

    code = "resume_diverged"


class ConversationError(AgentFootprintError):
    """A turn could not join its conversation."""

    code = "conversation"


class ConversationBusy(ConversationError):
    code = "conversation_busy"


class ConversationPaused(ConversationError):
    code = "conversation_paused"


class ToolError(AgentFootprintError):
    """Raise it in a tool: the model reads the message as the tool's (error) result."""

    code = "tool_error"


class QuestionExpired(ToolError):
    code = "question_expired"


class StoreError(AgentFootprintError):
    """A store did not do what was asked."""

    code = "store"


class StoreUnavailable(StoreError):
    code = "store_unavailable"


class StoreConflict(StoreError):
    code = "store_conflict"


class EmbedderMismatch(StoreError):
    """Vectors of one embedder were to be kept or searched among those of another: they cannot be compared."""

    code = "embedder_mismatch"


class StoreCorrupt(StoreError):
    code = "store_corrupt"


class MemoryModelFailed(AgentFootprintError):
    """A model that works for a memory gave no answer that can be used: nothing was written of it."""

    code = "memory_model_failed"


class JournalInvalid(AgentFootprintError, ValueError):
    """A footprint or a checkpoint that cannot be read."""

    code = "journal_invalid"


class UnsupportedValue(AgentFootprintError, TypeError):
    """A value that cannot be recorded."""

    code = "unsupported_value"


class ProviderError(AgentFootprintError):
    """A language model could not answer.

    Args:
        status: the HTTP status, where there was one.
        retry_after: seconds the vendor asked to wait, where it said so.
        provider: name of the provider that failed.
    """

    code = "provider"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        provider: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message or type(self).__doc__ or self.code)
        self.status = status
        self.retry_after = retry_after
        self.provider = provider
        self.details = details


class RateLimited(ProviderError):
    """The vendor limits how often it may be asked."""

    code = "rate_limited"
    retryable = True


class Overloaded(ProviderError):
    """The vendor has more requests than it can serve."""

    code = "overloaded"
    retryable = True


class Unavailable(ProviderError):
    """The vendor could not be reached or failed by itself."""

    code = "unavailable"
    retryable = True


class TimedOut(ProviderError):
    """The vendor did not answer in time."""

    code = "timed_out"
    retryable = True


class StreamTruncated(ProviderError):
    """The stream ended without its terminal event; what arrived is not a whole answer."""

    code = "stream_truncated"
    retryable = True


class Unauthorized(ProviderError):
    """The key is missing, wrong, or may not do this."""

    code = "unauthorized"


class InvalidRequest(ProviderError):
    """The vendor refused the request as it is."""

    code = "invalid_request"


class ContextWindowExceeded(InvalidRequest):
    """The conversation is longer than the model can read."""

    code = "context_window_exceeded"


class ContentFiltered(ProviderError):
    """The vendor's content filter stopped the answer."""

    code = "content_filtered"


class CircuitOpen(ProviderError):
    """The provider was not asked: its circuit breaker is open for another `retry_after` seconds."""

    code = "circuit_open"


class RateLimitExceeded(ProviderError):
    """The provider was not asked: our own rate limit has no room for it in time."""

    code = "rate_limit_exceeded"


class AllProvidersFailed(ProviderError):
    """Every provider of a chain failed. `errors` are theirs, in the order tried.

    It is retryable if any of them is; `retry_after` is, where it is not given, the shortest wait that one of
    those asked for, and nothing when one of those did not ask.
    """

    code = "all_providers_failed"

    def __init__(
        self,
        errors: Sequence[ProviderError],
        message: str = "",
        *,
        retry_after: float | None = None,
        **details: Any,
    ) -> None:
        told = "; ".join(f"{each.provider or 'provider'}: {each.code}: {each}" for each in errors)
        waits = [each.retry_after for each in errors if each.retryable] or [e.retry_after for e in errors]
        asked = [wait for wait in waits if wait is not None]
        wait = min(asked) if asked and len(asked) == len(waits) else None
        told = message or f"every provider failed: {told}"
        super().__init__(told, retry_after=wait if retry_after is None else retry_after, **details)
        self.errors = tuple(errors)

    def __reduce__(self) -> Any:
        # An exception is pickled with its message as the only argument, and this one's are errors.
        return type(self), (self.errors, str(self)), self.__dict__

    @property
    def retryable(self) -> bool:  # type: ignore[override]
        return any(each.retryable for each in self.errors)


class MockExhausted(ProviderError):
    """A `MockProvider` was asked more often than it has replies."""

    code = "mock_exhausted"
