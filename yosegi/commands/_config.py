"""From a file of settings and the flags of a command line to the settings of a verb."""

from pathlib import Path
from typing import Any

from yosegi.errors import Invalid, NoData, in_one_line


def read_config(path: Path | None, fields: dict[str, Any]) -> dict[str, Any]:
    """A YAML or JSON file of settings, with what was said on the command line on top of it."""
    settings: dict[str, Any] = {}
    if path is not None:
        from yosegi.untrusted import read_yaml

        if not path.is_file():
            raise NoData(f"There is no file {path}.")
        try:
            settings = read_yaml(path.read_text(encoding="utf-8"), str(path)) or {}
        except UnicodeDecodeError as error:
            raise Invalid(f"{path} is not valid YAML: it is not UTF-8 ({error}).") from error
        if not isinstance(settings, dict):
            raise Invalid(f"{path} must hold names and values, not a {type(settings).__name__}.")
    settings |= {name: value for name, value in fields.items() if value is not None}
    files, columns = settings.pop("data_file", None) or [], settings.pop("columns", None)
    if columns and not files:
        raise Invalid("--columns says how the fields of a --data-file are called, and there is none.")
    if files:
        from yosegi.spec import write_method

        options = {"columns": read_columns(columns)} if columns else {}
        files, tasks = ([given] if isinstance(given, str) else given for given in (files, settings.get("task") or []))
        named = [write_method("file", {"path": path, **options}) if options else f"file/{path}" for path in files]
        settings["task"] = [*tasks, *named]
    return settings


def read_columns(given: str | dict[str, str] | None) -> dict[str, str]:
    """prompt=question,completion=answer."""
    pairs = given or {}
    if isinstance(pairs, str):
        pairs = {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs.split(",")}
    if not all(map(str.strip, [*pairs, *pairs.values()])):
        raise Invalid(f"--columns {given!r}: the form is prompt=THEIRS,completion=THEIRS.")
    return {ours.strip(): theirs.strip() for ours, theirs in pairs.items()}


def check(model: Any, fields: dict[str, Any]) -> Any:
    """A pydantic model from plain fields; what is wrong with them in one line, with the nearest name."""
    with in_one_line(model.model_fields):
        return model(**fields)
