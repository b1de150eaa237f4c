"""The JOB_FILE's form: what is read of it, what is refused, and that nothing else can happen."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobtree.core.job import CommandKind, Requirements
from jobtree.errors import JobTreeError
from jobtree.payload.context import LocalDirectory, StepContext
from jobtree.payload.jobfile import (
    Growth,
    job_file_text,
    protocol_command,
    read_growth,
    shell_command,
    speaks_protocol,
    with_job_file,
)


def parse_growth(content: bytes) -> Growth:
    """Return what a JOB_FILE of this content asks for."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return read_growth(file.name)


def test_nothing_added() -> None:
    assert parse_growth(b"<job a='b'><children/></job>") == ([], None)


def test_children_and_follow_on() -> None:
    children, follow_on = parse_growth(
        b"""<?xml version="1.0" encoding="UTF-8"?><job command="after JOB_FILE" memory="1G">
        <children><child command="a JOB_FILE" time="1h" cpu="2.0" gpus="1"/>
        <other/><child plain="1" command="b &amp;&amp; c"><deeper><child/></deeper></child>
        </children><extra/></job>"""
    )
    assert [child.text for child in children] == ["a JOB_FILE", "b && c"]
    assert [child.kind for child in children] == [CommandKind.PROTOCOL, CommandKind.SHELL]
    assert children[0].requirements == Requirements(None, 2, 1, 3600.0)
    assert follow_on is not None
    assert (follow_on.text, follow_on.requirements.memory_bytes) == ("after JOB_FILE", 2**30)


@pytest.mark.parametrize("unset", ["", "9223372036854775807", "2147483647"])
def test_what_old_programs_write_for_unset(unset: str) -> None:
    children, _ = parse_growth(
        f"<job><children><child command='x' memory='{unset}' time='{unset}' cpu='{unset}'/>"
        "</children></job>".encode()
    )
    assert children[0].requirements == Requirements()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "JT433"),
        (b"<job>", "JT433"),
        (b"<job/>", "JT433"),
        (b"<jobs><children/></jobs>", "JT433"),
        (b"<job><children/></job><job/>", "JT433"),
        (b"<job><children><child/></children></job>", "JT434"),
        (b"<job><children><child command=' '/></children></job>", "JT434"),
        (b"<job><children><child command='x' cpu='half'/></children></job>", "JT434"),
        (b"<job><children><child command='x' memory='-2G'/></children></job>", "JT434"),
        (b"<job command='x' time='later'><children/></job>", "JT434"),
        (b"<job command=''><children/></job>", "JT434"),
        (b"<!DOCTYPE job><job><children/></job>", "JT433"),
        (b"<job>\xff<children/></job>", "JT433"),
    ],
)
def test_refused_whole(content: bytes, code: str) -> None:
    with pytest.raises(JobTreeError) as error:
        parse_growth(content)
    assert error.value.code == code


def test_an_entity_bomb_is_refused() -> None:
    bomb = "<!DOCTYPE b [<!ENTITY a 'aaaa'>" + "".join(
        f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 100}'>" for n in range(10)
    )
    with pytest.raises(JobTreeError, match="document type"):
        parse_growth(f"{bomb}]><job><children>&k;</children></job>".encode())


def test_a_file_cut_anywhere_is_refused() -> None:
    whole = b"<job><children><child command='a JOB_FILE'/></children></job>"
    for cut in range(len(whole)):
        with pytest.raises(JobTreeError):
            parse_growth(whole[:cut])


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(content: bytes) -> None:
    try:
        parse_growth(content)
    except JobTreeError as error:
        assert error.code.startswith("JT43")  # noqa: PT017


@given(st.text(min_size=1), st.text())
def test_any_command_survives_the_xml(text: str, other: str) -> None:
    element = ET.Element("job")
    children = ET.SubElement(element, "children")
    ET.SubElement(children, "child", command=text, note=other)
    try:
        growth = parse_growth(ET.tostring(element, "utf-8"))
    except (JobTreeError, UnicodeEncodeError):
        return
    assert growth.children[0].text.split() == text.split()


