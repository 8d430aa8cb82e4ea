package rewarden

// AskScores asks a model that the run has bound for one number per conversation. It needs the capability "host-model" in
// plugin.toml, and a plugin that has it is no longer sealed.
func AskScores(model string, conversations ...[]Message) ([]float64, error) {
	return hostScore(model, conversations)
}

// AskTexts asks for one continuation per conversation, each of at most so many tokens.
func AskTexts(model string, maxTokens uint32, conversations ...[]Message) ([]string, error) {
	return hostGenerate(model, conversations, maxTokens)
}
