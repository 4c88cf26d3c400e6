from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from homeport.agent.environment_files import MAX_FILE, MAX_LINE, ResourceFailed, folder, located, merged, parse, read

HEAD = "ResourceInitializationError: failed to download env files: file download command: non empty error stream: "


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("", {}),
        ("A=1\nB=2", {"A": "1", "B": "2"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# A=1\n#B=2\n", {}),
        (" # A=1", {" # A": "1"}),
        ("A=1 # not a comment", {"A": "1 # not a comment"}),
        ("A=\"quoted\"\nB='too'", {"A": '"quoted"', "B": "'too'"}),
        ("A= spaces stay ", {"A": " spaces stay "}),
        ("A=b=c", {"A": "b=c"}),
        ("A=\n=b\nC\n\nD=$A", {"D": "$A"}),
        ("export A=1", {"export A": "1"}),
        ("A=1\nA=2", {"A": "2"}),
    ],
)
def test_lines(text: str, variables: dict[str, str]) -> None:
    assert parse(text) == variables


def test_the_first_file_wins() -> None:
    assert merged([{"A": "1", "B": "1"}, {"B": "2", "C": "2"}]) == {"A": "1", "B": "1", "C": "2"}
    assert merged([]) == {}


def test_where_an_object_is() -> None:
    assert located("arn:aws:s3:::bucket/a/b.env") == ("bucket", "a/b.env")
    assert located("arn:aws-cn:s3:::bucket/b.env") == ("bucket", "b.env")
    for text in (
        "arn:aws:s3:::bucket",
        "arn:aws:s3:::bucket/",
        "arn:aws:s3:::bucket/../../etc/x.env",
        "arn:aws:s3:::../x.env",
        "arn:aws:s3:::bucket//x.env",
        "arn:aws:s3:::bucket/a\0.env",
        "arn:aws:ecs:us-east-1:123456789012:cluster/x.env",
        "bucket/x.env",
    ):
        with pytest.raises(ResourceFailed, match="^" + HEAD):
            located(text)


def found(root: Path, *keys: str) -> dict[str, str]:
    return asyncio.run(read(folder(root), [f"arn:aws:s3:::{key}" for key in keys]))


def test_files_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "bucket" / "deep").mkdir(parents=True)
    (tmp_path / "bucket" / "one.env").write_text("A=1\nB=1\n")
    (tmp_path / "bucket" / "deep" / "two.env").write_text("B=2\nC=ü\n")
    assert found(tmp_path, "bucket/one.env", "bucket/deep/two.env") == {"A": "1", "B": "1", "C": "ü"}
    assert found(tmp_path / "nowhere") == {}


def test_what_can_not_be_read_says_why(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    (bucket / "folder.env").mkdir(parents=True)
    (bucket / "binary.env").write_bytes(b"A=\xff\xfe")
    (bucket / "zero.env").write_bytes(b"A=a\0b")
    (bucket / "large.env").write_bytes(b"A=1\n" * (MAX_FILE // 4 + 1))
    (bucket / "wide.env").write_bytes(b"A" * (MAX_LINE + 1))
    os.mkfifo(bucket / "pipe.env")
    for key, text in (
        ("none/x.env", "NoSuchBucket: The specified bucket does not exist."),
        ("bucket/x.env", "NoSuchKey: The specified key does not exist."),
        ("bucket/deep/er/x.env", "NoSuchKey: The specified key does not exist."),
        ("bucket/binary.env/x.env", "NoSuchKey: The specified key does not exist."),
        ("bucket/folder.env", "AccessDenied: "),
        ("bucket/pipe.env", "AccessDenied: "),
        ("bucket/binary.env", "UTF-8"),
        ("bucket/zero.env", "zero byte"),
        ("bucket/large.env", "too large"),
        ("bucket/wide.env", "too large"),
    ):
        with pytest.raises(ResourceFailed) as caught:
            found(tmp_path, key)
        assert str(caught.value).startswith(HEAD), key
        assert text in str(caught.value), key
        assert len(str(caught.value)) <= 1024
