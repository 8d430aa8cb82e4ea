package rewarden

import "fmt"

// Level is how much a line of the log matters.
type Level uint8

const (
	// Debug lines are for the plugin's author.
	Debug Level = iota
	// Info lines are worth a line in a log that is read.
	Info
	// Warn lines are something that the run's owner should look at.
	Warn
	// Error lines make this plugin's answers doubtful.
	Error
)

// Log writes one line to the run's log, formatted as by fmt.Sprintf. Without the capability "host-log" in plugin.toml it
// goes nowhere.
func Log(level Level, format string, arguments ...any) {
	hostLog(level, fmt.Sprintf(format, arguments...))
}
