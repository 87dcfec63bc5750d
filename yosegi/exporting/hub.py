"""Experts, libraries and exports to the Hub of Hugging Face, and from it.

There as here: the files of an expert; the folders of a library, with the arms that it keeps; an export with its yosegi.json. Only
safetensors, GGUF, JSON and texts travel, never a pickle or a program. Sending again sends what is not there yet; fetching again
goes on file by file, in a folder beside the target, and nothing is moved in before all of it is verified. The token is
huggingface_hub's: $HF_TOKEN, or what `hf auth login` keeps.
"""

import fcntl
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from yosegi import files
from yosegi.bases import fetched, locate, weights_hash
from yosegi.engine.kept import CARD as ARM
from yosegi.engine.kept import FOLDER as ARMS
from yosegi.engine.kept import STATE, arms, load_arm
from yosegi.errors import Corrupt, Invalid, NoData, YosegiError
from yosegi.exporting.manifest import MANIFEST, unsealed
from yosegi.library.card import CARD, check_base, check_name, read_card
from yosegi.library.store import PARTS, Library
from yosegi.library.verify import Problem, problems

ENDINGS = {".safetensors", ".gguf", ".json", ".jinja", ".md", ".txt", ".model"}
NAMES = {"Modelfile", "LICENSE"}


def push(
    folder: str | Path, repo: str, *, public: bool = False, revision: str | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Sends an expert's folder, a library or an export in one commit, and returns what is sent.

    Args:
        folder: what is sent; damaged files are not.
        repo: its name there, USER/NAME; made if it is not there.
        public: whether anybody may see a repository that is made now.
        revision: the branch.
        dry_run: only list the files.

    Raises:
        Corrupt: a file is damaged. NoData: the Hub cannot be reached, or lets nobody in with this token.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    folder = Path(folder)
    present = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    kind, names = _sorted_out(present)
    if kind is None:
        raise NoData(f"{folder} holds no expert, no library and no export (yosegi export).")
    _check(_problems(kind, folder))
    contents: dict[str, str | bytes] = {name: str(present[name]) for name in names}
    if kind == "library":
        contents["README.md"] = _readme(folder.resolve().name, Library(folder).cards()).encode()
    listed = [
        {"path": name, "size": len(one) if isinstance(one, bytes) else present[name].stat().st_size}
        for name, one in contents.items()
    ]
    about = {"repo": repo, "kind": kind, "private": not public, "files": listed, "sent": not dry_run}
    if dry_run:
        return about
    with _in_one_line(repo):
        api = HfApi()
        api.create_repo(repo, private=not public, exist_ok=True)
        commit = api.create_commit(
            repo, [CommitOperationAdd(name, one) for name, one in contents.items()], revision=revision,
            commit_message=f"{kind} {folder.resolve().name}, by yosegi",
        )  # fmt: skip
    return about | {"url": str(commit.repo_url), "commit": commit.oid}


def pull(
    repo: str,
    to: str | Path,
    *,
    base: str | None = None,
    name: str | None = None,
    revision: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fetches what `push` sent, verifies it, and returns what it is.

    Args:
        repo: USER/NAME.
        to: the library that an expert or the experts of a library go into, made if need be; of an export the new folder.
        base: the base that the experts have to belong to; else that of the experts in `to`, if there are any.
        name: of a single expert; by default its own.
        revision: a branch, a tag or a commit.
        overwrite: replace what has the same name.

    Raises:
        WrongBase: an expert belongs to another base. Invalid: a name is taken. Corrupt: what came is damaged.
        NoData: the Hub cannot be reached, or has nothing of ours of that name.
    """
    from huggingface_hub import HfApi, snapshot_download

    to = Path(to)
    with _in_one_line(repo):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        known = {file.rfilename: file for file in info.siblings or []}
        kind, names = _sorted_out(known)
        if kind is None:
            raise NoData(f"{repo} holds no expert, no library and no export of yosegi.")
        _check_free(kind, to, names, overwrite)
        stage = to.parent / f".{to.name}.{(info.sha or 'unknown')[:12]}"
        stage.mkdir(parents=True, exist_ok=True)
        snapshot_download(repo, revision=info.sha, local_dir=stage, allow_patterns=[glob.escape(one) for one in names])
    shutil.rmtree(stage / ".cache", ignore_errors=True)
    try:
        for one in names:
            _check_file(stage / one, known[one])
        if kind == "expert":
            called = check_name(read_card(stage).get("name"))
            (stage / called).mkdir()
            for one in names:
                (stage / one).rename(stage / called / one)
            if name is not None and name != called:
                called = _renamed(stage, called, check_name(name))
            _check_free("library", to, [f"{called}/{CARD}"], overwrite)
        _check(_problems("library" if kind == "expert" else kind, stage))
        made = [to.name] if kind == "export" else _check_bases(stage, to, base)
        _move_in(kind, stage, to)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    left_out = sorted(
        one for one in known.keys() - set(names) if PurePosixPath(one).name not in (".gitattributes", "README.md")
    )
    return {"repo": repo, "commit": info.sha, "kind": kind, "to": str(to), "names": made, "left_out": left_out}


def _sorted_out(paths: Iterable[str]) -> tuple[str | None, list[str]]:
    """Returns what a folder with these paths is (export, expert, library), and those that belong to it."""
    safe = sorted(path for path in paths if not re.search(r"(^|/)\.|\\|^/", path))
    if MANIFEST in safe:
        return "export", [
            path for path in safe if PurePosixPath(path).suffix in ENDINGS or PurePosixPath(path).name in NAMES
        ]
    if CARD in safe:
        return "expert", [path for path in safe if path in PARTS]
    parts = [tuple(path.split("/")) for path in safe]
    names = {one[0] for one in parts if one[1:] == (CARD,)}
    kept = [one for one in parts if len(one) == 3 and one[0] == ARMS and one[2] in (ARM, STATE)]
    mine = [*(one for one in parts if len(one) == 2 and one[0] in names and one[1] in PARTS), *kept]
    return "library" if names else None, ["/".join(one) for one in mine]


def _readme(name: str, cards: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the model card of a library."""
    bases = sorted({f"{card.get('base')} (weights {card.get('base_hash')})" for card in cards.values()})
    rows = [f"| {key} | {', '.join(card.get('task') or [])} | {card.get('rank')} |" for key, card in cards.items()]
    head = f'---\ntags: ["yosegi", "lora"]\n---\n\n# {name}\n\nA library of {len(cards)} LoRA experts for {", ".join(bases)}.'
    code = (
        f"```sh\nyosegi pull USER/{name} {name}\nyosegi eval --library {name} --arm experts --arm arrow --task …\n```"
    )
    return "\n\n".join([head, "\n".join(["| expert | trained on | rank |", "|---|---|---|", *rows]), code]) + "\n"


def _problems(kind: str, folder: Path) -> list[Problem]:
    if kind != "library":
        return unsealed(folder) if kind == "export" else problems(folder)
    faults = (library := Library(folder)).verify()
    for name in () if faults else arms(library):
        try:
            load_arm(library, name)
        except Invalid as error:
            faults.append(Problem(folder / ARMS / name, str(error)))
    return faults


def _check(faults: Sequence[Problem]) -> None:
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise Corrupt(f"{faults[0]}{more}.")


def _check_file(file: Path, known: Any) -> None:
    """Compares a file with the size and the hash that the Hub gives it."""
    if file.stat().st_size != known.size:
        raise Corrupt(f"{known.rfilename} has {file.stat().st_size} bytes, and {known.size} on the Hub. Pull again.")
    if known.lfs is not None:
        right = files.sha256(file) == known.lfs.sha256
    else:  # as git names a file
        content = file.read_bytes()
        right = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == known.blob_id
    if not right:
        raise Corrupt(f"{known.rfilename} is not what lies on the Hub: its hash differs. Pull again.")


def _check_free(kind: str, to: Path, names: Sequence[str], overwrite: bool) -> None:
    """Refuses to replace anything that was not meant."""
    if kind == "export":
        if os.path.lexists(to) and not (overwrite and (to / MANIFEST).is_file()):
            raise Invalid(f"{to} is there already; --overwrite replaces an export, and nothing else.")
    elif kind == "library" and not overwrite:
        places = sorted({PurePosixPath(name).parent for name in names})
        if taken := [str(place) for place in places if os.path.lexists(to / place)]:
            raise Invalid(f"{to} has {', '.join(taken[:6])} already; --overwrite replaces what has the same name.")


def _check_bases(stage: Path, to: Path, base: str | None) -> list[str]:
    """Returns the names of the experts that came; refuses those of another base than is meant."""
    cards = Library(stage).cards()
    present = Library(to).cards() if to.is_dir() else {}
    theirs = next((card for card in present.values() if card.get("base_hash")), None)
    if base is not None:
        theirs = {"base": base, "base_hash": weights_hash(fetched(locate(base)))}
    for card in cards.values() if theirs else ():
        check_base(card, theirs["base"], theirs["base_hash"])  # type: ignore[index]
    return list(cards)


def _renamed(stage: Path, old: str, new: str) -> str:
    """Gives an expert another name: its folder and its card."""
    (stage / old).rename(stage / new)
    files.write_json(stage / new / CARD, read_card(stage / new) | {"name": new})
    return new


def _move_in(kind: str, stage: Path, to: Path) -> None:
    """Moves what was verified to its place, each folder in one step."""
    if kind == "export":
        with files.new_folder(to) as new:
            for path in list(stage.iterdir()):
                path.rename(new / path.name)
        return
    to.mkdir(parents=True, exist_ok=True)
    with Library(to).locked(fcntl.LOCK_EX):
        for card in sorted(stage.glob(f"*/{CARD}")) + sorted(stage.glob(f"{ARMS}/*/{ARM}")):
            with files.new_folder(to / card.parent.relative_to(stage)) as new:
                for path in list(card.parent.iterdir()):
                    path.rename(new / path.name)


@contextmanager
def _in_one_line(repo: str) -> Iterator[None]:
    """Says in one line what the Hub, or the way to it, refuses. No message of ours has the token in it."""
    from huggingface_hub.utils import disable_progress_bars

    from yosegi.progress import Bar

    if Bar.quiet:
        disable_progress_bars()
    try:
        yield
    except YosegiError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) else error  # of a thread that was sending a file
        if cause is None or (known := _known(cause, repo)) is None:
            raise
        raise known from None


def _known(error: BaseException, repo: str) -> YosegiError | None:
    """Returns the error of ours for one of huggingface_hub's; None if it is of another kind."""
    from httpx2 import HTTPError
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return Invalid(f"{repo!r} cannot be the name of a repository: {' '.join(str(error).split())[:200]}")
    if isinstance(error, errors.RevisionNotFoundError):
        return NoData(f"{repo} has no such revision.")
    if isinstance(error, errors.HfHubHTTPError):
        status = getattr(error.response, "status_code", None)
        if isinstance(error, errors.RepositoryNotFoundError):  # which is 401 for those who are not logged in
            status = 404 if "Invalid credentials" not in str(error) else 401
        words = {
            401: "does not accept the token: set HF_TOKEN, or hf auth login",
            403: f"does not let this token do that to {repo}",
            404: f"has no repository {repo}, or none that this token may see (HF_TOKEN, or hf auth login)",
        }
        return NoData(f"The Hub {words.get(status or 0, f'answers with an error ({status}). Try again')}.")
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled | HTTPError | ConnectionError):
        line = " ".join(str(error.__cause__ or error).split())[:200]
        return NoData(f"The Hub cannot be reached ({line}); what was done is kept, and the same command goes on.")
    return None
