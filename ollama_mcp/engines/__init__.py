"""The engines that run models: Ollama, any OpenAI-compatible server, or llama.cpp in a process of its own."""
