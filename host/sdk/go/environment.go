package rewarden

// Task is what an episode is about.
type Task struct {
	// ID names the task within its data set.
	ID string
	// DataSource is the data set the task comes from, as its row names it; empty when it does not.
	DataSource string
	// Prompt holds the messages the data row gives; Start decides what the policy sees of them.
	Prompt []Message
	// GroundTruth is the reference answer as the data set gives it; empty when there is none.
	GroundTruth string
	// Extra holds every further column, a JSON object.
	Extra string
}

// Transition is the environment's answer to one message of the policy.
type Transition struct {
	// Observation is what the policy sees next.
	Observation []Message
	// Reward is that of this turn alone; finite.
	Reward float64
	// Done says that the episode is over: Step is not called again.
	Done bool
	// Metrics are numbers for the logs.
	Metrics []Metric
}

// Episode is one interaction. An instance holds one and is thrown away with it: there is nothing to reset.
type Episode interface {
	// Start returns the first messages shown to the policy. All randomness derives from the seed.
	Start(task *Task, seed uint32) ([]Message, error)
	// Step answers one message of the policy.
	Step(action *Message) (Transition, error)
	// Finish is called once when the episode ends for any reason; its numbers are for the logs.
	Finish() []Metric
}

// episode is made by configure.
var episode Episode

// Environment registers the plugin: open makes the episode, with the settings of the run. Call it once, in init.
// Settings and defaults are as for a reward: any struct that encoding/json reads.
func Environment[Settings any](open func(*Settings) Episode, defaults ...Settings) {
	configure = func(text string) error {
		settings, err := settingsFrom(text, defaults)
		if err == nil {
			episode = open(settings)
		}
		return err
	}
}

func started(task *Task, seed uint32) (shown []Message, err error) {
	err = guard(func() (err error) {
		if episode == nil {
			return notConfigured()
		}
		shown, err = episode.Start(task, seed)
		return err
	})
	return shown, err
}

func stepped(action *Message) (next Transition, err error) {
	err = guard(func() (err error) {
		if episode == nil {
			return notConfigured()
		}
		next, err = episode.Step(action)
		return err
	})
	return next, err
}
