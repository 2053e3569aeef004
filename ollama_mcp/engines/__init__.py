"""The engines that run models: Ollama, any OpenAI-compatible server, or llama.cpp in this process."""
