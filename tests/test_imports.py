"""The rule of the house: imports go one way, faces do not know each other, and starting costs little."""

import subprocess
import sys

import grimp
from grimp import Layer

LAYERS = [
    Layer("__main__"),
    Layer("cli"),
    Layer("client", "admin"),
    Layer("serve", "exit_codes"),
    Layer("http_protocol"),
    Layer("server", "openai_api", "guard", "rate_limit", "metrics", "sessions", "stdio", "logs"),
    Layer("subscriptions", "completions", "resource_list", "client_logs", "protocol", "calls"),
    Layer("resources", "prompts", independent=False),
    Layer("tools"),
    Layer("watch", "batch"),
    Layer("spans"),
    Layer("service", "endpoints", "checked", "classify", "long_input"),
    Layer("jobs", independent=False),
    Layer("job_store", "job_record", independent=False),
    Layer("context", "files", "loading", "gate", "observation"),
    Layer("catalog"),
    Layer("engines"),
    Layer("chat", "settings", "strict_json", "request_id"),
    Layer("setting_values"),
    Layer("errors"),
]


def test_imports_go_one_way() -> None:
    graph = grimp.build_graph("ollama_mcp", exclude_type_checking_imports=True, cache_dir=None)
    illegal = graph.find_illegal_dependencies_for_layers(layers=LAYERS, containers={"ollama_mcp"})
    assert not illegal, "\n".join(f"{found.importer} -> {found.imported}" for found in illegal)


def test_every_module_has_its_layer() -> None:
    graph = grimp.build_graph("ollama_mcp", cache_dir=None)
    modules = {name.removeprefix("ollama_mcp.") for name in graph.find_children("ollama_mcp")}
    assert modules == {name for layer in LAYERS for name in layer.module_tails}


def test_the_service_knows_no_protocol() -> None:
    graph = grimp.build_graph("ollama_mcp", include_external_packages=True, cache_dir=None)
    policy = ["service", "batch", "jobs", "job_store", "job_record"]
    policy += ["checked", "classify", "long_input", "files", "loading"]
    below = [*policy, "catalog", "context", "engines", "chat", "settings", "errors"]
    for module in below:
        reached = graph.find_upstream_modules(f"ollama_mcp.{module}", as_package=True)
        assert not reached & {"mcp", "starlette", "uvicorn"}, module


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )


def test_help_and_version_import_nothing_heavy() -> None:
    for flag in ("--help", "--version"):
        run = (
            "import contextlib, io\nfrom ollama_mcp.cli import main\n"
            f"with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['{flag}'])"
        )
        assert not modules_after(run) & {"mcp", "ollama", "pydantic", "httpx", "httpx2", "aiohttp", "anyio"}


def test_the_server_is_made_without_the_engines_libraries() -> None:
    run = (
        "from ollama_mcp.serve import build_server, build_service\nfrom ollama_mcp.settings import Settings\n"
        "build_server(build_service(Settings()), serving_http=False)"
    )
    heavy = {"ollama", "httpx", "aiohttp", "openai", "xllamacpp", "limits", "redis", "prometheus_client"}
    assert not modules_after(run) & heavy
