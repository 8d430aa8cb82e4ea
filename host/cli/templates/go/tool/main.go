// Adds numbers, because policies cannot.
package main

import (
	"strconv"

	"rewarden"
)

// Settings : this tool has none.
type Settings struct{}

// Numbers are the arguments of a call. A pointer tells a missing one from 0.
type Numbers struct {
	A *float64 `json:"a"`
	B *float64 `json:"b"`
}

const schema = `{
	"type": "object",
	"properties": {"a": {"type": "number"}, "b": {"type": "number"}},
	"required": ["a", "b"]
}`

// add runs one call. A mistake of the policy belongs into what it reads; an error means that the tool itself is broken.
func add(numbers *Numbers) (rewarden.Output, error) {
	if numbers.A == nil || numbers.B == nil {
		return rewarden.Say("error: `a` and `b` must be given"), nil
	}
	return rewarden.Say("%s", strconv.FormatFloat(*numbers.A+*numbers.B, 'g', 15, 64)), nil
}

func open(*Settings) []rewarden.ToolFunction {
	return []rewarden.ToolFunction{rewarden.Function("add", "Adds two numbers.", schema, add)}
}

func init() { rewarden.Tool(open) }

func main() {}
