"""`/v1/lists`: the lists of many accounts, declared in one request."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, model_validator

from cidrgate.errors import RuleError, UnconfirmedChangeError
from cidrgate.manager import ApplyReport, DeclaredAccount, ListOutcome
from cidrgate.manager.declared import refuse_other_accounts
from cidrgate.manager.evaluations import Foresight, changed_lists
from cidrgate.serialization import problem_record
from cidrgate.service.api.entries import EntryCreateModel
from cidrgate.service.api.evaluations import Days, EvaluationModel
from cidrgate.service.api.openapi import answers
from cidrgate.service.api.schemas import (
    ENTRY_EXAMPLE,
    AccountText,
    EntryModel,
    RequestModel,
    ResponseModel,
    request_example,
    response_example,
)
from cidrgate.service.auth.access import Admin
from cidrgate.service.http.client_address import client_address
from cidrgate.service.http.conditional_requests import Confirm, IdempotencyKey, RawBody, request_key
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.limits import GREATEST_INTEGER
from cidrgate.service.http.problems import InvalidRequestError, detail_of
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction

__all__ = [
    "AccountChangeModel",
    "AccountProblemModel",
    "DeclaredAccountModel",
    "DeclaredListsModel",
    "DeclaredReportModel",
    "router",
]

router = APIRouter(prefix="/v1/lists", tags=["entries"], route_class=StrictRoute)

Version = Annotated[int, Field(ge=0, le=GREATEST_INTEGER), PLAIN]


class DeclaredAccountModel(RequestModel):
    """What an account has to be: its entries, or the parent whose list it inherits."""

    model_config = request_example({"entries": [{"cidr": "8.8.8.0/24", "label": "office"}]})

    entries: list[EntryCreateModel] | None = Field(
        None,
        description="The whole list, which may be empty. A detail that an entry leaves out has its default. Null only "
        "beside a parent.",
    )
    parent: AccountText | None = Field(None, description="The account whose list it inherits; null for its own list.")

    @model_validator(mode="after")
    def _says_one(self) -> "DeclaredAccountModel":
        if self.parent is not None and self.entries is not None:
            raise ValueError("a subaccount inherits its list: send entries or parent, not both")
        if self.parent is None and self.entries is None:
            raise ValueError("send its entries, which may be an empty array, or its parent")
        return self

    def declared(self) -> DeclaredAccount:
        """Return the declaration in the form that `RuleManager` takes."""
        entries = None if self.entries is None else [one.entry() for one in self.entries]
        return DeclaredAccount(entries=entries, parent=self.parent)


class DeclaredListsModel(RequestModel):
    """The accounts that are declared. Other accounts do not change."""

    model_config = request_example(
        {
            "accounts": {
                "acct-1": {"entries": [{"cidr": "8.8.8.0/24", "label": "office"}]},
                "sub-1": {"parent": "acct-1"},
            }
        }
    )

    accounts: dict[AccountText, DeclaredAccountModel] = Field(description="The declarations, by account.")
    expect_versions: dict[AccountText, Version] = Field(
        default_factory=dict,
        description="The versions that lists must have, such as `versions` of a dry run: of every declared account, 0 "
        "of one to create, or of none. An account with another version is refused.",
    )

    @model_validator(mode="after")
    def _expects_what_it_declares(self) -> "DeclaredListsModel":
        refuse_other_accounts(self.expect_versions, self.accounts)
        return self


class AccountChangeModel(ResponseModel):
    """How an account differs from what was declared."""

    account: str
    created: bool = Field(description="Whether the account is created.")
    parent: str | None = Field(description="The account whose list it inherits; null for none.")
    version: int = Field(description="The version of the list before the change.")
    before: list[EntryModel] = Field(description="The entries that are removed or edited, as they were before.")
    after: list[EntryModel] = Field(description="The entries that are added or edited, as they are afterwards.")
    kept: list[str] = Field(description="The networks that are not declared and stay.")
    confirm: list[str] = Field(description="The confirmations that the change needs.")


class AccountProblemModel(ResponseModel):
    """Why an account cannot be what was declared."""

    account: str
    code: str = Field(description="The type of the problem.")
    detail: str = Field(description="What is wrong and how to correct it.")
    errors: list[dict[str, Any]] = Field(
        description="The broken rules; `position` counts the declared entries of the account from 0."
    )
    confirm: list[str] = Field(description="The confirmations that the change needs; empty if none would help.")


class DeclaredReportModel(ResponseModel):
    """What was changed, or what a dry run would change."""

    model_config = response_example(
        {
            "drift": True,
            "applied": True,
            "changes": [
                {
                    "account": "acct-1",
                    "created": True,
                    "parent": None,
                    "version": 0,
                    "before": [],
                    "after": [ENTRY_EXAMPLE],
                    "kept": [],
                    "confirm": [],
                }
            ],
            "unchanged_count": 0,
            "kept_count": 0,
            "versions": {"acct-1": 0},
            "refused": [],
            "problems": [],
            "evaluation": None,
            "evaluation_missing": None,
        }
    )

    drift: bool = Field(description="Whether an account differed from what was declared, or cannot be that.")
    applied: bool = Field(description="Whether the changes were made.")
    changes: list[AccountChangeModel]
    unchanged_count: int = Field(description="How many accounts are what was declared.")
    kept_count: int = Field(description="How many entries are not declared and stay.")
    versions: dict[str, int] = Field(
        description="The version of each declared account before the change; 0 if it did not exist."
    )
    refused: list[str] = Field(description="The accounts that cannot be what was declared.")
    problems: list[AccountProblemModel]
    evaluation: EvaluationModel | None = Field(
        description="Of a dry run: what the changes would do to the requests of the past. Null if no traffic is "
        "stored, or the changes were made."
    )
    evaluation_missing: str | None = Field(
        description="Of a dry run: why there is no evaluation; null if there is one."
    )


DryRun = Annotated[bool, Query(description="Only returns what would be changed.")]
Prune = Annotated[bool, Query(description="Removes entries of the declared accounts that are not declared.")]
Create = Annotated[bool, Query(description="Creates accounts that do not exist.")]
Strict = Annotated[bool, Query(description="Changes nothing if one account cannot be what was declared.")]


@router.put("", response_model=DeclaredReportModel, responses=answers(409, body=True))
def apply_lists(
    request: Request,
    principal: Admin,
    declared: DeclaredListsModel,
    body: RawBody,
    dry_run: DryRun = False,
    prune: Prune = False,
    create: Create = True,
    strict: Strict = False,
    days: Days | None = None,
    confirm: Confirm = [],  # noqa: B006 - FastAPI copies defaults
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make the lists of many accounts what is declared. Only for admins.

    The list of each account is changed completely or not at all. An account that cannot be what was declared is one of
    the `problems`, and the status is 200 all the same, because other accounts may have been changed. A dry run, and a
    declaration that `strict` refuses, leave the `Idempotency-Key` free.
    """
    if days is not None and not dry_run:
        detail = "days is about requests of the past that a dry run evaluates: send dry_run=true"
        raise InvalidRequestError([{"code": "invalid_value", "detail": detail, "parameter": "days"}])
    service = service_of(request)
    once = None if dry_run else request_key(request, principal, idempotency_key, body)

    def record(transaction: Transaction, made: object) -> None:
        # A JSON object has at most 100 members, so one transaction stores them all.
        if not isinstance(made, ApplyReport):
            raise AssertionError("the hook got no report")
        service.answers.record(transaction, once, Answer(_report_record(made, Foresight())))

    def carry_out() -> Answer:
        tried: list[ListOutcome] = []
        manager = principal.changing(service.manager)._with_transaction_hook(record)
        manager = manager.with_hooks(
            before_store=tried.append if dry_run else None,
            address=client_address(request),
            confirmed=confirm,
            dry_run=dry_run,
        )
        report = manager.apply(
            {name: one.declared() for name, one in declared.accounts.items()},
            prune=prune,
            create=create,
            strict=strict,
            expect_versions=declared.expect_versions,
            actor=principal.name,
        )
        foresight = service.manager._foresight(changed_lists(tried), days or 30) if dry_run else Foresight()
        return Answer(_report_record(report, foresight))

    return service.answers.once(once, carry_out)


def _report_record(report: ApplyReport, foresight: Foresight) -> dict[str, Any]:
    problems = [
        {
            "account": account,
            "code": error.code,
            "detail": detail_of(error),
            "errors": [problem_record(one) for one in error.problems] if isinstance(error, RuleError) else [],
            "confirm": list(error.confirm) if isinstance(error, UnconfirmedChangeError) else [],
        }
        for account, error in report.problems.items()
    ]
    return {**report.record(), "problems": problems, **foresight.record()}
