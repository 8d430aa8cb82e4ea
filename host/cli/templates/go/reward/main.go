// Pays 1 for the reference answer after the marker, 0 for anything else.
package main

import (
	"strings"

	"rewarden"
)

// Settings is what a run can set; settings.schema.json says the same for people and tools.
type Settings struct {
	Marker string `json:"marker"`
}

var defaults = Settings{Marker: "Answer:"}

// score judges one sample. A wrong answer is a score of 0; an error means that nobody could judge this.
func score(sample *rewarden.Sample, settings *Settings) (rewarden.Score, error) {
	response, wanted := sample.Response(), strings.TrimSpace(sample.GroundTruth)
	if wanted == "" {
		return rewarden.Score{}, rewarden.InvalidInput("the sample has no ground truth")
	}
	found := strings.LastIndex(response, settings.Marker)
	if found < 0 {
		return rewarden.Of(0).WithNote("no marker"), nil
	}
	answer := strings.TrimSpace(response[found+len(settings.Marker):])
	if answer == wanted {
		return rewarden.Of(1).WithNote(answer), nil
	}
	return rewarden.Of(0).WithNote(answer), nil
}

func init() { rewarden.Reward(score, defaults) }

func main() {}
