"""Files given to a model by their paths, through `chat_completion`."""

import base64
import os
import sys
from pathlib import Path

import pytest

from ollama_mcp import files

from .harness import ERAS, client_over, text_of, warm_ollama

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n not much of a picture"
SECRET = "the secret outside"


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    """A directory to be opened, beside a file that must not be read."""
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "open").mkdir()
    return (tmp_path / "open").resolve()


async def ask(*paths: str | Path, opened: tuple[Path, ...], mode: str = "auto", **arguments: object):
    """What `chat_completion` says, and what reached Ollama."""
    async with warm_ollama() as fake, client_over(fake, mode=mode, allow_dirs=opened) as client:
        asked = {"model": "llava:7b", "prompt": "What is this?", "files": [str(path) for path in paths], **arguments}
        result = await client.call_tool("chat_completion", asked)
    return result, fake.sent("/api/chat")


@pytest.mark.parametrize("mode", ERAS)
async def test_text_and_images_reach_the_model_under_their_names(mode: str, opened: Path) -> None:
    (opened / "src").mkdir()
    (opened / "src" / "a.py").write_text("x = 1\n")
    (opened / "cat.png").write_bytes(PNG)
    result, [sent] = await ask("src/a.py", opened / "cat.png", opened=(opened,), mode=mode)
    assert not result.is_error
    [message] = sent["messages"]
    assert message["role"] == "user"
    assert message["content"] == (f"What is this?\n\nFile {Path('src/a.py')}:\n```py\nx = 1\n\n```\n\nImage cat.png")
    assert message["images"] == [base64.b64encode(PNG).decode()]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_server_says_which_directories_are_open(mode: str, opened: Path) -> None:
    async with warm_ollama() as fake:
        async with client_over(fake, mode=mode, allow_dirs=(opened,)) as client:
            assert str(opened) in client.instructions
        async with client_over(fake, mode=mode) as client:
            assert "files" not in client.instructions


async def test_files_join_the_last_user_message_of_a_conversation(opened: Path) -> None:
    (opened / "a.txt").write_text("from the file")
    conversation = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": [{"type": "text", "text": "Read this."}]},
        {"role": "assistant", "content": "Well:"},
    ]
    _, [sent] = await ask("a.txt", opened=(opened,), prompt=None, messages=conversation)
    contents = [message["content"] for message in sent["messages"]]
    assert contents == ["Hi", "Hello", "Read this.\n\nFile a.txt:\n```txt\nfrom the file\n```", "Well:"]


async def test_a_conversation_without_a_user_gets_the_files_as_one(opened: Path) -> None:
    (opened / "a.txt").write_text("from the file")
    _, [sent] = await ask(
        "a.txt", opened=(opened,), prompt=None, messages=[{"role": "system", "content": "Sum up what you are given."}]
    )
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]


async def test_a_text_with_fences_is_fenced_by_longer_ones(opened: Path) -> None:
    (opened / "a.md").write_text("````\ncode\n````")
    _, [sent] = await ask("a.md", opened=(opened,))
    assert sent["messages"][0]["content"].endswith("\n`````md\n````\ncode\n````\n`````")


async def test_a_byte_order_mark_is_left_out(opened: Path) -> None:
    (opened / "a.txt").write_bytes(b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe")
    _, [sent] = await ask("a.txt", opened=(opened,))
    assert "```txt\nGrüße\n```" in sent["messages"][0]["content"]


async def test_a_relative_path_is_found_in_any_open_directory(opened: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.txt").write_text("found")
    _, [sent] = await ask("b.txt", opened=(opened, other))
    assert "found" in sent["messages"][0]["content"]


async def test_a_link_within_an_open_directory_is_followed(opened: Path) -> None:
    (opened / "a.txt").write_text("behind the link")
    (opened / "link.txt").symlink_to(opened / "a.txt")
    _, [sent] = await ask("link.txt", opened=(opened,))
    assert "behind the link" in sent["messages"][0]["content"]


async def test_an_open_directory_may_itself_be_a_link(opened: Path, tmp_path: Path) -> None:
    (opened / "a.txt").write_text("inside")
    (tmp_path / "link").symlink_to(opened)
    _, [sent] = await ask(tmp_path / "link" / "a.txt", opened=(tmp_path / "link",))
    assert "inside" in sent["messages"][0]["content"]


async def test_without_an_open_directory_the_error_says_how_to_open_one(tmp_path: Path) -> None:
    result, sent = await ask(tmp_path / "secret.txt", opened=())
    assert result.is_error
    assert "start the server with --allow-dir DIR" in text_of(result)
    assert sent == []


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "{outside}", "sub/../../secret.txt", "link.txt", "directory/secret.txt", "../no-such-file",
     "../open-too/x", "dangling"],
)  # fmt: skip
async def test_no_way_leads_out_of_the_open_directory(path: str, opened: Path, tmp_path: Path) -> None:
    (opened / "sub").mkdir()
    (opened / "link.txt").symlink_to(tmp_path / "secret.txt")
    (opened / "directory").symlink_to(tmp_path)
    (opened / "dangling").symlink_to(tmp_path / "no-such-file")
    (tmp_path / "open-too").mkdir()
    (tmp_path / "open-too" / "x").write_text(SECRET)
    result, sent = await ask(path.format(outside=tmp_path / "secret.txt"), opened=(opened,))
    assert result.is_error
    said = text_of(result)
    assert "is outside of the directories that are open" in said
    assert "--allow-dir DIR" in said
    assert SECRET not in said
    assert sent == []


