"""Causes why a cloud's client sent nothing, by the errors of its libraries."""

from __future__ import annotations

from collections.abc import Callable

import botocore.exceptions as aws
import google.auth.exceptions as google
import httpx2
import pytest

from cacheserver.claude.platforms import failures
from cacheserver.observability.metrics import UPSTREAM_EVENTS


def of_google(kind: Callable[[str], Exception], text: str) -> Exception:
    """An error of google.auth, whose constructors have no types."""
    return kind(text)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (aws.NoCredentialsError(), "credentials-missing"),
        (aws.ProfileNotFound(profile="x"), "credentials-missing"),
        (aws.PartialCredentialsError(provider="x", cred_var="y"), "credentials-missing"),
        (RuntimeError("Could not resolve AWS credentials from session"), "credentials-missing"),
        (of_google(google.DefaultCredentialsError, "none"), "credentials-missing"),
        (RuntimeError("Could not resolve API token from the environment"), "credentials-missing"),
        (aws.UnauthorizedSSOTokenError(), "credentials-expired"),
        (aws.TokenRetrievalError(provider="sso", error_msg="x"), "credentials-expired"),
        (of_google(google.RefreshError, "invalid_grant"), "credentials-expired"),
        (of_google(google.ReauthFailError, "x"), "credentials-expired"),
        (of_google(google.TransportError, "x"), "credentials-unreachable"),
        (aws.EndpointConnectionError(endpoint_url="x"), "credentials-unreachable"),
        (aws.ReadTimeoutError(endpoint_url="x"), "credentials-unreachable"),
        (aws.NoRegionError(), "region-wrong"),
        (aws.InvalidRegionError(region_name="x"), "region-wrong"),
        (ValueError("No AWS region was provided. Set the `aws_region`"), "region-wrong"),
        (ValueError("Could not resolve project_id"), "region-wrong"),
        (RuntimeError("No project_id was given and it could not be resolved"), "region-wrong"),
        (aws.BotoCoreError(), "client-failed"),
        (of_google(google.GoogleAuthError, "x"), "client-failed"),
        (ValueError("Expected a non-empty value for `model`"), "client-failed"),
        (RuntimeError("Expected dictionary json_data"), "client-failed"),
        (httpx2.ConnectError("of another library, with a base of the same name"), "client-failed"),
    ],
)
def test_each_error_has_one_cause(error: Exception, cause: str) -> None:
    assert failures.cause(error) == cause


def test_each_cause_is_counted_told_and_has_a_remedy() -> None:
    causes = set(failures.REMEDIES)
    assert causes <= set(UPSTREAM_EVENTS)
    for one in failures.REMEDIES:
        assert "Amazon Bedrock" in failures.message(one, "bedrock")
        assert "Vertex AI" in failures.message(one, "vertex")
    assert len({failures.message(one, "bedrock") for one in failures.REMEDIES}) == len(causes)
