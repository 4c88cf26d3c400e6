"""The one exception that becomes an AWS error body."""

from __future__ import annotations

from typing import Any


class AwsError(Exception):
    """An error as AWS answers it.

    ``code`` is the error's name on the wire (``ClusterNotFoundException``, ``InvalidGroup.NotFound``), ``message`` its
    text, ``status`` the HTTP status (400 for client errors, 500 for ServerException), ``fields`` further members of a
    modelled error shape (``resourceIds`` of ConflictException).
    """

    def __init__(self, code: str, message: str, status: int = 400, **fields: Any) -> None:
        super().__init__(code, message)
        self.code, self.message, self.status, self.fields = code, message, status, fields

    @property
    def fault(self) -> str:
        """``Sender`` or ``Receiver``, as the query protocol's ``<Type>`` names it."""
        return "Receiver" if self.status >= 500 else "Sender"


def access_denied(text: str) -> AwsError:
    return AwsError("AccessDeniedException", text)


def client_error(text: str) -> AwsError:
    """ECS's ClientException: task definition validation, bad identifiers."""
    return AwsError("ClientException", text)


def invalid_parameter(text: str) -> AwsError:
    """ECS's InvalidParameterException: bad arguments of RunTask, services, lists."""
    return AwsError("InvalidParameterException", text)
