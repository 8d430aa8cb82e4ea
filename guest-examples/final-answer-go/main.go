// Pays 1 when the text after the last `####` is the reference answer.
package main

import (
	"strings"

	"rewarden"
)

// Settings of a run.
type Settings struct {
	// FormatScore is what an answer earns that has the marker and is wrong.
	FormatScore float64 `json:"format_score"`
}

// marked is the text between the last `####` and the end of its line, and whether there is one.
func marked(text string) (string, bool) {
	marker := strings.LastIndex(text, "####")
	if marker < 0 {
		return "", false
	}
	line, _, _ := strings.Cut(text[marker+len("####"):], "\n")
	return line, true
}

// clean makes `1200` of `" $1,200. "`.
func clean(text string) string {
	text = strings.TrimPrefix(strings.Trim(text, " \t\r\n\v\f"), "$")
	return strings.TrimSuffix(strings.ReplaceAll(text, ",", ""), ".")
}

func score(sample *rewarden.Sample, settings *Settings) (rewarden.Score, error) {
	said, found := marked(sample.Response())
	if !found {
		return rewarden.Of(0).WithNote("no ####"), nil
	}
	wanted, found := marked(sample.GroundTruth)
	if !found {
		wanted = sample.GroundTruth
	}
	said = clean(said)
	if said == clean(wanted) {
		return rewarden.Of(1).WithNote(said), nil
	}
	return rewarden.Of(settings.FormatScore).WithNote(said), nil
}

func init() { rewarden.Reward(score) }

func main() {}
