"""The process in which llama.cpp runs for the embedded engine; a script of its own, started by its path.

One line of JSON comes in on stdin, one goes out on stdout once the model is loaded. When stdin ends the process
does, so that it never outlives the one that started it, however that one ended.
"""

import json
import os
import signal
import sys
from typing import Any

ERRORS_ONLY = 1
SMALL_MACHINE = 4
"""At most so many CPUs."""


def main() -> None:
    """Serve the model until stdin ends."""
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what native code may print must not get into the report
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the one that started us decides
    settings = json.loads(sys.stdin.readline())
    server = start(settings)
    report.write(json.dumps({"address": server.listening_address}) + "\n")
    report.close()
    sys.stdin.read()
    # llama.cpp's own end waits for its connections, and with threads still at work it may crash.
    os._exit(0)


def start(settings: dict[str, Any]) -> Any:
    """The running server; `RuntimeError` if the model cannot be loaded, with the reason on stderr."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["name"]}
    params.api_keys = [settings["api_key"]]
    params.port = 0
    params.ui = False
    params.verbosity = ERRORS_ONLY
    params.n_parallel = settings["parallel"]
    params.n_ctx = settings["context"] * settings["parallel"]
    params.n_ubatch = params.n_batch = settings["batch"]
    params.cache_ram_mib = settings["cache_mib"]
    params.embedding = True
    if (cpus := os.cpu_count() or 1) <= SMALL_MACHINE:
        # By itself llama.cpp takes every core, and its threads wait for each other by spinning. With anything
        # else at work on a small machine that made 2 tokens a second of 115, where one thread fewer kept 50.
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, cpus - 1)
    if not settings["pools"]:
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
