// What tests/sdk.rs asks of an SDK; Extra says what. probe.c is the same in C.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"rewarden"
)

// Settings of a run.
type Settings struct {
	Word   string  `json:"word"`
	Limit  float64 `json:"limit"`
	Strict bool    `json:"strict"`
}

// Prepare checks them.
func (settings *Settings) Prepare() error {
	if settings.Limit < 0 {
		return errors.New("`limit` is negative")
	}
	return nil
}

func messages(title string, messages []rewarden.Message) string {
	var text strings.Builder
	fmt.Fprintf(&text, "|%s", title)
	for _, message := range messages {
		fmt.Fprintf(&text, " %d:%s", message.Role, message.Content)
		if message.Name != "" {
			fmt.Fprintf(&text, " name=%s", message.Name)
		}
		for _, call := range message.ToolCalls {
			fmt.Fprintf(&text, " call=%s/%s/%s", call.ID, call.Name, call.Arguments)
		}
		if message.ToolCallID != "" {
			fmt.Fprintf(&text, " answers=%s", message.ToolCallID)
		}
	}
	return text.String()
}

func echo(sample *rewarden.Sample) rewarden.Score {
	text := fmt.Sprintf("%s|%s|%s", sample.ID, sample.Group, sample.DataSource)
	text += messages("prompt", sample.Prompt) + messages("completion", sample.Completion)
	text += fmt.Sprintf("|%s|%d|", sample.GroundTruth, sample.StopReason)
	for _, turn := range sample.TurnScores {
		text += fmt.Sprintf("%g ", turn)
	}
	text += fmt.Sprintf("|%d|%d|%d", sample.CompletionTokens, sample.Step, rewarden.Seed())
	score := rewarden.Of(0.75).WithNote(text).WithSteps(0, 0.25, 0.5, 0.75, 1).WithComponent("part", 0.25)
	return score.WithMetric("length", float64(len(text))).WithMetric("two", 2)
}

func askScores(sample *rewarden.Sample) (rewarden.Score, error) {
	scores, err := rewarden.AskScores("judge", sample.Completion, sample.Prompt)
	if err != nil {
		return rewarden.Score{}, err
	}
	return rewarden.Of(scores[0] + scores[1]), nil
}

func askTexts(sample *rewarden.Sample) (rewarden.Score, error) {
	texts, err := rewarden.AskTexts("judge", 7, sample.Completion)
	if err != nil {
		return rewarden.Score{}, fmt.Errorf("asking: %w", err)
	}
	return rewarden.Of(1).WithNote(texts[0]), nil
}

func callTool(sample *rewarden.Sample) (rewarden.Score, error) {
	content, err := rewarden.CallTool(rewarden.ToolCall{ID: "1", Name: "echo", Arguments: sample.GroundTruth})
	return rewarden.Of(1).WithNote(content), err
}

func deeper(depth int) int {
	if depth == 0 {
		return 0
	}
	return deeper(depth-1) + 1
}

func score(sample *rewarden.Sample, settings *Settings) (rewarden.Score, error) {
	result := rewarden.Of(1)
	switch sample.Extra {
	case "echo":
		return echo(sample), nil
	case "scores":
		return askScores(sample)
	case "texts":
		return askTexts(sample)
	case "tool":
		return callTool(sample)
	case "forgotten":
		return rewarden.Score{}, nil
	case "invalid-input":
		return result, rewarden.InvalidInput("because %s", "é")
	case "misconfigured":
		return result, rewarden.Misconfigured("because é")
	case "unavailable":
		return result, rewarden.Unavailable("because é")
	case "internal":
		return result, errors.New("because é")
	case "crash":
		var words map[string]int
		words["x"] = len(sample.ID)
	case "exit":
		os.Exit(1)
	case "recursion":
		return rewarden.Of(float64(deeper(1_000_000_000))), nil
	case "memory":
		for kept := [][]byte{}; ; {
			kept = append(kept, make([]byte, 1<<20))
		}
	case "none":
		result = rewarden.None()
	case "log":
		rewarden.Log(rewarden.Warn, "judging %s", sample.ID)
	}
	fmt.Println("nobody reads this")
	return result.WithNote(fmt.Sprintf("%s %g %t", settings.Word, settings.Limit, settings.Strict)), nil
}

func init() { rewarden.Reward(score, Settings{Word: "none", Limit: 2}) }

func main() {}
