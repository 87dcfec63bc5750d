"""yosegi.json: what an exported folder was made of, and the size and sha256 of each of its files."""

from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.library.verify import Problem

MANIFEST = "yosegi.json"


def seal(folder: Path, about: dict[str, Any]) -> None:
    """Notes the files of a folder in `about`, and writes it beside them."""
    for file in filter(Path.is_file, folder.rglob("*")):
        file.chmod(0o644)  # some libraries write for their own user alone
    about["files"] = {
        str(file.relative_to(folder)): {"size": file.stat().st_size, "sha256": files.sha256(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    files.write_json(folder / MANIFEST, about)


def unsealed(folder: Path) -> list[Problem]:
    """Returns what is wrong with the files of an exported folder: missing, changed, or in nobody's list."""
    about = files.read_json(folder / MANIFEST)
    known = about.get("files") if isinstance(about, dict) else None
    if not isinstance(known, dict) or not all(isinstance(one, dict) for one in known.values()):
        return [Problem(folder / MANIFEST, "does not list its files")]
    present = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    faults = [Problem(folder / name, "is missing") for name in known.keys() - present.keys()]
    faults += [
        Problem(file, f"is not in {MANIFEST}") for name, file in present.items() if name not in {*known, MANIFEST}
    ]
    for name in known.keys() & present.keys():
        if files.sha256(present[name]) != known[name].get("sha256"):
            faults.append(Problem(present[name], "is not what was written: its sha256 differs"))
    return sorted(faults)
