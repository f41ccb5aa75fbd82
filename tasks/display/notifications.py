"""Notifications: automations of the Prefect server that tell a block of failures, promotions and drift.

The server itself sends the message, so that a run whose process was killed is heard of too.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.automations import AutomationCore, EventTrigger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.actions import SendNotification
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import PrefectHTTPStatusError

from tasks.core.errors import UsageError
from tasks.display.dashboard import DRIFTED, PROMOTED

FLOWS = (
    "train-image-classifier",
    "sweep-image-classifier",
    "predict-images",
    "evaluate-model",
    "prune-workspace",
)
MODELS: dict[str, str | list[str]] = {"prefect.resource.id": "plumbline.model.*"}


@dataclass(frozen=True)
class Message:
    """What a block is told of an event.

    Args:
        events: Names of the events.
        subject, body: Jinja templates (https://docs.prefect.io/v3/concepts/automations).
        match: Labels of the events' resource.
        flows: Names of the flows whose runs are meant; empty for events that are no flow run's.
    """

    events: frozenset[str]
    subject: str
    body: str
    match: dict[str, str | list[str]]
    flows: tuple[str, ...] = ()

    def trigger(self) -> EventTrigger:
        """Each event of its own."""
        related: dict[str, str | list[str]] = {}
        if self.flows:
            related = {"prefect.resource.role": "flow", "prefect.resource.name": [*self.flows]}
        return EventTrigger(
            expect=set(self.events),
            match=ResourceSpecification(self.match),
            match_related=ResourceSpecification(related),
            threshold=1,
        )


MESSAGES = {
    "plumbline: a run failed": Message(
        frozenset({"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}),
        "Plumbline: {{ flow.name }} {{ flow_run.state.name }}",
        "{{ flow_run.name }}: {{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
        {"prefect.resource.id": "prefect.flow-run.*"},
        FLOWS,
    ),
    "plumbline: a model was promoted": Message(
        frozenset({PROMOTED}),
        "Plumbline: {{ event.payload.dataset }} has a new champion",
        "{{ event.payload.dataset }} {{ event.payload.version }}: {{ event.payload.verdict }}",
        MODELS,
    ),
    "plumbline: images have drifted": Message(
        frozenset({DRIFTED}),
        "Plumbline: drift in images for {{ event.payload.dataset }}",
        "{{ event.payload.dataset }} {{ event.payload.version }}, batch {{ event.payload.batch }}: "
        "{{ event.payload.words }}\n{{ event.payload.report }}",
        MODELS,
    ),
}


def notify(block: str = "") -> dict[str, Any]:
    """Tell a notification block of failures, promotions and drift; a step of `prefect deploy`.

    Args:
        block: Its type and name, such as "slack-webhook/team". Empty: nobody is told; automations that this
            function has made are removed.

    Raises:
        UsageError: There is no such block, or it cannot send notifications.
    """
    with get_client(sync_client=True) as client:
        document = _document_id(client, block) if block else None
        for name, message in MESSAGES.items():
            _put(client, name, message, document)
    return {}


def _put(client: SyncPrefectClient, name: str, message: Message, document: UUID | None) -> None:
    """Create the automation, or another in its place if it differs; without a block remove it."""
    existing = client.read_automations_by_name(name)
    wanted = _automation(name, message, document) if document else None
    if wanted and [_content(automation) for automation in existing] == [_content(wanted)]:
        return
    for automation in existing:
        client.delete_automation(automation.id)
    if wanted:
        client.create_automation(wanted)


def _automation(name: str, message: Message, document: UUID) -> AutomationCore:
    action = SendNotification(block_document_id=document, subject=message.subject, body=message.body)
    return AutomationCore(name=name, trigger=message.trigger(), actions=[action])


def _content(automation: AutomationCore) -> list[Any]:
    """When it sends what: that somebody has paused it is no difference."""
    trigger = automation.trigger.model_dump(mode="json", exclude={"id"})
    expected = sorted(trigger.pop("expect"))
    return [trigger, expected, [action.model_dump(mode="json") for action in automation.actions]]


def _document_id(client: SyncPrefectClient, block: str) -> UUID:
    kind, _, name = block.partition("/")
    parts = {"slug": kind, "block_document_name": name}
    try:
        document = client.request(
            "GET", "/block_types/slug/{slug}/block_documents/name/{block_document_name}", path_params=parts
        ).json()
    except PrefectHTTPStatusError as error:
        raise _refusal(block, "no such block at the Prefect server") from error
    if "notify" not in document["block_schema"]["capabilities"]:
        raise _refusal(block, f"a block of type {kind}, which sends no notifications")
    return UUID(document["id"])


def _refusal(block: str, found: str) -> UsageError:
    return UsageError(
        f"{block} cannot be notified",
        expected="type and name of a notification block, such as slack-webhook/team",
        found=found,
        done="automations are as they were",
        todo="create the block in the dashboard (Blocks), or correct its name in deployments/prefect.yaml",
    )
