"""`python -m ollama_mcp` is the console command."""

import sys

from ollama_mcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
