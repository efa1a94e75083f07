"""The routes of projects and API keys, documented (rest-api §4) and canonical, one case each. No test."""

from google.protobuf.empty_pb2 import Empty
from messagepipe.config.v1 import project_service_pb2 as pb2

from tests.integration.gateway.cases import TIME, TIME_JSON, Case

PROJECT = pb2.Project(id="demo", name="Demo", created_at=TIME)
PROJECT_JSON = {"id": "demo", "name": "Demo", "createdAt": TIME_JSON}
KEY = pb2.ApiKey(id="k-1", project_id="demo", name="Web", prefix="mzl_12345678", is_active=True, created_at=TIME)
KEY_JSON = {
    "id": "k-1",
    "projectId": "demo",
    "name": "Web",
    "prefix": "mzl_12345678",
    "isActive": True,
    "createdAt": TIME_JSON,
}
MADE = pb2.CreateApiKeyResponse(
    message="API key created successfully.",
    key="mzl_1234567890",
    id="k-1",
    project_id="demo",
    name="Web",
    prefix="mzl_12345678",
    is_active=True,
    created_at=TIME,
)


def _change(method: str, url: str) -> Case:
    request = pb2.UpdateApiKeyRequest(project_id="demo", id="k-1", is_active=False)
    if method == "PUT":
        request.name = "Web"
    body = {"isActive": False} | ({"name": "Web"} if method == "PUT" else {})
    return Case(
        url=f"{url}/demo/api-keys/k-1", body=body, rpc="UpdateApiKey", request=request, answer=KEY, json=KEY_JSON
    )


def _projects(base: str, *, bare: bool) -> dict[str, Case]:
    """The routes below `base`; `bare`: a list is the whole answer, as the documented paths have it."""
    keys = f"{base}/demo/api-keys"
    listed = {} if bare else {"nextPageToken": ""}
    return {
        f"POST {base}": Case(
            url=base,
            body={"name": "Demo"},
            rpc="CreateProject",
            request=pb2.CreateProjectRequest(name="Demo"),
            answer=PROJECT,
            json=PROJECT_JSON,
            status=201,
        ),
        f"GET {base}": Case(
            url=f"{base}?pageSize=2",
            rpc="ListProjects",
            request=pb2.ListProjectsRequest(page_size=2),
            answer=pb2.ListProjectsResponse(projects=[PROJECT]),
            json=[PROJECT_JSON] if bare else {"projects": [PROJECT_JSON], **listed},
        ),
        f"GET {base}/{{id}}": Case(
            url=f"{base}/demo",
            rpc="GetProject",
            request=pb2.GetProjectRequest(id="demo"),
            answer=PROJECT,
            json=PROJECT_JSON,
        ),
        f"DELETE {base}/{{id}}": Case(
            url=f"{base}/demo?confirm=Web+shop",
            rpc="DeleteProject",
            request=pb2.DeleteProjectRequest(id="demo", confirm="Web shop"),
            answer=Empty(),
            status=204,
        ),
        f"POST {base}/{{project_id}}/api-keys": Case(
            url=keys,
            body={"name": "Web"},
            rpc="CreateApiKey",
            request=pb2.CreateApiKeyRequest(project_id="demo", name="Web"),
            answer=MADE,
            json={"message": "API key created successfully.", "key": "mzl_1234567890", **KEY_JSON},
            status=201,
        ),
        f"GET {base}/{{project_id}}/api-keys": Case(
            url=keys,
            rpc="ListApiKeys",
            request=pb2.ListApiKeysRequest(project_id="demo"),
            answer=pb2.ListApiKeysResponse(api_keys=[KEY]),
            json=[KEY_JSON] if bare else {"apiKeys": [KEY_JSON]},
        ),
        f"PUT {base}/{{project_id}}/api-keys/{{id}}": _change("PUT", base),
        f"DELETE {base}/{{project_id}}/api-keys/{{id}}": Case(
            url=f"{keys}/k-1",
            rpc="DeleteApiKey",
            request=pb2.DeleteApiKeyRequest(project_id="demo", id="k-1"),
            answer=Empty(),
            status=204,
        ),
    }


PROJECTS: dict[str, Case] = {
    **_projects("/projects", bare=True),
    **_projects("/v1/projects", bare=False),
    "PATCH /v1/projects/{project_id}/api-keys/{id}": _change("PATCH", "/v1/projects"),
}
