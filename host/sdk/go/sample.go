package rewarden

import "unicode/utf8"

// StopReason says how a trajectory ended.
type StopReason uint8

const (
	// Completed : the policy ended its last message itself.
	Completed StopReason = iota
	// MaxTokens : the policy was cut off by the limit on generated tokens.
	MaxTokens
	// MaxTurns : the limit on turns was reached.
	MaxTurns
	// MaxToolCalls : the limit on tool calls was reached.
	MaxToolCalls
	// ParseError : the policy's last message did not follow the format it was asked for.
	ParseError
	// TimedOut : the episode took longer than it was given.
	TimedOut
	// StoppedByEnvironment : the environment said that the episode is over.
	StoppedByEnvironment
)

// Sample is one finished trajectory to judge.
type Sample struct {
	// ID names this sample within the run; the same sample keeps it when it is scored again.
	ID string
	// Group : samples of one group answer the same task.
	Group string
	// DataSource is the data set the task comes from, as its row names it; empty when it does not.
	DataSource string
	// Prompt holds the messages the policy was given.
	Prompt []Message
	// Completion holds the messages that followed: the policy's own, and those of tools and environment between them.
	Completion []Message
	// GroundTruth is the reference answer as the data set gives it; empty when there is none.
	GroundTruth string
	// Extra holds every further column of the data row, a JSON object.
	Extra string
	// StopReason says how the trajectory ended.
	StopReason StopReason
	// TurnScores are the environment's rewards, one per message of the policy; empty for single-turn tasks.
	TurnScores []float64
	// CompletionTokens is how many tokens the policy generated; 0 when that is not known.
	CompletionTokens uint32
	// Step is the training step the sample belongs to; 0 outside training.
	Step uint32
}

// NewSample is a single-turn sample for tests: what the policy answered, and what was right.
func NewSample(response, groundTruth string) *Sample {
	return &Sample{Completion: []Message{{Role: Assistant, Content: response}}, GroundTruth: groundTruth, Extra: "{}"}
}

// Response is the text of the policy's last message; empty when it said nothing.
func (sample *Sample) Response() string {
	for i := len(sample.Completion) - 1; i >= 0; i-- {
		if sample.Completion[i].Role == Assistant {
			return sample.Completion[i].Content
		}
	}
	return ""
}

// Score is what a plugin thinks of one sample. Make it with Of or None: one that has neither is a mistake, and a fault.
type Score struct {
	value float64
	state scoreState
	// Steps is credit per reasoning step or message, for process rewards; empty: the value covers the whole.
	Steps []float64
	// Components are named parts of the value.
	Components []Metric
	// Metrics are numbers for the logs that never enter the objective.
	Metrics []Metric
	// Note is one line for a person reading the rollout.
	Note string
}

type scoreState uint8

const (
	forgotten scoreState = iota
	hasValue
	doesNotApply
)

// Of is the score of this value, any finite number.
func Of(value float64) Score { return Score{value: value, state: hasValue} }

// None says that this plugin does not apply to the sample: its weight drops out for it.
func None() Score { return Score{state: doesNotApply} }

// Value is the number, and whether there is one.
func (score Score) Value() (float64, bool) { return score.value, score.state == hasValue }

// WithNote is the score with one line for a person who reads the rollout.
func (score Score) WithNote(note string) Score {
	score.Note = note
	return score
}

// WithMetric is the score with one more number for the logs, which never enters the objective.
func (score Score) WithMetric(name string, value float64) Score {
	score.Metrics = append(score.Metrics, Metric{name, value})
	return score
}

// WithComponent is the score with one more named part of its value.
func (score Score) WithComponent(name string, value float64) Score {
	score.Components = append(score.Components, Metric{name, value})
	return score
}

// WithSteps is the score with credit per step.
func (score Score) WithSteps(steps ...float64) Score {
	score.Steps = steps
	return score
}

// check refuses a score that was returned as it was declared: paying 0 for it would hide the mistake.
func (score Score) check() error {
	if score.state == forgotten {
		return Internal("the score has no value: return rewarden.Of(x), rewarden.None(), or an error")
	}
	return nil
}

// noteBytesMax is the longest note that a host takes.
const noteBytesMax = 4096

// cut is a note as long as a host takes; what is longer is cut off between two letters.
func cut(note string) string {
	if len(note) <= noteBytesMax {
		return note
	}
	end := noteBytesMax
	for end > 0 && !utf8.RuneStart(note[end]) {
		end--
	}
	return note[:end]
}
