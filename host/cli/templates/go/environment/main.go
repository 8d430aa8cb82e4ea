// The policy finds a number by guessing; each answer says higher or lower.
package main

import (
	"errors"
	"strconv"
	"strings"

	"rewarden"
)

// Settings is what a run can set; settings.schema.json says the same for people and tools.
type Settings struct {
	GuessesMax int `json:"guesses_max"`
}

// Prepare runs once, when the settings have been read.
func (settings *Settings) Prepare() error {
	if settings.GuessesMax < 1 {
		return errors.New("`guesses_max` must be at least 1")
	}
	return nil
}

// game is one episode.
type game struct {
	settings *Settings
	wanted   float64
	guesses  int
}

// Start is what the policy sees first. What is random derives from the seed; here nothing is.
func (game *game) Start(task *rewarden.Task, seed uint32) ([]rewarden.Message, error) {
	wanted, err := strconv.ParseFloat(strings.TrimSpace(task.GroundTruth), 64)
	if err != nil {
		return nil, rewarden.InvalidInput("the ground truth is no number: %v", err)
	}
	game.wanted = wanted
	return says("I think of a number. Answer with your guess and nothing else."), nil
}

// Step answers one message of the policy. Its mistakes are part of the game, and no errors.
func (game *game) Step(action *rewarden.Message) (rewarden.Transition, error) {
	game.guesses++
	last := game.guesses >= game.settings.GuessesMax
	guess, err := strconv.ParseFloat(strings.TrimSpace(action.Content), 64)
	switch {
	case err != nil:
		return rewarden.Transition{Observation: says("That is no number."), Done: last}, nil
	case guess == game.wanted:
		return rewarden.Transition{Observation: says("Right!"), Reward: 1, Done: true}, nil
	case guess < game.wanted:
		return rewarden.Transition{Observation: says("Higher."), Done: last}, nil
	default:
		return rewarden.Transition{Observation: says("Lower."), Done: last}, nil
	}
}

// Finish gives numbers for the logs, when the episode ends for any reason.
func (game *game) Finish() []rewarden.Metric {
	return []rewarden.Metric{{Name: "guesses", Value: float64(game.guesses)}}
}

func says(text string) []rewarden.Message {
	return []rewarden.Message{{Role: rewarden.User, Content: text}}
}

func open(settings *Settings) rewarden.Episode { return &game{settings: settings} }

func init() { rewarden.Environment(open, Settings{GuessesMax: 7}) }

func main() {}
