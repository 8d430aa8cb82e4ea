// Package rewarden makes a plugin of plain Go functions.
//
// A reward is one function, registered in init:
//
//	type Settings struct {
//		Bonus float64 `json:"bonus"`
//	}
//
//	func score(sample *rewarden.Sample, settings *Settings) (rewarden.Score, error) {
//		if strings.TrimSpace(sample.Response()) != sample.GroundTruth {
//			return rewarden.Of(0), nil
//		}
//		return rewarden.Of(1 + settings.Bonus), nil
//	}
//
//	func init() { rewarden.Reward(score) }
//
//	func main() {}
//
// The package writes everything else that the contract asks for: settings from JSON, batches, and faults. An error that
// your function returns is a fault: of the kind of a *Fault, and "internal" for every other error. A panic is a fault
// "internal" that names the line.
//
// The sandbox has no clock, no files, no network and no environment. Time stands almost still, random numbers are the
// same in every instance, and what is printed goes nowhere: use Log. On your own machine the same functions are
// ordinary Go, so `go test` works as always.
package rewarden

import (
	"errors"
	"fmt"
)

// Role says who said a message.
type Role uint8

const (
	// System messages are the instructions that frame the conversation.
	System Role = iota
	// User messages are of the person, or of the task that stands in for one.
	User
	// Assistant messages are of the policy that is trained or judged.
	Assistant
	// ToolRole messages answer a call that the policy made.
	ToolRole
)

// Message is one message of a conversation.
type Message struct {
	Role Role
	// Content is the text, without the chat template's markers.
	Content string
	// Name is the tool's name, on messages of role ToolRole; else empty.
	Name string
	// ToolCalls are the calls this message proposes, in order; only on messages of role Assistant.
	ToolCalls []ToolCall
	// ToolCallID is the call this message answers, on messages of role ToolRole; else empty.
	ToolCallID string
}

// ToolCall is a call proposed by the policy. Nothing has checked it: expect unknown names and broken arguments.
type ToolCall struct {
	// ID tells calls of one message apart; empty when the policy's format has no ids.
	ID string
	// Name is the function the policy wants, as it wrote it.
	Name string
	// Arguments is a JSON object, exactly as the policy wrote it; it may not parse.
	Arguments string
}

// Metric is a named number for the logs.
type Metric struct {
	// Name is short, and the same for every sample, so that it can be averaged.
	Name string
	// Value is any finite number.
	Value float64
}

// FaultKind says whose fault it is.
type FaultKind uint8

const (
	// InvalidInputKind : the data given cannot be judged.
	InvalidInputKind FaultKind = iota
	// MisconfiguredKind : the settings are wrong.
	MisconfiguredKind
	// UnavailableKind : a host service is not granted or not reachable.
	UnavailableKind
	// InternalKind : a bug or a limit inside the plugin.
	InternalKind
)

// Fault is the error that says "no answer", and whose fault that is. A wrong answer of the policy is not one: that is
// a score of 0.
type Fault struct {
	Kind   FaultKind
	Reason string
}

// Error is the reason.
func (fault *Fault) Error() string { return fault.Reason }

// InvalidInput is the fault "this sample cannot be judged", with the reason, formatted as by fmt.Sprintf.
func InvalidInput(format string, arguments ...any) error {
	return &Fault{InvalidInputKind, fmt.Sprintf(format, arguments...)}
}

// Misconfigured is the fault "the settings are wrong".
func Misconfigured(format string, arguments ...any) error {
	return &Fault{MisconfiguredKind, fmt.Sprintf(format, arguments...)}
}

// Unavailable is the fault "a host service is missing".
func Unavailable(format string, arguments ...any) error {
	return &Fault{UnavailableKind, fmt.Sprintf(format, arguments...)}
}

// Internal is the fault "the plugin failed".
func Internal(format string, arguments ...any) error {
	return &Fault{InternalKind, fmt.Sprintf(format, arguments...)}
}

// asFault is the fault an error stands for. One that wraps a fault keeps its kind and says all of its own text.
func asFault(err error) *Fault {
	kind := InternalKind
	var fault *Fault
	if errors.As(err, &fault) {
		kind = fault.Kind
	}
	return &Fault{kind, err.Error()}
}
