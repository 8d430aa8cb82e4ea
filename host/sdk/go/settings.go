package rewarden

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
)

// Preparer is what settings may be: Prepare runs once, after the settings are read, to build what every sample needs (a
// compiled pattern, a table). Its error is the fault "misconfigured".
type Preparer interface {
	Prepare() error
}

// Seed is the number that all randomness of this plugin must derive from.
func Seed() uint32 { return seed }

var seed uint32

// configure is set by the function that registers the plugin.
var configure = func(string) error {
	return Internal("this plugin registers nothing: call one of rewarden's functions in `func init()`")
}

func notConfigured() error { return Misconfigured("configure was not called, or failed") }

// settingsFrom reads the settings of a run into a copy of the defaults. A key that S does not have is an error.
func settingsFrom[S any](text string, defaults []S) (*S, error) {
	settings := new(S)
	if len(defaults) > 0 {
		*settings = defaults[0]
	}
	if nested(text) {
		return nil, Misconfigured("settings: nested more than %d deep", nestingMax)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(settings); err != nil {
		return nil, Misconfigured("settings: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, Misconfigured("settings: there is more than one JSON value")
	}
	if preparer, ok := any(settings).(Preparer); ok {
		if err := preparer.Prepare(); err != nil {
			return nil, asMisconfigured(err)
		}
	}
	return settings, nil
}

// nestingMax is how deep JSON may be nested: encoding/json goes on until the sandbox's stack has ended.
const nestingMax = 100

// nested says whether more brackets than that are open at once. A bracket in a string does not count.
func nested(text string) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case !quoted && (text[i] == '[' || text[i] == '{'):
			depth++
		case !quoted && (text[i] == ']' || text[i] == '}'):
			depth--
		}
		if depth > nestingMax {
			return true
		}
	}
	return false
}

// asMisconfigured keeps the kind that an author chose.
func asMisconfigured(err error) error {
	var fault *Fault
	if errors.As(err, &fault) {
		return err
	}
	return Misconfigured("settings: %s", err)
}

// guard runs an author's function and makes an error of a panic.
func guard(call func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = Internal("panic: %v%s", reason, trace())
		}
	}()
	return call()
}

// trace is where the panic began: the author's lines, innermost first, on one line, and without addresses, so that equal
// input gives equal text.
func trace() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	var lines strings.Builder
	for {
		frame, more := frames.Next()
		ours := strings.HasPrefix(frame.Function, "runtime.") || strings.HasPrefix(frame.Function, "rewarden.")
		if !ours && frame.Line > 1 {
			fmt.Fprintf(&lines, ", at %s (%s:%d)", frame.Function, frame.File, frame.Line)
		}
		if !more {
			return lines.String()
		}
	}
}