@pytest.mark.skipif(sys.platform == "win32", reason="links are resolved once there")
async def test_a_directory_exchanged_for_a_link_after_the_check_is_not_followed(
    opened: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (opened / "sub").mkdir()
    (opened / "sub" / "secret.txt").write_text("harmless")
    real = str(opened / "sub" / "secret.txt")

    def resolved_then_exchanged(path: object, **options: object) -> str:
        (opened / "sub").rename(opened / "moved")
        (opened / "sub").symlink_to(tmp_path)
        return real

    reader = files.FileReader([opened])
    monkeypatch.setattr(files.os.path, "realpath", resolved_then_exchanged)
    with pytest.raises(files.InvalidRequest):
        await reader.read(["sub/secret.txt"])
    assert (opened / "sub" / "secret.txt").read_text() == SECRET


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("nul.bin", b"abc\x00def", "neither text in UTF-8 nor an image"),
        ("latin.txt", "Grüße".encode("latin-1"), "neither text in UTF-8 nor an image"),
        ("paper.pdf", b"%PDF-1.7 plain", "neither text in UTF-8 nor an image"),
        ("wide.txt", "Grüße".encode("utf-16"), "save it as UTF-8"),
        ("long.txt", b"x" * (2 * 2**20 + 1), "larger than 2 MiB"),
        ("large.png", PNG + b"x" * 10 * 2**20, "larger than 10 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_read_is_named_with_what_to_do(opened: Path, name: str, data: bytes, said: str) -> None:
    (opened / name).write_bytes(data)
    result, sent = await ask(name, opened=(opened,))
    assert result.is_error
    assert said in text_of(result)
    assert repr(name) in text_of(result)
    assert sent == []


async def test_a_file_at_the_limit_is_read(opened: Path) -> None:
    (opened / "a.txt").write_bytes(b"x" * (2 * 2**20))
    [part] = await files.FileReader([opened]).read(["a.txt"])
    assert len(part.text) > 2 * 2**20


async def test_texts_and_images_are_limited_together_too(opened: Path) -> None:
    (opened / "a.txt").write_bytes(b"x" * (2 * 2**20))
    (opened / "a.png").write_bytes(PNG + b"x" * (9 * 2**20))
    texts, _ = await ask(*["a.txt"] * 5, opened=(opened,))
    images, _ = await ask(*["a.png"] * 4, opened=(opened,))
    assert "more than 8 MiB of text together" in text_of(texts)
    assert "more than 32 MiB of images together" in text_of(images)


async def test_more_than_fifty_files_are_refused(opened: Path) -> None:
    (opened / "a.txt").write_text("x")
    result, _ = await ask(*["a.txt"] * 51, opened=(opened,))
    assert "at most 50" in text_of(result)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("sub", "is a directory"),
        (".", "is a directory"),
        ("none.txt", "is not there"),
        ("a.txt/none.txt", "is not there"),
        ("circle", "leads in a circle"),
        ("nul\0byte", "cannot be the path of a file"),
    ],
)
async def test_a_path_to_no_file_is_an_error(opened: Path, path: str, said: str) -> None:
    (opened / "sub").mkdir()
    (opened / "a.txt").write_text("x")
    (opened / "circle").symlink_to(opened / "circle")
    result, sent = await ask(path, opened=(opened,))
    assert result.is_error
    assert said in text_of(result)
    assert sent == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
async def test_a_named_pipe_is_refused_without_waiting_for_its_writer(opened: Path) -> None:
    os.mkfifo(opened / "pipe")
    result, _ = await ask("pipe", opened=(opened,))
    assert "is not a regular file" in text_of(result)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
async def test_a_file_without_permission_is_an_error(opened: Path) -> None:
    (opened / "a.txt").touch(mode=0)
    result, _ = await ask("a.txt", opened=(opened,))
    assert "check its permissions" in text_of(result)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "png"),
        (b"\xff\xd8\xff\xe0rest", "jpeg"),
        (b"GIF89arest", "gif"),
        (b"RIFF\x00\x00\x00\x00WEBPrest", "webp"),
    ],
)
async def test_an_image_is_known_by_its_first_bytes_whatever_its_name(opened: Path, data: bytes, kind: str) -> None:
    (opened / "picture.txt").write_bytes(data)
    [_, image] = await files.FileReader([opened]).read(["picture.txt"])
    assert image.image_url.url == f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
