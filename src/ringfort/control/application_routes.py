"""Calls about what customers run: the customers' own, the nodes', and the operators'."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from ringfort.control import application_models as models
from ringfort.control.authorisation import Resource
from ringfort.control.callers import Caller
from ringfort.control.operation import BYTES, Operation, alone, customer, node, plain, platform, with_served
from ringfort.control.operations import applications, customers, data_key, instances, logs, settings, uploads
from ringfort.control.operations.arranging import topic_of
from ringfort.control.state import State

_MINE = "/v1/customers/{name}"
_APPLICATION = f"{_MINE}/applications/{{application}}"
_NODE = "/v1/nodes/{name}/instances"
SETTINGS_BODY = 2 * 1024 * 1024


def _owner(state: State, _caller: Caller, parameters: Mapping[str, str], _form: BaseModel | None) -> Resource:
    """Whoever registered the certificate that the path names."""
    return Resource("CustomerAccount", state.customers.get(parameters["thumbprint"], ("",))[0])


_UPLOADS: tuple[Operation, ...] = (
    Operation(
        "GET", "/v1/certificates/{thumbprint}", "identifyCertificate", "Whose certificate it is.",
        "customer-certificate:identify", models.CertificateOwner, _owner, plain(customers.identify), customers=True,
    ),
    Operation(
        "POST", f"{_MINE}/uploads", "beginUpload", "Announce software; what is here already need not be sent.",
        "application:upload", models.Upload, customer, change=with_served(uploads.begin), form=models.UploadForm,
        status=201, customers=True, refusals=(409,),
    ),
    Operation(
        "GET", f"{_MINE}/uploads/{{upload}}", "readUpload", "How much of it is here.", "application:upload",
        models.Upload, customer, plain(uploads.read_upload), customers=True,
    ),
    Operation(
        "PUT", f"{_MINE}/uploads/{{upload}}/parts/{{offset}}", "sendPart", "The part that begins at an offset.",
        "application:upload", models.Upload, customer, change=with_served(uploads.take_part), raw=True,
        largest=uploads.LARGEST_PART, customers=True, refusals=(409,),
    ),
    Operation(
        "DELETE", f"{_MINE}/uploads/{{upload}}", "dropUpload", "Forget software that no deployment needs.",
        "application:upload", models.Upload, customer, change=alone(uploads.drop), customers=True, refusals=(409,),
    ),
)  # fmt: skip

_APPLICATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", f"{_MINE}/applications", "listApplications", "What the customer wants to run.", "application:list",
        models.Applications, customer, plain(applications.list_applications), customers=True,
    ),
    Operation(
        "GET", _APPLICATION, "readApplication", "An application.", "application:read", models.Application, customer,
        plain(applications.read_application), customers=True,
    ),
    Operation(
        "DELETE", _APPLICATION, "removeApplication", "The end of an application, its settings and its logs.",
        "application:remove", models.Application, customer, change=alone(applications.remove), customers=True,
    ),
    Operation(
        "GET", f"{_APPLICATION}/deployments", "listDeployments", "The versions that are kept.", "application:read",
        models.Deployments, customer, plain(applications.list_deployments), customers=True,
    ),
    Operation(
        "POST", f"{_APPLICATION}/deployments", "deployApplication", "Verify software that was sent, and run it.",
        "application:deploy", models.Application, customer, prepare=applications.verify_software,
        change=applications.deploy, form=models.DeploymentForm, status=201, customers=True, refusals=(409,),
    ),
    Operation(
        "POST", f"{_APPLICATION}/rollback", "rollBackApplication", "Run an earlier version again.",
        "application:deploy", models.Application, customer, change=applications.roll_back, form=models.RollbackForm,
        status=201, customers=True, refusals=(409,),
    ),
    Operation(
        "POST", f"{_APPLICATION}/scale", "scaleApplication", "How many instances there are.", "application:operate",
        models.Application, customer, change=alone(applications.scale), form=models.ScaleForm, customers=True,
        refusals=(409,),
    ),
    Operation(
        "POST", f"{_APPLICATION}/stop", "stopApplication", "Run it no more, and keep everything.",
        "application:operate", models.Application, customer, change=alone(applications.stop), customers=True,
    ),
    Operation(
        "POST", f"{_APPLICATION}/start", "startApplication", "Run it again.", "application:operate",
        models.Application, customer, change=alone(applications.start), customers=True,
    ),
    Operation(
        "GET", f"{_APPLICATION}/configuration", "readConfiguration", "Its configuration.", "application:configure",
        models.Configuration, customer, settings.read_configuration, customers=True,
    ),
    Operation(
        "POST", f"{_APPLICATION}/configuration", "changeConfiguration", "Set and unset configuration values.",
        "application:configure", models.SettingsChanged, customer, change=with_served(settings.change_configuration),
        form=models.SettingsForm, largest=SETTINGS_BODY, customers=True, refusals=(409,),
    ),
    Operation(
        "GET", f"{_APPLICATION}/secrets", "listSecrets", "Which secrets there are; no values.",
        "application:configure", models.Secrets, customer, settings.list_secrets, customers=True,
    ),
    Operation(
        "POST", f"{_APPLICATION}/secrets", "changeSecrets", "Set and unset secrets.", "application:configure",
        models.SettingsChanged, customer, change=with_served(settings.change_secrets), form=models.SettingsForm,
        largest=SETTINGS_BODY, customers=True, refusals=(409,),
    ),
    Operation(
        "GET", f"{_APPLICATION}/log", "readLog", "What its instances write; may wait for more.", "application:log",
        models.LogLines, customer, logs.read_log, query=models.LogQuery, customers=True, news=logs.has_news,
        follows=lambda parts: logs.topic_of(parts["name"], parts["application"]),
    ),
)  # fmt: skip

_INSTANCES: tuple[Operation, ...] = (
    Operation(
        "GET", _NODE, "awaitInstances", "What a node should run; waits while that is known.", "node:run",
        models.WantedInstances, node, instances.wanted_on, query=models.WantedQuery, news=instances.has_news,
        follows=lambda parts: topic_of(parts["name"]),
    ),
    Operation(
        "POST", _NODE, "reportInstances", "How a node's instances are.", "node:run", models.NodeInstances, node,
        change=with_served(instances.report), form=models.NodeInstancesForm, largest=1024 * 1024,
    ),
    Operation(
        "GET", f"{_NODE}/{{instance}}/settings", "readInstanceSettings", "What an instance finds when it starts.",
        "node:run", models.InstanceSettings, node, instances.read_settings,
    ),
    Operation(
        "GET", f"{_NODE}/{{instance}}/software/{{offset}}", "fetchSoftware",
        "The part of its software that begins at an offset.", "node:run", BYTES, node, instances.fetch_software,
    ),
    Operation(
        "POST", f"{_NODE}/{{instance}}/log", "writeLog", "What an instance wrote.", "node:run", models.Logged, node,
        change=with_served(logs.add_lines), form=models.LogForm,
    ),
    Operation(
        "GET", "/v1/instances", "listInstances", "All instances, and nothing of what is in them.", "instance:list",
        models.Instances, platform, plain(instances.list_instances),
    ),
    Operation(
        "POST", "/v1/instances/{instance}/stop", "holdInstance", "Stop an instance until it is let go.",
        "instance:stop", models.Instance, platform, change=alone(instances.stop),
    ),
    Operation(
        "POST", "/v1/instances/{instance}/start", "releaseInstance", "Let an instance go that was stopped.",
        "instance:stop", models.Instance, platform, change=alone(instances.start),
    ),
    Operation(
        "POST", "/v1/instances/{instance}/move", "moveInstance", "Move an instance to another node.",
        "instance:move", models.Instance, platform, change=with_served(instances.move), form=models.MoveForm,
        refusals=(409,),
    ),
)  # fmt: skip

_DATA_KEY: tuple[Operation, ...] = (
    Operation(
        "GET", "/v1/data-key", "readDataKey", "Which keys wrap customers' keys.", "data-key:read", models.DataKey,
        platform, data_key.read,
    ),
    Operation(
        "POST", "/v1/data-key/rotation", "rotateDataKey", "Wrap all customers' keys with this controller's key.",
        "data-key:rotate", models.DataKey, platform, change=with_served(data_key.rotate),
    ),
)  # fmt: skip

APPLICATIONS: tuple[Operation, ...] = (*_UPLOADS, *_APPLICATIONS, *_INSTANCES, *_DATA_KEY)