def test_what_a_command_is_given(tmp_path: Path) -> None:
    for name in ("directories", "scratch"):
        (tmp_path / name).mkdir()
    local = LocalDirectory(f"{tmp_path}/scratch/a<b>&\"c'")
    granted = Requirements(2**30, 3, 0, 60.0)
    context = StepContext(str(tmp_path), 5, 7, 0, 2, granted, local)
    found = ET.fromstring(job_file_text(context, "DEBUG", 300.0, "/x/stats"))
    assert found.tag == "job"
    assert [child.tag for child in found] == ["children"]
    said = found.attrib
    assert os.path.isdir(said["local_temp_dir"])
    assert os.path.isdir(said["global_temp_dir"])
    assert os.path.isdir(said["attempt_dir"])
    assert (said["log_level"], said["job_time"], said["attempt"]) == ("DEBUG", "300", "7")
    assert (said["available_memory"], said["available_cpu"]) == (str(2**30), "3")
    assert said["stats"] == "/x/stats"


def test_links_and_pipes_in_the_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "job.xml"
    with pytest.raises(JobTreeError, match="gone"):
        read_growth(str(path))
    os.mkfifo(path)
    with pytest.raises(JobTreeError, match="not a file"):
        read_growth(str(path))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("sort -k1 file", "sort"), ("/usr/bin/awk '{print}'", "awk"), ("X=1 Y=2 run", "run"),
        ("A=1", "sh"), ("(cd x; y)", "cd"), ('"/odd path/tool"', "odd"), ("x" * 500, "x" * 40),
        ("'", "sh"),
    ],
)  # fmt: skip
def test_labels(text: str, label: str) -> None:
    assert shell_command(text).label == label


@pytest.mark.parametrize("text", ["", "  ", "a\0b"])
def test_what_is_no_command(text: str) -> None:
    for make in (shell_command, protocol_command):
        with pytest.raises(JobTreeError, match="not a shell command"):
            make(text)


PATHS = st.text(
    alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
)
SPOKEN = (
    """printf '%s\\0' JOB_FILE "JOB_FILE" 'JOB_FILE' "it's JOB_FILE" --to=JOB_FILE a\\'JOB_FILE"""
)


@settings(max_examples=100, deadline=None)
@given(PATHS)
@example("/tmp/plain/job.xml")
@example('/tmp/it\'s "quoted" $HOME `id` \\\\ !')
def test_the_path_is_one_word_within_any_quotes(path: str) -> None:
    command = ["/bin/sh", "-c", with_job_file(SPOKEN, path)]
    said = subprocess.run(command, capture_output=True, check=True)
    assert not said.stderr
    expected = [path, path, path, f"it's {path}", f"--to={path}", f"a'{path}"]
    assert said.stdout.decode().split("\0")[:-1] == expected


def test_only_whole_words_become_the_path() -> None:
    text = "MY_JOB_FILES=1 JOB_FILE2 $JOB_FILE ${JOB_FILE} $MY_JOB_FILES JOB_FILE.bak _JOB_FILE"
    assert with_job_file(text, "/p") == text.replace(" JOB_FILE.bak", " /p.bak")


@pytest.mark.parametrize(
    ("text", "speaks"),
    [
        ("cmd JOB_FILE", True),
        ("cmd --job=JOB_FILE", True),
        ('cmd "$JOB_FILE"', True),
        ("cmd ${JOB_FILE}", True),
        ("cmd # JOB_FILE", True),
        ("cmd $MY_JOB_FILES", False),
        ("cmd MY_JOB_FILE", False),
        ("cmd JOB_FILES", False),
    ],
)
def test_who_asks_for_a_job_file(text: str, speaks: bool) -> None:
    assert speaks_protocol(text) is speaks
