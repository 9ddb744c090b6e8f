"""What the site adds to the pages of the repository: generated references, and links that lead to pages of the site."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

__all__ = ["cli_reference", "rest_reference", "setup", "with_site_links"]

_LINKS = [
    (re.compile(r"\]\((?:\.\./)+benchmarks/results/([\w-]+)\.md"), r"](/measurements/\1.md"),
    (re.compile(r"\]\((?:\.\./)+examples/(\w+)\)"), r"](/howto/\1.md)"),
    (re.compile(r"\]\((?:\.\./)+deploy/README\.md"), "](/howto/deploy.md"),
    (re.compile(r"\]\((?:\.\./)+deploy/(kubernetes|systemd)\)"), r"](/howto/deploy.md#\1)"),
    (re.compile(r"\]\((?:\.\./)+docs/"), "](/"),
    (re.compile(r"\]\((?:\.\./)+SECURITY\.md"), "](/reporting.md"),
    (re.compile(r"\]\((?:\.\./)+CHANGELOG\.md"), "](/changes.md"),
    (re.compile(r"\]\(docs/"), "](/"),
    # On the site a link shows the title of its page, and not the name of a file.
    (re.compile(r"\[[\w/.-]+\.md\](?=\(/?[\w/.-]+\.md)"), "[]"),
    # A file beside an example's README, which its page shows below.
    (re.compile(r"\[([\w.]+)\]\((?:\.\./examples/haproxy/)?[\w]+\.(?:lua|conf)\)"), r"`\1`"),
]

_MOST_VALUES = 10
"""How many values of an open enum a table names."""

_MARKUP = re.compile(r"[\[<]")
"""What the help of an option means as it is, and a page as the beginning of a link or a tag."""

_RELATIVE = re.compile(r"(?<!!)\[([^\]]+)\]\((?![/#]|https?:)[^)]+\)")
_END_OF_EXAMPLE = re.compile(r"\n\n```$", re.MULTILINE)
"""An example that is run ends with an empty line, which would show."""


def with_site_links(text: str) -> str:
    """The text of a page, with links to other folders of the repository turned into links to pages of the site."""
    for pattern, target in _LINKS:
        text = pattern.sub(target, text)
    return _END_OF_EXAMPLE.sub("\n```", text)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", {})
    if not below:
        yield path, command
    for name, one in below.items():
        yield from _commands(one, f"{path} {name}")


def cli_reference() -> str:
    """Every command with its arguments and options, from the definitions that print `--help`."""
    import typer

    from cidrgate.cli.app import app

    lines = []
    root = typer.main.get_command(app)
    common = {one.name for one in root.params}
    for path, command in _commands(root, "cidrgate"):
        arguments = [_named(one) for one in command.params if one.param_type_name == "argument"]
        usage = " ".join([path, "[OPTIONS]", *arguments])
        lines += [f"## {path}", "", (command.help or "").strip(), "", "```text", usage, "```", ""]
        own = [one for one in command.params if one.name not in common and one.name != "help"]
        if own:
            lines += ["| option or argument | meaning | default |", "|---|---|---|"]
        for one in own:
            names = f"`{_named(one)}`"
            if one.param_type_name != "argument":
                names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
            default = (
                one.default if isinstance(one.default, (int, float, str)) and not isinstance(one.default, bool) else ""
            )
            meaning = _MARKUP.sub(r"\\\g<0>", _cell(getattr(one, "help", None)))
            lines.append(f"| {names} | {meaning} | {'required' if one.required else default} |")
        lines.append("")
    return "\n".join(lines)


def _named(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def rest_reference() -> str:
    """Every operation of the API, from its OpenAPI document."""
    from cidrgate import RuleManager
    from cidrgate.service import Settings, create_app

    with RuleManager.open("memory://", follow=False) as manager:
        document = create_app(manager, Settings(authorize=True, unlisted="deny")).openapi()
    everywhere = _everywhere(document)
    lines = ["Operations may also answer:", "", "| status | answer |", "|---|---|"]
    lines += [f"| {status} | {_cell(said)} [Problem](#problem) |" for status, said in everywhere.items()]
    lines.append("")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += [
                f"## {method.upper()} {path}",
                "",
                operation.get("description") or operation.get("summary", ""),
                "",
            ]
            if operation.get("parameters"):
                lines += ["| parameter | in | type | meaning |", "|---|---|---|---|"]
                for one in operation["parameters"]:
                    name = f"`{one['name']}`" + (" (required)" if one.get("required") else "")
                    lines.append(f"| {name} | {one['in']} | {_type(one['schema'])} | {_cell(one.get('description'))} |")
                lines.append("")
            body = operation.get("requestBody")
            if body:
                lines += [f"Body: {_type(next(iter(body['content'].values()))['schema'])}", ""]
            lines += ["| status | answer |", "|---|---|"]
            for status, answer in operation["responses"].items():
                if everywhere.get(status) == answer.get("description"):
                    continue
                content = answer.get("content", {})
                kind = _type(next(iter(content.values())).get("schema", {})) if content else ""
                lines.append(f"| {status} | {_cell(answer.get('description'))} {kind} |")
            lines.append("")
    lines += ["## Values", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"### {name}", "", _paragraph(schema.get("description")), ""]
        if schema.get("properties"):
            lines += ["| member | type | meaning |", "|---|---|---|"]
            for member, of in schema["properties"].items():
                required = " (required)" if member in schema.get("required", ()) else ""
                lines.append(f"| `{member}`{required} | {_type(of)} | {_cell(of.get('description'))} |")
            lines.append("")
    return "\n".join(lines)


def _everywhere(document: dict[str, Any]) -> dict[str, str]:
    """The answers that most operations have in common."""
    answers = Counter(
        (status, answer.get("description", ""))
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if status[0] in "45"
    )
    half = sum(map(len, document["paths"].values())) / 2
    return {status: said for (status, said), count in sorted(answers.items()) if count > half}


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _type(schema: dict[str, Any]) -> str:
    """The type of a value in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(_type(one) for one in schema[word])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "x-extensible-enum" in schema and len(schema["x-extensible-enum"]) <= _MOST_VALUES:
        return ", ".join([*(f"`{one}`" for one in schema["x-extensible-enum"]), "or a later value"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


_GENERATED = {"<!-- generated: cli -->": cli_reference, "<!-- generated: rest -->": rest_reference}


def _read(_app: object, _name: str, source: list[str]) -> None:
    for mark, generate in _GENERATED.items():
        if mark in source[0]:
            source[0] = source[0].replace(mark, generate())
    source[0] = with_site_links(source[0])


def _include(_app: object, _path: object, _parent: str, source: list[str]) -> None:
    # What lies beside an included file has no page: its name is enough.
    source[0] = _RELATIVE.sub(r"\1", with_site_links(source[0]))


def setup(app: Any) -> dict[str, bool]:
    """Add it to Sphinx."""
    from django.conf import settings

    settings.configure()  # Django REST framework reads settings when it is imported
    app.connect("source-read", _read)
    app.connect("include-read", _include)
    return {"parallel_read_safe": True}
