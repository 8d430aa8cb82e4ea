// Pays 1 for an answer that matches a pattern and keeps to a number of words.
package main

import (
	"fmt"
	"regexp"
	"strings"

	"rewarden"
)

// bytesMax bounds what the pattern is tried on: a policy may say a megabyte of anything.
const bytesMax = 20_000

// Settings of a run.
type Settings struct {
	// Pattern is what the answer must match.
	Pattern string `json:"pattern"`
	// WordsMax is the number of words an answer may have.
	WordsMax int `json:"words_max"`

	pattern *regexp.Regexp
}

// Prepare runs once, when the plugin is loaded: what it builds is there already when a sample is judged, and what it refuses
// is refused before the run begins.
func (settings *Settings) Prepare() (err error) {
	if settings.WordsMax < 1 {
		return fmt.Errorf("`words_max` is %d: at least 1 word must be allowed", settings.WordsMax)
	}
	settings.pattern, err = regexp.Compile(settings.Pattern)
	return err
}

func score(sample *rewarden.Sample, settings *Settings) (rewarden.Score, error) {
	if len(sample.Response()) > bytesMax {
		return rewarden.Of(0).WithNote("too long to look at"), nil
	}
	words := len(strings.Fields(sample.Response()))
	if words > settings.WordsMax {
		return rewarden.Of(0).WithNote(fmt.Sprintf("%d words", words)), nil
	}
	if !settings.pattern.MatchString(sample.Response()) {
		return rewarden.Of(0).WithNote("no match"), nil
	}
	return rewarden.Of(1).WithMetric("words", float64(words)), nil
}

func init() { rewarden.Reward(score, Settings{Pattern: `\S`, WordsMax: 200}) }

func main() {}
