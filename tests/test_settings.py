"""Settings from flags, the environment and .env."""

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ollama_mcp.errors import ConfigurationError
from ollama_mcp.settings import SETTINGS, Settings, check_bind, load, parse_ollama_host

ROOT = Path(__file__).parent.parent
KEY = "k" * 32


@pytest.fixture
def read(tmp_path: Path):
    def read(environ: Mapping[str, str] | None = None, *, dotenv: str = "", **flags: object) -> Settings:
        if dotenv:
            (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
        return load(flags, environ or {}, tmp_path)

    return read


def test_with_nothing_set_everything_has_its_default(read) -> None:
    assert read() == Settings()
    assert read().ollama_host == parse_ollama_host("")


def test_reading_settings_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\nfrom ollama_mcp.settings import load\nload({}, {}, pathlib.Path())\n"
        "print(sorted({'pydantic', 'mcp', 'ollama', 'httpx', 'dotenv'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_flags_win_over_the_environment_and_the_environment_over_dotenv(read) -> None:
    dotenv = "OLLAMA_MCP_PORT=3\nOLLAMA_MCP_MODEL=from-dotenv\nOLLAMA_MCP_LOG_LEVEL=debug\n"
    environ = {"OLLAMA_MCP_PORT": "2", "OLLAMA_MCP_MODEL": "from-environment"}
    settings = read(environ, dotenv=dotenv, port=1)
    assert (settings.port, settings.default_model, settings.log_level) == (1, "from-environment", "debug")


def test_any_real_variable_wins_over_any_name_in_dotenv(read) -> None:
    settings = read({"OLLAMA_HOST": "real"}, dotenv="OLLAMA_MCP_OLLAMA_HOST=file")
    assert settings.ollama_host == "http://real:11434"


@pytest.mark.parametrize(
    ("environ", "port"),
    [
        ({"PORT": "1"}, 1),
        ({"PORT": "1", "MCP_SERVER_PORT": "2"}, 2),
        ({"PORT": "1", "MCP_SERVER_PORT": "2", "OLLAMA_MCP_PORT": "3"}, 3),
        ({"PORT": "nonsense", "OLLAMA_MCP_PORT": "3"}, 3),
    ],
)
def test_our_own_name_wins_over_shared_ones(read, environ: dict[str, str], port: int) -> None:
    assert read(environ).port == port


def test_an_empty_value_is_not_set(read) -> None:
    dotenv = "OLLAMA_MCP_MODEL=kept\nOLLAMA_MCP_KEEP_ALIVE=\nOLLAMA_MCP_ALIASES\n"
    settings = read({"OLLAMA_MCP_MODEL": " ", "OLLAMA_MCP_PORT": ""}, dotenv=dotenv, host="", base_url=None)
    assert settings == Settings(default_model="kept")


def test_what_is_not_a_setting_is_ignored_among_the_flags(read) -> None:
    assert read(command="http", json=True, ollama_api_key="not from the command line") == Settings()


def test_every_kind_of_value_is_read(read, tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    model.touch()
    settings = read(
        {
            "OLLAMA_MCP_NUM_CTX": "8192",
            "OLLAMA_MCP_SOFT_DEADLINE": "0",
            "OLLAMA_MCP_IDLE_TIMEOUT": "1.5",
            "OLLAMA_MCP_ALIASES": " gpt-4o-mini = llama3.2 ,gpt-4o=qwen3:8b,",
            "OLLAMA_MCP_CORS_ORIGINS": "http://localhost:3000, HTTPS://Example.com:443/",
            "OLLAMA_MCP_LOG_LEVEL": "DEBUG",
            "OLLAMA_MCP_HOST": "[::1]",
            "OLLAMA_MCP_ALLOW_PULL": "Yes",
            "OLLAMA_MCP_ALLOW_DELETE": "0",
            "OLLAMA_API_KEY": "cloud",
            "OLLAMA_MCP_API_KEY_UPSTREAM": "upstream",
            "OLLAMA_MCP_API_KEY": "ours",
        },
        engine="embedded",
        model_file=model,
    )
    assert settings == Settings(
        engine="embedded",
        model_file=model,
        num_ctx=8192,
        soft_deadline=0,
        idle_timeout=1.5,
        aliases={"gpt-4o-mini": "llama3.2", "gpt-4o": "qwen3:8b"},
        cors_origins=("http://localhost:3000", "https://example.com"),
        log_level="debug",
        allow_pull=True,
        host="::1",
        ollama_api_key="cloud",
        upstream_api_key="upstream",
        api_keys=("ours",),
    )


def test_directories_are_opened_by_their_real_paths(read, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "notes")
    paths = [str(tmp_path), str(tmp_path / "link")]
    expected = (tmp_path.resolve(), (tmp_path / "notes").resolve())
    assert read(allow_dirs=paths).allow_dirs == expected
    assert read({"OLLAMA_MCP_ALLOW_DIRS": os.pathsep.join(paths)}).allow_dirs == expected


def test_a_directory_that_is_not_there_or_a_file_cannot_be_opened(read, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        with pytest.raises(ConfigurationError, match=r"^--allow-dir names a directory that is not there: "):
            read(allow_dirs=[str(tmp_path / name)])


@pytest.mark.parametrize(
    ("text", "duration"), [("300", "300s"), ("-1", "-1s"), ("0", "0s"), ("1h30m", "1h30m"), ("-1m", "-1m")]
)
def test_keep_alive_becomes_a_duration_that_ollama_takes(read, text: str, duration: str) -> None:
    assert read({"OLLAMA_MCP_KEEP_ALIVE": text}).keep_alive == duration


def test_keys_come_from_a_file_one_on_each_line(read, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"first\r\n\n second \n")
    assert read({"OLLAMA_MCP_API_KEY_FILE": str(tmp_path / "keys")}).api_keys == ("first", "second")


def test_dotenv_is_read_as_editors_on_windows_write_it(read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfOLLAMA_MCP_MODEL='a model'\r\nOLLAMA_MCP_PORT=5 # why\r\n")
    assert read() == Settings(default_model="a model", port=5)


def test_dotenv_values_are_taken_as_they_stand(read) -> None:
    assert read(dotenv="OLLAMA_API_KEY=a$b${HOME}c").ollama_api_key == "a$b${HOME}c"


BAD = [
    ("OLLAMA_MCP_ENGINE", "lama", "must be one of ollama, openai, embedded, not 'lama'"),
    ("OLLAMA_MCP_PORT", "65536", "must be a whole number from 0 to 65535, not '65536'"),
    ("PORT", "-1", "must be a whole number from 0 to 65535"),
    ("OLLAMA_MCP_NUM_CTX", "255", "must be a whole number from 256 to 16777216"),
    ("OLLAMA_MCP_MAX_NUM_CTX", "4k", "must be a whole number"),
    ("OLLAMA_MCP_IDLE_TIMEOUT", "0", "must be seconds from 0.1 to 86400"),
    ("OLLAMA_MCP_TOTAL_TIMEOUT", "nan", "must be seconds"),
    ("OLLAMA_MCP_HEARTBEAT", "inf", "must be seconds"),
    ("OLLAMA_MCP_SOFT_DEADLINE", "-1", "must be seconds from 0 to 86400"),
    ("OLLAMA_MCP_KEEP_ALIVE", "5 minutes", "must be seconds, or a duration"),
    ("OLLAMA_MCP_ALIASES", "gpt-4o", "must be pairs such as"),
    ("OLLAMA_MCP_ALIASES", "a=b,a=c", "names the alias 'a' twice"),
    ("OLLAMA_MCP_CORS_ORIGINS", "*", "must list each origin"),
    ("OLLAMA_MCP_CORS_ORIGINS", "localhost:3000", "must hold origins such as"),
    ("OLLAMA_MCP_CORS_ORIGINS", "http://localhost/app", "must hold origins such as"),
    ("OLLAMA_MCP_HOST", "http://127.0.0.1", "must be an address or a host name alone"),
    ("OLLAMA_MCP_BASE_URL", "127.0.0.1:8000", "must be a URL such as"),
    ("OLLAMA_MCP_BASE_URL", "http://host:99999/v1", "must be a URL such as"),
    ("OLLAMA_MCP_BASE_URL", "http://host/v1?x=1", "must be a URL such as"),
    ("OLLAMA_MCP_MODEL_FILE", "/nowhere/x.gguf", "names a file that is not there: /nowhere/x.gguf"),
    ("OLLAMA_MCP_API_KEY_FILE", "/nowhere/keys", "names a file that is not there"),
    ("OLLAMA_MCP_LOG_LEVEL", "loud", "must be one of debug, info"),
    ("OLLAMA_HOST", "http://h:x", "must have a port from 1 to 65535, not 'x'"),
]


@pytest.mark.parametrize(("name", "text", "problem"), BAD)
def test_a_bad_value_is_told_in_one_line_with_its_name(read, name: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read({name: text})
    message = str(caught.value)
    assert message.startswith(f"{name} {problem}")
    assert "\n" not in message


def test_a_bad_flag_and_a_bad_line_in_dotenv_are_told_apart(read) -> None:
    with pytest.raises(ConfigurationError, match=r"^--log-level must be one of"):
        read(log_level="loud")
    with pytest.raises(ConfigurationError, match=r"^OLLAMA_MCP_PORT in \.env must be"):
        read(dotenv="OLLAMA_MCP_PORT=http")


def test_a_dotenv_that_is_not_text_is_an_error(read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfeO\x00")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read"):
        read()


def test_a_key_is_never_shown(read, tmp_path: Path) -> None:
    environ = {"OLLAMA_API_KEY": "hidden1", "OLLAMA_MCP_API_KEY_UPSTREAM": "hidden2", "OLLAMA_MCP_API_KEY": "hidden3"}
    assert "hidden" not in repr(read(environ))
    (tmp_path / "keys").write_text("hidden key")
    for bad in (
        {"OLLAMA_API_KEY": "hidden key"},
        {"OLLAMA_MCP_API_KEY_FILE": str(tmp_path / "keys")},
        {"OLLAMA_HOST": "http://user:hidden@host"},
        {"OLLAMA_MCP_BASE_URL": "http://user:hidden@host:99999/v1"},
    ):
        with pytest.raises(ConfigurationError) as caught:
            read(bad)
        assert "hidden" not in str(caught.value)


def test_an_empty_key_file_is_an_error(read, tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    with pytest.raises(ConfigurationError, match="holds no key"):
        read({"OLLAMA_MCP_API_KEY_FILE": str(tmp_path / "keys")})


def test_a_mistyped_name_is_an_error_that_gives_the_right_one(read) -> None:
    with pytest.raises(ConfigurationError, match=r"^OLLAMA_MCP_MODLE is .* did you mean OLLAMA_MCP_MODEL\?$"):
        read({"OLLAMA_MCP_MODLE": "llama3.2"})
    with pytest.raises(ConfigurationError, match=r"^OLLAMA_MCP_MODLE in \.env is not a setting"):
        read(dotenv="OLLAMA_MCP_MODLE=llama3.2")


def test_the_key_and_the_key_file_exclude_each_other(read, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("other")
    environ = {"OLLAMA_MCP_API_KEY": "one", "OLLAMA_MCP_API_KEY_FILE": str(tmp_path / "keys")}
    with pytest.raises(ConfigurationError, match="OLLAMA_MCP_API_KEY and OLLAMA_MCP_API_KEY_FILE are both set"):
        read(environ)


def test_options_of_another_engine_are_an_error(read, tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    model.touch()
    url = "http://127.0.0.1:8000/v1"
    for message, environ, flags in (
        ("--base-url needs --engine openai", {}, {"base_url": url}),
        ("OLLAMA_MCP_BASE_URL needs OLLAMA_MCP_ENGINE=openai", {"OLLAMA_MCP_BASE_URL": url}, {}),
        (
            "--base-url needs --engine openai, but --engine chose ollama",
            {},
            {"engine": "ollama", "base_url": url},
        ),
        ("--model-file needs --engine embedded", {}, {"model_file": model}),
        (
            "--ollama-host needs --engine ollama, but OLLAMA_MCP_ENGINE chose embedded",
            {"OLLAMA_MCP_ENGINE": "embedded"},
            {"ollama_host": "h"},
        ),
        ("--engine openai needs the server's address: set --base-url", {}, {"engine": "openai"}),
    ):
        with pytest.raises(ConfigurationError, match=f"^{message}"):
            read(environ, **flags)


def test_an_address_of_ollama_in_the_environment_is_for_other_programs_too(read) -> None:
    assert read({"OLLAMA_HOST": "h", "OLLAMA_MCP_ENGINE": "embedded"}).engine == "embedded"


def test_a_flag_that_chooses_the_engine_overrides_the_environments_choice_whole(read) -> None:
    environ = {"OLLAMA_MCP_ENGINE": "openai", "OLLAMA_MCP_BASE_URL": "http://127.0.0.1:8000/v1"}
    assert read(environ).base_url == "http://127.0.0.1:8000/v1"
    assert read(environ, engine="ollama").engine == "ollama"


def test_a_fixed_context_above_the_cap_is_an_error_only_if_the_cap_was_set(read) -> None:
    assert read({"OLLAMA_MCP_NUM_CTX": "65536"}).num_ctx == 65536
    with pytest.raises(ConfigurationError, match="OLLAMA_MCP_NUM_CTX is 65536, above the 8192 that OLLAMA_MCP_MAX"):
        read({"OLLAMA_MCP_NUM_CTX": "65536", "OLLAMA_MCP_MAX_NUM_CTX": "8192"})


# The first part is the table of Ollama's own tests; the second is what differs for a client.
@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        ("1.2.3.4:1234", "http://1.2.3.4:1234"),
        ("example.com", "http://example.com:11434"),
        ("example.com:1234", "http://example.com:1234"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        (" 1.2.3.4 ", "http://1.2.3.4:11434"),
        ('"1.2.3.4"', "http://1.2.3.4:11434"),
        (' " 1.2.3.4 " ', "http://1.2.3.4:11434"),
        ("'1.2.3.4'", "http://1.2.3.4:11434"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("http://1.2.3.4:4321", "http://1.2.3.4:4321"),
        ("https://1.2.3.4", "https://1.2.3.4:443"),
        ("https://1.2.3.4:4321", "https://1.2.3.4:4321"),
        ("https://example.com/ollama", "https://example.com:443/ollama"),
        ("ollama.com", "https://ollama.com:443"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234"),
        ("[::]", "http://[::1]:11434"),
        ("[::]:1234", "http://[::1]:1234"),
        ("https://0.0.0.0:4321", "https://127.0.0.1:4321"),
        (":1234", "http://127.0.0.1:1234"),
        ("http://localhost:11434/", "http://localhost:11434"),
        ("HTTP://Host/a/b/", "http://Host:80/a/b"),
        ("[2001:0db8:0::1]", "http://[2001:db8::1]:11434"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(text: str, url: str) -> None:
    assert parse_ollama_host(text) == url


@pytest.mark.parametrize(
    "text",
    [":66000", ":-1", ":0", "host:", "host:http", "ftp://host", "user:word@host", "http://user@host", "a:b:c",
     "two words", "http://host/?x", "http://host/#x", "fe80::1%eth0", "http://host\\x"],
)  # fmt: skip
def test_an_address_that_cannot_be_one_is_an_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^The address of Ollama must "):
        parse_ollama_host(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_on_this_machine_alone_no_key_is_needed(host: str) -> None:
    check_bind(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", "localhost.example.com", "127.1"])
def test_beyond_this_machine_every_key_must_be_long(host: str) -> None:
    for keys in ((), ("short",), (KEY, KEY[1:])):
        with pytest.raises(ConfigurationError, match="at least 32 characters"):
            check_bind(Settings(host=host, api_keys=keys))
    check_bind(Settings(host=host, api_keys=(KEY,)))


def test_the_table_holds_every_field_and_each_has_our_own_name() -> None:
    assert {setting.field for setting in SETTINGS} == {field.name for field in dataclasses.fields(Settings)}
    names = [name for setting in SETTINGS for name in setting.environment]
    assert len(names) == len(set(names))
    assert all(setting.environment[0].startswith("OLLAMA_MCP_") for setting in SETTINGS)


def _example() -> str:
    """What `.env.example` must be: every setting with its description and its default, commented out."""
    head = (
        "# Settings of ollama-mcp. Copy this file to .env where the server starts, and uncomment what is to\n"
        "# change. Flags and variables of the environment win over this file."
    )
    blocks = [head]
    defaults = dataclasses.asdict(Settings(aliases={}))
    for setting in SETTINGS:
        default = defaults[setting.field]
        text = "" if not default else f"{default:g}" if isinstance(default, float) else str(default)
        also = f" Also read from {', then '.join(setting.environment[1:])}." if setting.environment[1:] else ""
        blocks.append(f"# {setting.description}{also}\n# {setting.environment[0]}={text}")
    return "\n\n".join(blocks) + "\n"


def test_the_example_holds_every_setting_and_no_other() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == _example()


def test_the_example_uncommented_changes_nothing(read) -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    settings = [line.removeprefix("# ") for line in lines if re.match(r"# OLLAMA_MCP_\w+=", line)]
    assert len(settings) == len(SETTINGS)
    assert read(dotenv=os.linesep.join(settings)) == Settings()
