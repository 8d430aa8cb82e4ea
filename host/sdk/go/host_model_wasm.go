package rewarden

import "unsafe"

//go:wasmimport rewarden:plugin/host-model@0.1.0 score
func importScore(model string, conversations, length uint32, result unsafe.Pointer)

//go:wasmimport rewarden:plugin/host-model@0.1.0 generate
func importGenerate(model string, conversations, length, maxTokens uint32, result unsafe.Pointer)

func hostScore(model string, conversations [][]Message) ([]float64, error) {
	asked, result := lowerList(conversations, lowerMessages), new(rawListResult)
	importScore(model, asked.at, asked.length, unsafe.Pointer(result))
	read()
	if err := result.err(); err != nil {
		return nil, err
	}
	scores := elements[float64](result.list)
	lifted()
	return scores, nil
}

func hostGenerate(model string, conversations [][]Message, maxTokens uint32) ([]string, error) {
	asked, result := lowerList(conversations, lowerMessages), new(rawListResult)
	importGenerate(model, asked.at, asked.length, maxTokens, unsafe.Pointer(result))
	read()
	if err := result.err(); err != nil {
		return nil, err
	}
	texts := liftList(result.list, func(raw *text) string { return raw.lift() })
	lifted()
	return texts, nil
}

func lowerMessages(messages []Message) list { return lowerList(messages, lowerMessage) }
