package rewarden

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Output is what a call gives back.
type Output struct {
	// Content is the text of the message the policy sees.
	Content string
	// Reward is that of this call; 0 for most tools.
	Reward float64
	// Metrics are numbers for the logs.
	Metrics []Metric
}

// Say is the output that is this text and nothing else.
func Say(format string, arguments ...any) Output {
	return Output{Content: fmt.Sprintf(format, arguments...)}
}

// ToolFunction is one function on offer. Make it with Function.
type ToolFunction struct {
	name        string
	description string
	parameters  string
	call        func(arguments string) (Output, error)
}

// Function offers a Go function to the policy: the name it is called by, what it does, the JSON Schema of its arguments,
// and the function. Arguments is a struct that encoding/json reads; what the policy wrote and does not fit is said to
// the policy. A mistake of the policy belongs into the output; an error means that the tool itself is broken.
func Function[Arguments any](name, description, parameters string, call func(*Arguments) (Output, error)) ToolFunction {
	return ToolFunction{name, description, parameters, func(text string) (Output, error) {
		if nested(text) {
			return Say("error: the arguments of `%s` are nested more than %d deep", name, nestingMax), nil
		}
		arguments := new(Arguments)
		if err := json.Unmarshal([]byte(text), arguments); err != nil {
			return Say("error: the arguments of `%s` are wrong: %s", name, strings.TrimPrefix(err.Error(), "json: ")), nil
		}
		return call(arguments)
	}}
}

// functions are made by configure.
var functions []ToolFunction

// Tool registers the plugin: open makes its functions, with the settings of the run. What they share lives in variables
// of open, one set per episode. Call it once, in init. Settings and defaults are as for a reward: any struct that
// encoding/json reads.
func Tool[Settings any](open func(*Settings) []ToolFunction, defaults ...Settings) {
	configure = func(text string) error {
		settings, err := settingsFrom(text, defaults)
		if err == nil {
			functions = open(settings)
		}
		return err
	}
}

// called runs one call. A function that does not exist is a mistake of the policy.
func called(call *ToolCall) (output Output, err error) {
	err = guard(func() (err error) {
		var names []string
		for _, function := range functions {
			if function.name == call.Name {
				output, err = function.call(call.Arguments)
				return err
			}
			names = append(names, "`"+function.name+"`")
		}
		output = Say("error: there is no function `%s`, only %s", call.Name, strings.Join(names, ", "))
		return nil
	})
	return output, err
}
