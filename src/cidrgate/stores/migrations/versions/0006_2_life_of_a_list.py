"""Modes, names for people and policies of accounts, the policy of the store, more about each change, and searches."""

import sqlalchemy as sa
from alembic import op

from cidrgate.stores.schema import UtcTime

revision = "0006.2"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns and the indexes."""
    op.add_column("accounts", sa.Column("display_name", sa.Text))
    op.add_column("accounts", sa.Column("mode", sa.String(16), nullable=False, server_default="enforce"))
    op.add_column("accounts", sa.Column("mode_until", UtcTime))
    expires = sa.text("mode_until IS NOT NULL")
    op.create_index(
        "accounts_by_mode_until", "accounts", ["mode_until"], sqlite_where=expires, postgresql_where=expires
    )
    op.add_column("accounts", sa.Column("mode_reason", sa.Text))
    op.add_column("accounts", sa.Column("closed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("accounts", sa.Column("policy", sa.JSON))
    op.add_column("entries", sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("changes", sa.Column("details", sa.JSON))
    op.add_column("changes", sa.Column("origin", sa.JSON))
    op.add_column("facts", sa.Column("policy", sa.JSON))
    op.add_column("facts", sa.Column("erasing_before", UtcTime))
    if op.get_bind().dialect.name == "sqlite":
        _search_on_sqlite()
        _erase_on_sqlite()
    else:
        _search_on_postgres()
        _erase_on_postgres()


# A row of the log may lose personal data and nothing else, in a transaction that sets `erasing_before`: an actor and an
# origin only if the row is older; the copies of an entry or of an account in any row. No text may become another text.
_MEMBERS = ("created_by", "label")
_DETAILS = [
    (when, member, condition)
    for when in ("before", "after")
    for member, condition in (("display_name", "TRUE"), ("mode_reason", "TRUE"), ("name", "OLD.account = ''"))
]


def _emptied(old: str, new: str) -> str:
    return f"({new} IS NULL OR coalesce({new} = {old}, FALSE))"


def _erase_on_sqlite() -> None:
    members = ", ".join(f"'$.{member}'" for member in _MEMBERS)
    values = ", ".join(f"json_extract(value, '$.{member}') AS {member}" for member in _MEMBERS)

    def elements(column: str) -> str:  # the limit lets SQLite store the elements, and index them
        rest = f"json_remove(value, {members}) AS rest"
        return f"(SELECT key, {rest}, {values} FROM json_each({column}) LIMIT -1)"  # noqa: S608

    def entries(name: str) -> str:
        kept = " AND ".join(_emptied(f"was.{member}", f"now.{member}") for member in _MEMBERS)
        return (
            f"json_array_length(NEW.{name}) = json_array_length(OLD.{name}) AND NOT EXISTS ("  # noqa: S608
            f"SELECT 1 FROM {elements(f'NEW.{name}')} AS now JOIN {elements(f'OLD.{name}')} AS was USING (key) "
            f"WHERE now.rest <> was.rest OR NOT ({kept}))"
        )

    paths = ", ".join(f"'$.{when}.{member}'" for when, member, _ in _DETAILS)
    details = [
        f"json_remove(coalesce(NEW.details, 'null'), {paths}) = json_remove(coalesce(OLD.details, 'null'), {paths})"
    ]
    for when, member, condition in _DETAILS:
        old, new = (f"json_extract({row}.details, '$.{when}.{member}')" for row in ("OLD", "NEW"))
        details.append(f"({new} IS {old} OR {condition} AND {new} IS NULL)")
    same_origin = "json(NEW.origin) IS json(OLD.origin)"
    old_row = "OLD.at < (SELECT erasing_before FROM facts)"
    kind = "json_object('kind', json_extract(OLD.origin, '$.kind'))"
    checks = [
        *(f"NEW.{name} = OLD.{name}" for name in ("sequence", "at", "account", "action")),
        "(SELECT erasing_before FROM facts) IS NOT NULL",
        f"(NEW.actor IS OLD.actor AND {same_origin} OR {old_row} AND (NEW.actor IS NULL OR NEW.actor IS OLD.actor) "
        f"AND ({same_origin} OR json(NEW.origin) = {kind}))",
        entries("before"),
        entries("after"),
        *details,
    ]
    op.execute("DROP TRIGGER changes_refuse_update")
    op.get_bind().exec_driver_sql(
        f"CREATE TRIGGER changes_refuse_update BEFORE UPDATE ON changes WHEN ({' AND '.join(checks)}) IS NOT TRUE "
        "BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END"
    )


def _erase_on_postgres() -> None:
    def entries(name: str) -> str:
        rest = "".join(f" - '{member}'" for member in _MEMBERS)
        kept = " AND ".join(_emptied(f"was.one ->> '{member}'", f"now.one ->> '{member}'") for member in _MEMBERS)
        new, old = (f"jsonb_array_elements({row}.{name}::jsonb) WITH ORDINALITY" for row in ("NEW", "OLD"))
        return (
            f"json_array_length(NEW.{name}) = json_array_length(OLD.{name}) AND NOT EXISTS ("
            f"SELECT FROM {new} AS now (one, place) JOIN {old} AS was (one, place) USING (place) "
            f"WHERE now.one{rest} <> was.one{rest} OR NOT ({kept}))"
        )

    paths = "".join(f" #- '{{{when},{member}}}'" for when, member, _ in _DETAILS)
    new, old = (f"coalesce({row}.details::jsonb, '{{}}'){paths}" for row in ("NEW", "OLD"))
    details = [f"{new} = {old} AND (NEW.details IS NULL) = (OLD.details IS NULL)"]
    for when, member, condition in _DETAILS:
        old, new = (f"({row}.details::jsonb #>> '{{{when},{member}}}')" for row in ("OLD", "NEW"))
        details.append(f"({new} IS NOT DISTINCT FROM {old} OR {condition} AND {new} IS NULL)")
    same = "NEW.{0} IS NOT DISTINCT FROM OLD.{0}"
    same_origin = same.format("origin::jsonb")
    old_row = "OLD.at < (SELECT erasing_before FROM facts)"
    kind = "jsonb_build_object('kind', OLD.origin ->> 'kind')"
    checks = [
        *(f"NEW.{name} = OLD.{name}" for name in ("sequence", "at", "account", "action", "txid")),
        "(SELECT erasing_before FROM facts) IS NOT NULL",
        f"({same.format('actor')} AND {same_origin} OR {old_row} AND (NEW.actor IS NULL OR {same.format('actor')}) "
        f"AND ({same_origin} OR NEW.origin::jsonb = {kind}))",
        entries("before"),
        entries("after"),
        *details,
    ]
    op.get_bind().exec_driver_sql(
        f"""
        CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' THEN
                IF OLD.sequence < (SELECT log_start FROM facts) THEN
                    RETURN OLD;
                END IF;
            ELSIF {" AND ".join(checks)} THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'the change log is append-only';
        END $$
        """  # noqa: S608
    )


_INDEXES = {
    "account_names": ("accounts", "name", "trigram"),
    "entry_networks": ("entries", "cidr", "ascii tokenchars ''./:''"),
}


def _search_on_sqlite() -> None:
    # Rows above the greatest id in an index are indexed later, as new ids are above all older ones. The triggers index
    # what happens to other rows, whichever version of cidrgate changes them.
    try:
        op.execute("CREATE VIRTUAL TABLE account_names USING fts5(name, tokenize = 'trigram')")
        op.execute("DROP TABLE account_names")
    except sa.exc.OperationalError:
        return  # this SQLite has no full-text index
    for index, (table, column, tokens) in _INDEXES.items():
        op.execute(
            f"CREATE VIRTUAL TABLE {index} USING fts5({column}, content = '', detail = none, tokenize = '{tokens}')"
        )
        # The names of tables and columns are constants of this module.
        insert = f"INSERT INTO {index} (rowid, {column})"
        op.execute(f"{insert} SELECT id, {column} FROM {table} ORDER BY id")  # noqa: S608
        indexed = f"id <= (SELECT max(id) FROM {index}_docsize)"  # noqa: S608
        delete = f"INSERT INTO {index} ({index}, rowid, {column}) VALUES ('delete', OLD.id, OLD.{column});"  # noqa: S608
        insert += f" VALUES (NEW.id, NEW.{column});"
        changed = f"OLD.{column} <> NEW.{column} AND OLD.{indexed}"
        for event, condition, do in (
            (f"UPDATE OF {column}", changed, delete + insert),
            ("DELETE", f"OLD.{indexed}", delete),
        ):
            name = f"{index}_{event.partition(' ')[0].lower()}"
            op.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} WHEN {condition} BEGIN {do} END")


def _search_on_postgres() -> None:
    # The network first: then the index of the constraint also finds entries of all accounts.
    op.execute("ALTER TABLE entries DROP CONSTRAINT entries_no_overlap")
    op.execute(
        "ALTER TABLE entries ADD CONSTRAINT entries_no_overlap "
        "EXCLUDE USING gist (cidr inet_ops WITH &&, account_id WITH =)"
    )
    # Without the extension, the index only finds the beginnings of names.
    op.execute(
        """
        DO $$
        BEGIN
            IF has_schema_privilege(to_regnamespace('public'), 'CREATE') THEN
                CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
            ELSE
                CREATE EXTENSION IF NOT EXISTS pg_trgm;
            END IF;
            EXECUTE format(
                'CREATE INDEX accounts_by_part_of_name ON accounts USING gin (lower(name) %s.gin_trgm_ops)',
                (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_trgm')
            );
        EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
            CREATE INDEX accounts_by_part_of_name ON accounts (lower(name) text_pattern_ops);
        END $$
        """
    )
