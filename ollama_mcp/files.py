"""Files that a model is given by their paths, out of directories that the person has opened.

Text and images only. A path is resolved with all its links before it is judged, and whether a file outside
of the open directories exists is never told.
"""

import base64
import errno
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from ollama_mcp.chat import ChatRequest, ImagePart, ImageURL, Message, TextPart
from ollama_mcp.errors import InvalidRequest

MAX_FILES = 50
MAX_TEXT = 2 * 2**20
MAX_IMAGE = 10 * 2**20
MAX_TOTAL_TEXT = 8 * 2**20
MAX_TOTAL_IMAGES = 32 * 2**20

Part = TextPart | ImagePart

_UTF16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_WALKS = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


class FileReader:
    """Reads files inside some directories; without any it reads nothing."""

    def __init__(self, allow_dirs: Sequence[Path]) -> None:
        self._roots = tuple(Path(os.path.realpath(root)) for root in allow_dirs)

    async def attach(self, request: ChatRequest, paths: Sequence[str] | None) -> ChatRequest:
        """The request with the files added to its last user message."""
        if not paths:
            return request
        return request.model_copy(update={"messages": _with_parts(request.messages, await self.read(paths))})

    async def read(self, paths: Sequence[str]) -> list[Part]:
        """The files as parts of a message, each under its name; `InvalidRequest` if any of them cannot be read.

        A relative path is looked up in each open directory.
        """
        if len(paths) > MAX_FILES:
            raise InvalidRequest(f"{len(paths)} files are too many; give at most {MAX_FILES}.", param="files")
        return await anyio.to_thread.run_sync(self._read_all, paths)

    def _read_all(self, paths: Sequence[str]) -> list[Part]:
        parts: list[Part] = []
        texts = images = 0
        for path in paths:
            root, name = self._locate(path)
            data = _read(root, name, path)
            if kind := image_type(data):
                images += len(data)
                _check_size(path, "images", (len(data), MAX_IMAGE), (images, MAX_TOTAL_IMAGES))
                url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
                parts.append(TextPart(type="text", text=f"\n\nImage {name}"))
                parts.append(ImagePart(type="image_url", image_url=ImageURL(url=url)))
            else:
                texts += len(data)
                _check_size(path, "text", (len(data), MAX_TEXT), (texts, MAX_TOTAL_TEXT))
                text = fenced(_decode(path, data), Path(name).suffix[1:])
                parts.append(TextPart(type="text", text=f"\n\nFile {name}:\n{text}"))
        return parts

    def _locate(self, path: str) -> tuple[Path, str]:
        """The open directory that holds a path, and the real path within it."""
        if not self._roots:
            raise InvalidRequest(
                f"{path!r} cannot be read, since no directory is open to the models: start the server with "
                "--allow-dir DIR.",
                param="files",
            )
        inside: list[tuple[Path, str]] = []
        for root in self._roots:
            try:
                real = Path(os.path.realpath(root / path))
            except ValueError:  # a null byte or a lone surrogate
                raise InvalidRequest(f"{path!r} cannot be the path of a file.", param="files") from None
            inside += [(home, str(real.relative_to(home))) for home in self._roots if real.is_relative_to(home)]
        if not inside:
            opened = ", ".join(map(str, self._roots))
            raise InvalidRequest(
                f"{path!r} is outside of the directories that are open ({opened}); to open another, start the "
                "server with --allow-dir DIR.",
                param="files",
            )
        return next((place for place in inside if os.path.lexists(place[0] / place[1])), inside[0])


def _read(root: Path, name: str, path: str) -> bytes:
    """The bytes of a regular file, at most one more than the largest that is taken."""
    try:
        descriptor = _open(root, name)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError
            if not stat.S_ISREG(mode):
                raise InvalidRequest(f"{path!r} is not a regular file; give the path of one.", param="files")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(MAX_IMAGE + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InvalidRequest(_reason(path, root / name, error), param="files") from error


def _open(root: Path, name: str) -> int:
    """Open a path whose links are resolved; a link put in its way since then is refused."""
    # Without O_NONBLOCK, opening a named pipe would wait for whoever writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not _WALKS:  # Windows, where making a link takes a privilege
        return os.open(root / name, flags)
    steps = Path(name).parts
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for step in steps[:-1]:
            inner = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = inner
        return os.open(steps[-1] if steps else ".", flags | os.O_NOFOLLOW, dir_fd=directory)
    finally:
        os.close(directory)


def _reason(path: str, place: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return f"{path!r} is a link that leads in a circle or has just changed; give the path of the file itself."
    if isinstance(error, IsADirectoryError) or place.is_dir():
        return f"{path!r} is a directory; give the paths of the files in it that matter."
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{path!r} is not there; check the path, which is relative to an open directory or absolute."
    return f"{path!r} cannot be read ({error.strerror or error}); check its permissions."


def _check_size(path: str, what: str, one: tuple[int, int], together: tuple[int, int]) -> None:
    """Refuse what is larger than its limit; each pair is a size and its limit."""
    if one[0] > one[1]:
        raise InvalidRequest(
            f"{path!r} is larger than {one[1] // 2**20} MiB, the limit for {what}; give a smaller part of it.",
            param="files",
        )
    if together[0] > together[1]:
        raise InvalidRequest(
            f"The files up to {path!r} hold more than {together[1] // 2**20} MiB of {what} together; give fewer.",
            param="files",
        )


def _decode(path: str, data: bytes) -> str:
    if data.startswith(_UTF16_OR_32):
        raise InvalidRequest(f"{path!r} is in UTF-16 or UTF-32; save it as UTF-8.", param="files")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or data.startswith(b"%PDF-"):
        raise InvalidRequest(
            f"{path!r} is neither text in UTF-8 nor an image (PNG, JPEG, GIF, WebP); convert it to one of them.",
            param="files",
        )
    return text


def image_type(data: bytes) -> str | None:
    """The subtype of the image's media type, by its first bytes; None for anything but PNG, JPEG, GIF, WebP."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    return None


def fenced(text: str, language: str = "") -> str:
    """A text between fences of more backticks than stand in it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _with_parts(messages: Sequence[Message], parts: list[Part]) -> list[Message]:
    changed = list(messages)
    at = next((index for index in reversed(range(len(changed))) if changed[index].role == "user"), None)
    if at is None:
        return [*changed, Message(role="user", content=parts)]
    content = changed[at].content or []
    before: list[Part] = [TextPart(type="text", text=content)] if isinstance(content, str) else list(content)
    changed[at] = changed[at].model_copy(update={"content": [*before, *parts]})
    return changed
