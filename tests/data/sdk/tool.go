// A tool that adds, and counts how often.
package main

import (
	"errors"

	"rewarden"
)

type settings struct {
	Offset float64 `json:"offset"`
}

type numbers struct {
	A *float64 `json:"a"`
	B float64  `json:"b"`
}

const schema = `{"type": "object", "properties": {"a": {"type": "number"}}}`

func open(settings *settings) []rewarden.ToolFunction {
	calls := 0.0
	add := func(numbers *numbers) (rewarden.Output, error) {
		if numbers.A == nil {
			return rewarden.Say("error: `a` is missing"), nil
		}
		calls++
		output := rewarden.Say("%g", *numbers.A+numbers.B+settings.Offset)
		output.Reward = 0.25
		output.Metrics = []rewarden.Metric{{Name: "calls", Value: calls}}
		return output, nil
	}
	broken := func(*struct{}) (rewarden.Output, error) { return rewarden.Output{}, errors.New("c1 is broken") }
	return []rewarden.ToolFunction{
		rewarden.Function("add", "Adds ∑.", schema, add),
		rewarden.Function("broken", "Fails.", "{}", broken),
	}
}

func init() { rewarden.Tool(open) }

func main() {}
