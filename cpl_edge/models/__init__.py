"""Networks: the PromptIR backbone with its prompts (teachers) and the deployable students."""
