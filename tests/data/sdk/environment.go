// An environment that says what it is given; an action says how it goes on.
package main

import (
	"errors"
	"fmt"

	"rewarden"
)

type settings struct {
	Bonus float64 `json:"bonus"`
}

type episode struct {
	settings *settings
	task     *rewarden.Task
	steps    int
}

func (episode *episode) Start(task *rewarden.Task, seed uint32) ([]rewarden.Message, error) {
	if task.ID == "refused" {
		return nil, rewarden.InvalidInput("as asked")
	}
	episode.task = task
	given := fmt.Sprintf("%s|%s|%s|%s|%d", task.ID, task.DataSource, task.GroundTruth, task.Extra, seed)
	return append([]rewarden.Message{{Role: rewarden.System, Content: given}}, task.Prompt...), nil
}

func (episode *episode) Step(action *rewarden.Message) (rewarden.Transition, error) {
	if action.Content == "fault" {
		return rewarden.Transition{}, errors.New("as asked")
	}
	episode.steps++
	said := fmt.Sprintf("%s has %d", episode.task.GroundTruth, episode.steps)
	observation := []rewarden.Message{{Role: rewarden.User, Content: said}}
	for _, call := range action.ToolCalls {
		observation = append(observation, rewarden.Message{
			Role:       rewarden.ToolRole,
			Content:    fmt.Sprintf("%s(%s)", call.Name, call.Arguments),
			Name:       call.Name,
			ToolCallID: call.ID,
		})
	}
	return rewarden.Transition{
		Observation: observation,
		Reward:      0.5 + episode.settings.Bonus,
		Done:        action.Content == "end",
		Metrics:     []rewarden.Metric{{Name: "steps", Value: float64(episode.steps)}},
	}, nil
}

func (episode *episode) Finish() []rewarden.Metric {
	return []rewarden.Metric{{Name: "all", Value: float64(episode.steps)}}
}

func init() {
	rewarden.Environment(func(settings *settings) rewarden.Episode { return &episode{settings: settings} })
}

func main() {}
